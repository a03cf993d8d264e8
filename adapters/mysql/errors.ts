/** What MySQL and MariaDB say, as errors that name the thing and the remedy; which kind is which is told in postgres/errors.ts. */
import { isLakeSyncError, LakeSyncError } from "../../schemas/index.ts";

/** Deadlock, lock wait, a table that was changed meanwhile. */
const DEADLOCKS = new Set([1213, 1205, 1412]);
/** And races for one row, table or column. */
const RACES = new Set([...DEADLOCKS, 1062, 1050, 1060, 1054]);

const UNAVAILABLE: Readonly<Record<string, string>> = {
  1040: "it has no connection left; raise max_connections, or use Hyperdrive",
  1044: "the user may not use the database; grant all rights on it",
  1045: "it refuses the user or password; correct the connection string",
  1049: "the database of the connection string does not exist; create it, or correct the name",
  1142: "the user may not do this; grant all rights on the database",
  1021: "its disk is full; free space or enlarge it",
  1114: "its disk is full; free space or enlarge it",
  1053: "it is shutting down",
  1290: "it is read-only, a replica perhaps; connect to the primary, or set read_only to OFF",
  1836: "it is read-only, a replica perhaps; connect to the primary, or set read_only to OFF",
  1792: "it is read-only, a replica perhaps; connect to the primary, or set read_only to OFF",
  1153: "a packet is too large for it; raise max_allowed_packet to 16 MB",
  1927: "the connection was ended by an operator; it is tried again",
  ECONNREFUSED: "nothing listens at its address; start it, or correct host and port of the connection string",
  ENOTFOUND: "its host name is not known; correct the connection string",
  EAI_AGAIN: "its host name could not be looked up; it is tried again",
};

/** Those that end when a person acts: flushes rest meanwhile. */
const OPERATOR = new Set(["1044", "1045", "1049", "1142", "1021", "1114", "1290", "1836", "1792", "1153"]);

interface MysqlFailure {
  readonly errno?: number;
  readonly code?: string;
  readonly message?: string;
}

const numberOf = (failure: unknown): number => Number((failure as MysqlFailure | undefined)?.errno ?? 0);
const codeOf = (failure: unknown): string => String((failure as MysqlFailure | undefined)?.code ?? "");
/** Node's own have negative numbers, mysql2's none. */
const isServers = (failure: unknown): boolean => numberOf(failure) > 0;

export const isDeadlock = (failure: unknown): boolean => DEADLOCKS.has(numberOf(failure));

export const isRace = (failure: unknown): boolean => RACES.has(numberOf(failure));

export const isLost = (failure: unknown): boolean =>
  failure instanceof Error &&
  !isLakeSyncError(failure) &&
  (isServers(failure)
    ? [1053, 1927].includes(numberOf(failure))
    : /^(E[A-Z]+|PROTOCOL_[A-Z_]+)$/.test(codeOf(failure)) ||
      /connect|socket|network|stream|closed state|timeout/i.test(failure.message));

/** @param where the destination, for people */
export function errorOf(failure: unknown, where: string): unknown {
  if (isLakeSyncError(failure)) return failure;
  const key = isServers(failure) ? String(numberOf(failure)) : codeOf(failure);
  const race = isRace(failure) && numberOf(failure) < 1300 && ![1062, 1054].includes(numberOf(failure));
  const why =
    UNAVAILABLE[key] ??
    (isLost(failure)
      ? "the connection broke; it is tried again"
      : race
        ? "others write the same rows; it is tried again"
        : undefined);
  if (why !== undefined)
    return new LakeSyncError(
      "DestinationUnavailable",
      `${where} is not available: ${why}.`,
      { errno: key, ...(OPERATOR.has(key) && { needs: "operator" }) },
      { cause: failure },
    );
  if (!isServers(failure)) return failure; // a bug of ours
  const gone = ["1146", "1054"].includes(key);
  const remedy = gone
    ? "a table or column of LakeSync's is gone; put it back, or delete the table's row in lakesync_tables to begin anew"
    : "its log has the details; a constraint or a trigger that somebody added, perhaps";
  return new LakeSyncError(
    "DestinationRefused",
    `${where} refuses the write (error ${key}): ${remedy}.`,
    { errno: key },
    { cause: failure },
  );
}

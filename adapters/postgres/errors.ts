/**
 * What Postgres says, as errors that name the thing and the remedy.
 *
 *   DestinationUnavailable   of the server as a whole: it passes, or a person changes it; the shard keeps its log meanwhile
 *   DestinationRefused       of this table or this batch: tried a few times, then set aside with the reason (F3)
 *
 * A database's own message may hold a row's values: they go to operators (`cause`), never into a message.
 */
import { isLakeSyncError, LakeSyncError } from "../../schemas/index.ts";

/** SQLSTATEs after which the same transaction may well go through: deadlock, serialization, a race for one name or row. */
const RACES = new Set(["40001", "40P01", "40003", "23505", "42P07", "42710", "XX000", "55P03"]);

/** By SQLSTATE, or by its class. */
const UNAVAILABLE: Readonly<Record<string, string>> = {
  "08": "the connection broke; it is tried again",
  "25006": "it is read-only, a standby perhaps; connect to the primary, or end `default_transaction_read_only`",
  "28": "it refuses the user or password; correct the connection string, or pg_hba.conf",
  "3D000": "the database of the connection string does not exist; create it, or correct the name",
  "42501": "the user may not do this; grant CREATE on the database and the schema, and all rights on LakeSync's tables",
  "53100": "its disk is full; free space or enlarge it",
  "53200": "it is out of memory",
  "53300": "it has no connection left; raise max_connections, or use a pooler such as Hyperdrive",
  "53": "it is short of resources",
  "57P03": "it is starting up or shutting down",
  "57": "it ended the connection: it is shutting down, or an operator intervened",
  "58": "it met a fault of its machine",
  XX: "it met an internal fault",
};

/** Those that end when a person acts: flushes rest meanwhile. */
const OPERATOR = /^(25006|28|3D000|42501|53100)/;

/** By the code of Node's sockets and of pg. */
const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens at its address; start it, or correct host and port of the connection string",
  ENOTFOUND: "its host name is not known; correct the connection string",
  EAI_AGAIN: "its host name could not be looked up; it is tried again",
};

interface PostgresFailure {
  readonly code?: string;
  readonly message?: string;
  readonly table?: string;
  readonly column?: string;
  readonly constraint?: string;
}

const codeOf = (failure: unknown): string => String((failure as PostgresFailure | undefined)?.code ?? "");
/** No SQLSTATE begins with E; codes of Node's sockets do, and EPIPE has five letters, too. */
const isSqlState = (code: string): boolean => /^[0-9A-DF-Z][0-9A-Z]{4}$/.test(code);

/** Whether to run the transaction again at once. */
export const isRace = (failure: unknown): boolean => RACES.has(codeOf(failure));

/** Whether the connection is gone, and what it did last unknown. */
export function isLost(failure: unknown): boolean {
  const code = codeOf(failure);
  if (isSqlState(code)) return code.startsWith("08") || /^57P0[123]$/.test(code);
  return !isLakeSyncError(failure) && isConnectionMessage(failure);
}

/** pg has no codes for a socket that closed under it, nor workerd for one that it could not open. */
const isConnectionMessage = (failure: unknown): boolean =>
  failure instanceof Error &&
  (/^(E[A-Z]+)$/.test(codeOf(failure)) || /connect|socket|timeout|network|not queryable|stream/i.test(failure.message));

const networkCode = (failure: unknown): string =>
  /cannot connect/i.test(String((failure as PostgresFailure).message)) ? "ECONNREFUSED" : codeOf(failure);

/** @param where the destination, for people */
export function errorOf(failure: unknown, where: string): unknown {
  if (isLakeSyncError(failure)) return failure;
  const code = codeOf(failure);
  const unavailable = (why: string) =>
    new LakeSyncError(
      "DestinationUnavailable",
      `${where} is not available: ${why}.`,
      { sqlState: code, ...(OPERATOR.test(code) && { needs: "operator" }) },
      { cause: failure },
    );
  if (!isSqlState(code)) {
    if (isConnectionMessage(failure))
      return unavailable(NETWORK[networkCode(failure)] ?? "the connection broke; it is tried again");
    return failure; // a bug of ours
  }
  if (isRace(failure) && code !== "23505") return unavailable("others write the same rows; it is tried again");
  const why = UNAVAILABLE[code] ?? UNAVAILABLE[code.slice(0, 2)];
  if (why !== undefined) return unavailable(why);
  const { table, column, constraint } = failure as PostgresFailure;
  const thing = [table && `table ${table}`, column && `column ${column}`, constraint && `constraint ${constraint}`];
  const named = thing.filter(Boolean).join(", ");
  return new LakeSyncError(
    "DestinationRefused",
    `${where} refuses the write (SQLSTATE ${code}${named && `, ${named}`}): ${reason(code)}.`,
    { sqlState: code, ...(table && { table }), ...(column && { column }), ...(constraint && { constraint }) },
    { cause: failure },
  );
}

function reason(code: string): string {
  if (code === "42P01" || code === "42703")
    return "a table or column of LakeSync's is gone; put it back, or delete the table's row in lakesync_tables to begin anew";
  if (code === "42P16" || code === "42804" || code === "42701")
    return "the table was changed by somebody else in a way that does not fit its schema";
  if (code.startsWith("23"))
    return "a constraint that somebody added does not hold for the synced rows; drop it, or make it hold";
  if (code.startsWith("22")) return "it cannot hold a value";
  return "its log has the details";
}

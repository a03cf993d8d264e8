/** What an operator sees of a shard. */
import type { SqlStore } from "../ports/index.ts";
import type { Lease } from "./flush.ts";
import { readMeta } from "./store.ts";

export interface ShardStatus {
  readonly shard: string;
  readonly configVersion: number;
  readonly head: number;
  readonly flushed: number;
  readonly unflushedDeltas: number;
  readonly unflushedBytes: number;
  /** Gateway time of the oldest unflushed delta, milliseconds since 1970; null when all is flushed. */
  readonly oldestMs: number | null;
  readonly databaseBytes: number;
  /** "resting": until `expiresMs`, since somebody has to act first; `POST admin/flush` tries at once. */
  readonly lease: (Pick<Lease, "from" | "to" | "attempt" | "expiresMs"> & { readonly resting: boolean }) | null;
  readonly lastError: string | null;
  readonly setAside: readonly {
    readonly table: string;
    readonly fromSeq: number;
    readonly toSeq: number;
    readonly reason: string;
  }[];
  /** `rows` are here, dead ones included; `left` are alive, and have left a hot window. */
  readonly tables: readonly { readonly table: string; readonly rows: number; readonly left?: number }[];
  /** Of a shard that is being rebuilt, or was lost and has to be: it is out of service. */
  readonly rebuild?: {
    readonly startedMs: number;
    readonly rows: number;
    readonly edits: number;
    readonly lost?: boolean;
  };
}

export const leaseStatus = ({ from, to, attempt, expiresMs, resting = false }: Lease): ShardStatus["lease"] => ({
  from,
  to,
  attempt,
  expiresMs,
  resting,
});

/** The part that only the disk knows. */
export const storedStatus = (
  sql: SqlStore,
  nameOf: (t: number) => string,
  leftOf: (t: number) => number,
): Pick<ShardStatus, "databaseBytes" | "lastError" | "setAside" | "tables"> => ({
  databaseBytes: sql.sizeBytes,
  lastError: readMeta(sql, "flushError") ?? null,
  setAside: sql
    .exec<{ t: number; first: number; last: number; aside: string }>(
      "SELECT t, min(first) AS first, max(last) AS last, aside FROM log WHERE aside IS NOT NULL GROUP BY t, aside",
    )
    .map((r) => ({ table: nameOf(r.t), fromSeq: r.first, toSeq: r.last, reason: r.aside })),
  tables: sql
    .exec<{ t: number; n: number }>("SELECT t, (SELECT count(*) FROM rows AS r WHERE r.t = names.t) AS n FROM names")
    .map(({ t, n }) => ({ table: nameOf(t), rows: n, ...(leftOf(t) > 0 && { left: leftOf(t) }) }))
    .filter(({ rows, left }) => rows > 0 || left !== undefined),
});

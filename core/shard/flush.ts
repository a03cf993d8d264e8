/**
 * Flush, the shard's half: a lease over (flushed, head], pages of it for a consumer, and the acknowledgement that trims.
 *
 *   idle --lease--> leased --acknowledge--> idle, flushed = lease.to, log trimmed
 *                     | expires, or the consumer failed
 *                     '--lease--> leased again: the same range, another token
 *
 * A lease keeps its range until it is acknowledged, so that what it hands over is always the same: rows as they stood at
 * its end. A row that changes meanwhile leaves its former state in the log (`cow`).
 */
import {
  type ClientId,
  LakeSyncError,
  type Scalar,
  type Seq,
  type Stamp,
  type TableSchema,
} from "../../schemas/index.ts";
import { isAlive, newestStamp } from "../merge.ts";
import type { HistoryBatch, RowBatch, SqlStore } from "../ports/index.ts";
import { unpackEdits } from "./log.ts";
import { type PackedRow, readRows, writeRows } from "./store.ts";
import { type Packed, packRow, type StoredRow, unpacked, unpackRow } from "./stored-row.ts";

export interface Lease {
  /** Names this attempt: a consumer that comes late with another token is turned away. */
  readonly token: string;
  /** Exclusive. */
  readonly from: Seq;
  /** Inclusive. */
  readonly to: Seq;
  readonly expiresMs: number;
  /** From 1. */
  readonly attempt: number;
  /** Gateway time of the last entry, milliseconds since 1970. */
  readonly toMs: number;
  /** Digests of the shard's tables at `to` (V1). */
  readonly digests?: Readonly<Record<string, string>>;
}

export interface FlushPage<T> {
  readonly page: T;
  /** Where the next page starts; absent after the last. */
  readonly next?: Seq;
}

interface LogRow {
  readonly first: number;
  readonly last: number;
  readonly client: ClientId;
  readonly at: number;
  readonly changes: string;
  readonly edits: string;
  readonly [column: string]: string | number;
}

const staleLease = () =>
  new LakeSyncError("LeaseLost", "This flush lease has expired and another consumer has taken over.");

export const assertLease = (lease: Lease | undefined, token: string): Lease => {
  if (lease?.token !== token) throw staleLease();
  return lease;
};

/** Numbers of the tables that a lease has edits of. */
export const tablesIn = (sql: SqlStore, lease: Lease): number[] =>
  sql
    .exec<{ t: number }>(
      "SELECT DISTINCT t FROM log WHERE first > ? AND first <= ? AND aside IS NULL",
      lease.from,
      lease.to,
    )
    .map(({ t }) => t);

/** Log rows of one table in a lease that have seqs after `after`, one at a time. */
function* leasedRows(sql: SqlStore, lease: Lease, t: number, after: Seq): Generator<LogRow> {
  let seq: number = after;
  for (;;) {
    const [row] = sql.exec<LogRow>(
      `SELECT first, last, client, at, changes, edits FROM log
       WHERE first >= coalesce((SELECT max(first) FROM log WHERE first <= ?1 + 1), 0) AND first <= ?2 AND last > ?1
         AND t = ?3 AND aside IS NULL ORDER BY first LIMIT 1`,
      ...[seq, lease.to, t],
    );
    if (!row) return;
    yield row;
    seq = row.last;
  }
}

/** A page of history, in the order of seqs, of whole log rows. */
export function historyPage(
  sql: SqlStore,
  lease: Lease,
  table: TableSchema,
  t: number,
  after: Seq,
  maxChars: number,
): FlushPage<HistoryBatch[]> {
  const names = new Map(table.columns.map((c) => [c.id, c.name]));
  const page: HistoryBatch[] = [];
  let chars = 0;
  for (const row of leasedRows(sql, lease, t, after)) {
    chars += row.edits.length + row.changes.length;
    if (page.length > 0 && chars > maxChars) return { page, next: (row.first - 1) as Seq };
    const batch = unpackEdits(table.table, row.client, row.changes, row.edits, (id) => names.get(id));
    const seqs = batch.rowIds.map((_, k) => (row.first + k) as Seq);
    page.push({ seqs, receivedMs: seqs.map(() => row.at), batch });
  }
  return { page };
}

/** Entries that are looked at together: their rows are in memory at once. */
const ENTRIES_AT_ONCE = 64;

/**
 * A page of the rows that changed, each where it changed last within the lease, as it stood at the lease's end. Bounded by
 * the size of the rows: a small edit may hand over a large one.
 */
export function rowsPage(
  sql: SqlStore,
  lease: Lease,
  table: TableSchema,
  t: number,
  after: Seq,
  maxChars: number,
): FlushPage<RowBatch> {
  const due: Due[] = [];
  let chars = 0;
  for (const { first, changes } of leasedRows(sql, lease, t, after)) {
    const { ids } = JSON.parse(changes) as { ids: string[] };
    for (let k = Math.max(0, after + 1 - first); k < ids.length; k += ENTRIES_AT_ONCE) {
      if (due.length > 0 && chars > maxChars)
        return { page: rowBatch(sql, lease, table, t, due), next: (first + k - 1) as Seq };
      const some = ids.slice(k, k + ENTRIES_AT_ONCE);
      const present = new Map(readRows(sql, t, [...new Set(some)]).map((r) => [r.id, r]));
      for (const [at, id] of some.entries()) {
        const row = present.get(id);
        const seq = first + k + at;
        // Changed since: the version of the lease's end is looked for among the former ones.
        if (row && (row.seq === seq || row.seq > lease.to)) due.push({ id, seq, ...(row.seq === seq && { row }) });
        else continue;
        chars += row.state.length;
      }
    }
  }
  return { page: rowBatch(sql, lease, table, t, due) };
}

/** A row that a page may have to hand over, by the change that it has to stand at. */
interface Due {
  readonly id: string;
  readonly seq: number;
  /** As stored, where it has not changed since. */
  readonly row?: PackedRow;
}

function rowBatch(sql: SqlStore, lease: Lease, table: TableSchema, t: number, due: readonly Due[]): RowBatch {
  const changed = new Set(due.filter((d) => !d.row).map((d) => d.id));
  const former = changed.size > 0 ? formerRows(sql, lease, t, changed) : new Map<string, StoredRow>();
  const builder = new RowBatchBuilder(table);
  for (const { id, seq, row } of due) {
    const stored = row ? unpackRow(row.seq, row.state) : former.get(id);
    if (stored?.seq === seq) builder.add(id, stored);
  }
  return builder.build();
}

/** Gives up a table of a lease: its edits stay in the log with the reason, and rows forget that its versions were handed over. */
export function setAside(sql: SqlStore, lease: Lease, t: number, reason: string): void {
  sql.exec("UPDATE log SET aside = ? WHERE t = ? AND first > ? AND first <= ?", reason, t, lease.from, lease.to);
  const former = formerRows(sql, lease, t);
  const rows = readRows(sql, t, [...former.keys()]).map(({ id, seq, state }) => ({
    id,
    seq,
    state: packRow({ ...unpackRow(seq, state), flushedSeq: former.get(id)?.flushedSeq ?? 0 }),
  }));
  writeRows(sql, t, rows);
}

/** Rows of a table as they were when a lease began, for those that changed since; of those that are asked for. */
function formerRows(sql: SqlStore, lease: Lease, t: number, wanted?: ReadonlySet<string>): Map<string, StoredRow> {
  const former = new Map<string, StoredRow>();
  let after: number = lease.to;
  for (;;) {
    const [log] = sql.exec<{ last: number; cow: string }>(
      "SELECT last, cow FROM log WHERE first > ? AND t = ? AND cow IS NOT NULL ORDER BY first LIMIT 1",
      after,
      t,
    );
    if (!log) return former;
    for (const [id, seq, packed] of JSON.parse(log.cow) as [string, number, Packed][])
      if ((!wanted || wanted.has(id)) && !former.has(id)) former.set(id, unpacked(seq, packed));
    after = log.last;
  }
}

/** Puts merged rows into columns. */
class RowBatchBuilder {
  readonly #table: TableSchema;
  readonly #rowIds: string[] = [];
  readonly #stamps: Stamp[] = [];
  readonly #seqs: Seq[] = [];
  readonly #deleted: boolean[] = [];
  readonly #flushedSeqs: Seq[] = [];
  readonly #values: Scalar[][];
  readonly #cellStamps: Stamp[][];
  readonly #columnAt: Map<string, number>;

  constructor(table: TableSchema) {
    this.#table = table;
    this.#values = table.columns.map(() => []);
    this.#cellStamps = table.columns.map(() => []);
    this.#columnAt = new Map(table.columns.map((c, at) => [String(c.id), at]));
  }

  add(id: string, row: StoredRow): void {
    const alive = isAlive(row.state);
    const at = this.#rowIds.length;
    this.#rowIds.push(id);
    this.#stamps.push(newestStamp(row.state));
    this.#seqs.push(row.seq as Seq);
    this.#deleted.push(!alive);
    this.#flushedSeqs.push(row.flushedSeq as Seq);
    for (const values of this.#values) values.push(null);
    for (const stamps of this.#cellStamps) stamps.push("" as Stamp);
    if (!alive) return;
    for (const layer of row.state.layers)
      for (const columnId in layer.cells) {
        const column = this.#columnAt.get(columnId);
        if (column === undefined) continue;
        (this.#values[column] as Scalar[])[at] = layer.cells[columnId] as Scalar;
        (this.#cellStamps[column] as Stamp[])[at] = layer.stamp;
      }
  }

  build(): RowBatch {
    return {
      rowIds: this.#rowIds,
      stamps: this.#stamps,
      seqs: this.#seqs,
      deleted: this.#deleted,
      flushedSeqs: this.#flushedSeqs,
      columns: this.#table.columns.map((c, at) => ({ name: c.name, values: this.#values[at] as Scalar[] })),
      cellStamps: this.#cellStamps,
    };
  }
}

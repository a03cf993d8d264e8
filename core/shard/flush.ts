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
import { readRows, writeRows } from "./store.ts";
import { packRow, type StoredRow, unpackRow } from "./stored-row.ts";

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

/** Log rows of one table in a lease, after a seq, up to about `maxChars` of text. */
function leasedRows(
  sql: SqlStore,
  lease: Lease,
  t: number,
  after: Seq,
  maxChars: number,
): { rows: LogRow[]; next?: Seq } {
  const rows: LogRow[] = [];
  let chars = 0;
  let seq: number = after;
  for (;;) {
    const [row] = sql.exec<LogRow>(
      "SELECT first, last, client, at, changes, edits FROM log WHERE first > ? AND last <= ? AND t = ? AND aside IS NULL ORDER BY first LIMIT 1",
      ...[seq, lease.to, t],
    );
    if (!row) return { rows };
    if (chars > 0 && chars + row.edits.length + row.changes.length > maxChars) return { rows, next: seq as Seq };
    rows.push(row);
    chars += row.edits.length + row.changes.length;
    seq = row.last;
  }
}

/** A page of history, in the order of seqs. */
export function historyPage(
  sql: SqlStore,
  lease: Lease,
  table: TableSchema,
  t: number,
  after: Seq,
  maxChars: number,
): FlushPage<HistoryBatch[]> {
  const names = new Map(table.columns.map((c) => [c.id, c.name]));
  const { rows, next } = leasedRows(sql, lease, t, after, maxChars);
  const page = rows.map((row) => {
    const batch = unpackEdits(table.table, row.client, row.changes, row.edits, (id) => names.get(id));
    const seqs = batch.rowIds.map((_, k) => (row.first + k) as Seq);
    return { seqs, receivedMs: seqs.map(() => row.at), batch };
  });
  return next === undefined ? { page } : { page, next };
}

/** A page of the rows that changed, each where it changed last within the lease, as it stood at the lease's end. */
export function rowsPage(
  sql: SqlStore,
  lease: Lease,
  table: TableSchema,
  t: number,
  after: Seq,
  maxChars: number,
  former: ReadonlyMap<string, StoredRow>,
): FlushPage<RowBatch> {
  const { rows, next } = leasedRows(sql, lease, t, after, maxChars);
  const builder = new RowBatchBuilder(table);
  for (const { first, changes } of rows) {
    const { ids } = JSON.parse(changes) as { ids: string[] };
    const present = new Map(readRows(sql, t, [...new Set(ids)]).map((r) => [r.id, r]));
    ids.forEach((id, k) => {
      const row = present.get(id);
      if (!row) return;
      const stored =
        row.seq <= lease.to
          ? row.seq === first + k
            ? unpackRow(row.seq, row.state)
            : undefined
          : former.get(`${t}:${id}`);
      if (stored?.seq === first + k) builder.add(id, stored);
    });
  }
  const page = builder.build();
  return next === undefined ? { page } : { page, next };
}

/** Gives up a table of a lease: its edits stay in the log with the reason, and rows forget that its versions were handed over. */
export function setAside(sql: SqlStore, lease: Lease, t: number, reason: string): void {
  sql.exec("UPDATE log SET aside = ? WHERE t = ? AND first > ? AND first <= ?", reason, t, lease.from, lease.to);
  const former = [...formerRows(sql, lease)].filter(([key]) => key.startsWith(`${t}:`));
  const flushed = new Map(former.map(([key, row]) => [key.slice(key.indexOf(":") + 1), row.flushedSeq]));
  const rows = readRows(sql, t, [...flushed.keys()]).map(({ id, seq, state }) => ({
    id,
    seq,
    state: packRow({ ...unpackRow(seq, state), flushedSeq: flushed.get(id) as number }),
  }));
  writeRows(sql, t, rows);
}

/** Rows as they were when a lease began, for those that changed since: (table number, id) to state. */
export function formerRows(sql: SqlStore, lease: Lease): Map<string, StoredRow> {
  const former = new Map<string, StoredRow>();
  for (const { t, cow } of sql.exec<{ t: number; cow: string }>(
    "SELECT t, cow FROM log WHERE first > ? AND cow IS NOT NULL ORDER BY first",
    lease.to,
  ))
    for (const [id, seq, packed] of JSON.parse(cow) as [string, number, string][]) {
      const key = `${t}:${id}`;
      if (!former.has(key)) former.set(key, unpackRow(seq, packed));
    }
  return former;
}

/** Puts merged rows into columns. */
export class RowBatchBuilder {
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

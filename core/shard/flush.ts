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
import { FLUSH_REST_MAX_MS, FLUSH_REST_MS, LakeSyncError, type Seq } from "../../schemas/index.ts";
import type { SqlRow, SqlStore } from "../ports/index.ts";
import { type HistoryText, joinTexts, type RowsText } from "./flush-pages.ts";
import { JOINED_ROWS, joinRows, type PackedRow, readRows, standingRows, writeRows } from "./store.ts";
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
  /** Of each table: attempts that ended with a failure that does not pass. */
  readonly failures?: Readonly<Record<string, number>>;
  /** How often it was left to rest, one time after the other. */
  readonly rests?: number;
  /** Whether it rests now, until it expires: somebody has to act at a destination first. */
  readonly resting?: boolean;
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

/** How one table of a lease ended. */
export interface TableResult {
  readonly table: string;
  /** Absent when the destination has it all. */
  readonly error?: FlushFailure;
}

export interface FlushFailure {
  readonly message: string;
  /** It does not pass and was tried often enough: the table's part of the lease is to be set aside (F3). */
  readonly hopeless: boolean;
  /** It does not pass by itself, as far as one can tell; counted. */
  readonly lasting?: boolean;
  /** Somebody has to act at the destination first. */
  readonly rests?: boolean;
}

/** A lease that is to be taken again: at once, or after a rest where all that failed waits for somebody. */
export function leaseAgain(lease: Lease, failed: readonly TableResult[], nowMs: number): Lease {
  const failures = { ...lease.failures };
  for (const { table, error } of failed) if (error?.lasting) failures[table] = (failures[table] ?? 0) + 1;
  const rests = failed.every(({ error }) => error?.rests) ? (lease.rests ?? 0) + 1 : 0;
  const pauseMs = rests === 0 ? 0 : Math.min(FLUSH_REST_MS * 2 ** (rests - 1), FLUSH_REST_MAX_MS);
  return { ...lease, failures, rests, resting: rests > 0, expiresMs: nowMs + pauseMs };
}

type LogRow = HistoryText & { readonly last: number };

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

type Range = Pick<Lease, "from" | "to">;

/** Log rows of one table in a lease that have seqs after `after`, one at a time. */
function* leasedRows(sql: SqlStore, lease: Range, t: number, after: Seq): Generator<LogRow> {
  let seq: number = after;
  for (;;) {
    const [row] = sql.exec<LogRow & SqlRow>(
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
  lease: Range,
  t: number,
  after: Seq,
  maxChars: number,
): FlushPage<HistoryText[]> {
  const page: HistoryText[] = [];
  let chars = 0;
  for (const { first, client, at, changes, edits } of leasedRows(sql, lease, t, after)) {
    chars += edits.length + changes.length;
    if (page.length > 0 && chars > maxChars) return { page, next: (first - 1) as Seq };
    page.push({ first, client, at, changes, edits });
  }
  return { page };
}

/** Long rows that are in memory at once, whatever the size of a page. */
const LONG_ROWS = 8;

/**
 * A page of the rows that changed, each where it changed last within the lease, as it stood at the lease's end. Bounded by
 * the size of the rows: a small edit may hand over a large one.
 */
export function rowsPage(sql: SqlStore, lease: Lease, t: number, after: Seq, maxChars: number): FlushPage<RowsText> {
  const texts: string[] = [];
  /** Where a row that has changed since was edited, by row id: any of these may be its last change in the lease. */
  const changed = new Map<string, number[]>();
  let chars = 0;
  const page = () => joinTexts([...texts, joinRows(formerVersions(sql, lease, t, changed))]);
  for (const { first, changes } of leasedRows(sql, lease, t, after)) {
    const { ids } = JSON.parse(changes) as { ids: string[] };
    for (let k = Math.max(0, after + 1 - first), next: number; k < ids.length; k = next) {
      if (chars > maxChars) return { page: page(), next: (first + k - 1) as Seq };
      next = Math.min(ids.length, k + JOINED_ROWS);
      let standing = standingRows(sql, t, ids.slice(k, next), first + k, lease.to);
      if (standing.long.length > LONG_ROWS) {
        next = k + (standing.long[LONG_ROWS] as number);
        standing = standingRows(sql, t, ids.slice(k, next), first + k, lease.to);
      }
      const idAt = (place: number) => ids[k + place] as string;
      for (const place of standing.changed) {
        const seqs = changed.get(idAt(place));
        if (seqs) seqs.push(first + k + place);
        else changed.set(idAt(place), [first + k + place]);
      }
      for (const text of [standing.text, joinRows(readRows(sql, t, standing.long.map(idAt)))]) {
        if (text) texts.push(text);
        chars += text.length;
      }
      // Their former versions are looked up when the page is full.
      chars += standing.changedBytes;
    }
  }
  return { page: page() };
}

/** Rows that have changed since, as they stood at the lease's end, where that was the change that is asked for. */
function formerVersions(
  sql: SqlStore,
  lease: Lease,
  t: number,
  changed: ReadonlyMap<string, readonly number[]>,
): PackedRow[] {
  if (changed.size === 0) return [];
  const former = formerRows(sql, lease, t, changed);
  return [...former]
    .filter(([id, row]) => changed.get(id)?.includes(row.seq))
    .map(([id, row]) => ({ id, seq: row.seq, state: packRow(row) }));
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
function formerRows(
  sql: SqlStore,
  lease: Lease,
  t: number,
  wanted?: ReadonlyMap<string, unknown>,
): Map<string, StoredRow> {
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

/**
 * The shard's part in making a checkpoint: rows as they are stored, in order of id, page by page while pushes go on, and
 * then what changed meanwhile. What is read so is put together by core/checkpoint.
 *
 *   rows      pages by id                       begun when the shard's head was at `from`
 *   changes   rows that changed after a seq     again and again, until nothing has changed since the last page
 *
 * After the last page of changes every row is known as it was at the head of that page, however long all of it took.
 */
import { READ_AHEAD_CHARS, type Seq } from "../../schemas/index.ts";
import type { SqlStore } from "../ports/index.ts";
import type { ColdRun } from "./cold.ts";
import { changesAfter } from "./log.ts";
import { type PackedRow, readRows, rowsAfter } from "./store.ts";

export interface CheckpointRows {
  readonly rows: readonly PackedRow[];
  /** Where the next page begins; absent after the last. */
  readonly next?: string;
}

export interface CheckpointChanges {
  readonly changed: readonly { readonly table: string; readonly rows: readonly PackedRow[] }[];
  /** Everything up to here is in this page or an earlier one. */
  readonly to: Seq;
  /** Where the shard stands. */
  readonly head: Seq;
  /** Of the tables, there (V1). */
  readonly digests: Readonly<Record<string, string>>;
  /** What has left of each table, there. */
  readonly cold: Readonly<Record<string, { readonly runs: readonly ColdRun[]; readonly digest: string }>>;
}

const ROWS_AT_ONCE = 1000;
/** Changed rows may be large ones. */
const LOOKED_AT_ONCE = 64;

/** @param maxChars about how much a page holds; at least one row */
export function checkpointRows(sql: SqlStore, t: number, after: string, maxChars: number): CheckpointRows {
  const rows: PackedRow[] = [];
  let chars = 0;
  for (let last = after; ; ) {
    // As many as the rows so far let expect to fit; the first are taken to be large.
    const mean = rows.length === 0 ? READ_AHEAD_CHARS / 32 : chars / rows.length;
    const limit = Math.max(1, Math.min(ROWS_AT_ONCE, Math.floor((maxChars - chars) / mean)));
    const some = rowsAfter(sql, t, last, limit);
    for (const row of some) {
      rows.push(row);
      chars += row.id.length + row.state.length;
    }
    if (some.length < limit) return { rows };
    last = (some.at(-1) as PackedRow).id;
    if (chars >= maxChars) return { rows, next: last };
  }
}

/** @param nameOf names of the tables that the checkpoint is of; the others' changes are left out */
export function checkpointChanges(
  sql: SqlStore,
  nameOf: (t: number) => string | undefined,
  since: Seq,
  head: Seq,
  maxChars: number,
): Omit<CheckpointChanges, "digests" | "cold"> {
  const changed = new Map<string, Map<string, PackedRow>>();
  let chars = 0;
  let to: number = since;
  for (const { t, first, ids } of changesAfter(sql, since)) {
    const table = nameOf(t);
    const rows = changed.get(table ?? "") ?? new Map<string, PackedRow>();
    if (table !== undefined) changed.set(table, rows);
    for (let at = Math.max(0, to + 1 - first); at < ids.length && chars < maxChars; at += LOOKED_AT_ONCE) {
      const some = ids.slice(at, at + LOOKED_AT_ONCE);
      to = first + at + some.length - 1;
      if (table === undefined) continue;
      for (const row of readRows(
        sql,
        t,
        [...new Set(some)].filter((id) => !rows.has(id)),
      )) {
        rows.set(row.id, row);
        chars += row.id.length + row.state.length;
      }
    }
    if (chars >= maxChars) break;
  }
  if (chars < maxChars) to = head;
  const pages = [...changed].map(([table, rows]) => ({ table, rows: [...rows.values()] }));
  return { changed: pages, to: to as Seq, head };
}

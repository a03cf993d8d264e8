/**
 * Merging with a row that comes without its history: its newest insert and delete and its cells, each with its stamp, are
 * edits like any other (M1). Where only the row's newest stamp is known, it counts as that of its insert or delete.
 */
import { NO_STAMP, type Scalar, type Stamp } from "../schemas/index.ts";
import { applyEdit, type RowState } from "./merge.ts";
import type { RowBatch } from "./ports/index.ts";

/**
 * Merges row `at` of a page into a row, in place.
 * @param keyOf what the row calls a column; undefined for one that it does not have
 * @returns whether anything changed
 */
export function joinRow(
  row: RowState,
  page: RowBatch,
  at: number,
  keyOf: (column: string) => string | number | undefined,
): boolean {
  const newest = page.stamps[at] as Stamp;
  const dead = page.deleted[at] === true;
  const [inserted, deleted] = page.marks?.[at] ?? (dead ? [NO_STAMP, newest] : [newest, NO_STAMP]);
  let changed = deleted !== NO_STAMP && applyEdit(row, "D", deleted, {}, 0);
  if (inserted !== NO_STAMP && applyEdit(row, "I", inserted, {}, 0)) changed = true;
  if (dead) return changed;
  for (const [of, { name, values }] of page.columns.entries()) {
    const stamp = page.cellStamps[of]?.[at] ?? NO_STAMP;
    const key = keyOf(name);
    if (stamp === NO_STAMP || key === undefined) continue;
    if (applyEdit(row, "U", stamp, { [key]: values[at] as Scalar }, 0)) changed = true;
  }
  return changed;
}

/**
 * A row that comes without its history, as the edits that it is worth: its newest insert and delete and its cells, each
 * with its stamp, merge like any others (M1). Where only the row's newest stamp is known, it counts as that of its insert
 * or delete.
 */
import { NO_STAMP, type Scalar, type Stamp } from "../schemas/index.ts";
import type { CellList, ColumnKey } from "./merge.ts";
import type { RowBatch } from "./ports/index.ts";

export interface RowEdit<C extends ColumnKey> {
  readonly letter: "I" | "U" | "D";
  readonly stamp: Stamp;
  readonly cells: CellList<C>;
}

/**
 * What row `at` of a page is worth.
 * @param keyOf what the row calls a column; undefined for one that it does not have
 */
export function editsOfRow<C extends ColumnKey>(
  page: RowBatch,
  at: number,
  keyOf: (column: string) => C | undefined,
): RowEdit<C>[] {
  const newest = page.stamps[at] as Stamp;
  const dead = page.deleted[at] === true;
  const [inserted, deleted] = page.marks?.[at] ?? (dead ? [NO_STAMP, newest] : [newest, NO_STAMP]);
  const lists = new Map<Stamp, { columns: C[]; values: Scalar[] }>();
  const listOf = (stamp: Stamp) => {
    const list = lists.get(stamp) ?? { columns: [], values: [] };
    lists.set(stamp, list);
    return list;
  };
  if (inserted !== NO_STAMP) listOf(inserted);
  for (const [of, { name, values }] of dead ? [] : page.columns.entries()) {
    const stamp = page.cellStamps[of]?.[at] ?? NO_STAMP;
    const key = keyOf(name);
    if (stamp === NO_STAMP || key === undefined) continue;
    const list = listOf(stamp);
    list.columns.push(key);
    list.values.push(values[at] as Scalar);
  }
  const edits = [...lists].map(
    ([stamp, cells]): RowEdit<C> => ({ letter: stamp === inserted ? "I" : "U", stamp, cells }),
  );
  if (deleted === NO_STAMP) return edits;
  return [{ letter: "D", stamp: deleted, cells: { columns: [], values: [] } }, ...edits];
}

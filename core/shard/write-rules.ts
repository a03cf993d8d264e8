/** Which edits a token may make: a decision on the merged row, before and after (PU3, PL4). */
import { cellOf, isAlive } from "../merge.ts";
import type { Predicate } from "../sync-rules.ts";
import type { Refusal } from "./admit.ts";
import type { Cells, IdCells, ShardRow } from "./stored-row.ts";

/** What write rules know of a row as it was before an edit. */
export interface Before {
  readonly alive: boolean;
  /** Values of the columns that decide. */
  readonly cells: Cells;
  /** Whether any cell is there at all. */
  readonly holdsCells: boolean;
  readonly grave: Cells | undefined;
}

/**
 * Write rules hold for the row before and after. A row that is not alive is judged by what it was when it died and by
 * cells that outlived it; the id of one that is dead and empty is free to be inserted again. A row that may not be seen
 * and one that is not there get the same answer (PL4).
 *
 * @param before left out where the row is alive, stays alive, and the columns that decide stay as they are
 */
export function mayWrite(writes: Predicate, before: Before | undefined, after: ShardRow, edit: IdCells): boolean {
  if (!before) return writes((id) => cellOf(after, id));
  const alive = isAlive(after);
  const { cells, grave } = before;
  if (before.alive) return writes((id) => cells[id]) && (!alive || writes((id) => cellOf(after, id)));
  const past = (id: number) => cells[id] ?? grave?.[id];
  if (alive) return (!before.holdsCells || writes(past)) && writes((id) => cellOf(after, id));
  const known = before.holdsCells || grave !== undefined;
  return (!known || writes(past)) && writes((id) => edit.values[edit.columns.indexOf(id)] ?? past(id));
}

export const WRITE_FORBIDDEN: Refusal = {
  code: "WriteForbidden",
  message:
    "The sync rules do not let this token write this row as it is or as it would be; the device has to take the edit back.",
};

/** Some columns of a row. */
export function cellsOf(state: ShardRow, columns: readonly number[]): Cells {
  const cells: Cells = {};
  for (const id of columns) {
    const value = cellOf(state, id);
    if (value !== undefined) cells[id] = value;
  }
  return cells;
}

export function pick(cells: Cells, columns: readonly number[]): Cells {
  const picked: Cells = {};
  for (const id of columns) if (cells[id] !== undefined) picked[id] = cells[id];
  return picked;
}

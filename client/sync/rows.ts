/**
 * One row on the device, decided purely:
 *
 *   known row    what the gateway is known to hold: stamps from lakesync_rows_T, values from T or `base`
 *   + pending    its edits in the outbox, in order
 *   = visible    what the app sees in T
 *
 *   a page's edits     are merged into the known row (C4: a pending cell that is newer stays on top)
 *   an acknowledgement moves a pending edit into the known row
 *   a refusal          drops a pending edit (C6)
 */
import { applyEdit, cellList, cloneRow, emptyRow, isAlive, type RowState } from "../../core/index.ts";
import { type ClientId, type HlcText, makeStamp, NO_STAMP, type Scalar, type Stamp } from "../../schemas/index.ts";

export type Cells = Record<string, Scalar>;

export interface Edit {
  readonly letter: "I" | "U" | "D";
  readonly stamp: Stamp;
  readonly cells: Cells;
}

/** A local edit that waits. */
export interface PendingEdit {
  readonly letter: "I" | "U" | "D";
  readonly hlc: HlcText;
  readonly cells: Cells;
  /** What it replaced: the changed cells (U), the whole row (D), nothing (I). */
  readonly old: Cells | undefined;
}

/** A row of lakesync_rows_T. */
export interface KnownRow {
  readonly ins: Stamp;
  readonly del: Stamp;
  readonly cells: Readonly<Record<string, Stamp>>;
  /** Surviving cells where the table shows something else. */
  readonly base: Cells | undefined;
}

export const UNKNOWN_ROW: KnownRow = { ins: NO_STAMP, del: NO_STAMP, cells: {}, base: undefined };

/** The visible row before any of `pending` was made. `undefined` stands for no row. */
export function undo(visible: Cells | undefined, pending: readonly PendingEdit[]): Cells | undefined {
  let row = visible;
  for (let at = pending.length - 1; at >= 0; at--) {
    const { letter, old } = pending[at] as PendingEdit;
    row = letter === "I" ? undefined : letter === "D" ? old : { ...row, ...old };
  }
  return row;
}

/** The known row as a lattice. @param shown the table's row before pending edits, unless `known.base` says it */
export function stateOf(known: KnownRow, shown: Cells | undefined): RowState {
  const state = emptyRow();
  state.inserted = known.ins;
  state.deleted = known.del;
  const values = known.base ?? shown ?? {};
  const layers = new Map<Stamp, Cells>();
  for (const column in values) {
    const value = values[column] as Scalar;
    const stamp = Object.hasOwn(known.cells, column) ? known.cells[column] : value === null ? undefined : known.ins;
    if (stamp === undefined) continue;
    const cells = layers.get(stamp) ?? {};
    layers.set(stamp, cells);
    cells[column] = value;
  }
  state.layers = [...layers]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([stamp, cells]) => ({ stamp, seq: 0, ...cellList(cells) }));
  return state;
}

export function mergeEdits(state: RowState, edits: readonly Edit[]): void {
  for (const { letter, stamp, cells } of edits) applyEdit(state, letter, stamp, cells, 0);
}

/** What the app sees of a known row under the edits that still wait. `undefined` when there is no row. */
export function visibleOf(state: RowState, pending: readonly PendingEdit[], clientId: ClientId): Cells | undefined {
  const top = pending.length === 0 ? state : cloneRow(state);
  for (const { letter, hlc, cells } of pending) applyEdit(top, letter, makeStamp(hlc, clientId), cells, 0);
  return isAlive(top) ? cellsOf(top) : undefined;
}

/** How a known row is kept, or `undefined` when nothing has to be. */
export function keep(state: RowState, pending: boolean): KnownRow | undefined {
  const empty = state.inserted === NO_STAMP && state.deleted === NO_STAMP && state.layers.length === 0;
  if (empty && !pending) return undefined;
  const cells: Record<string, Stamp> = {};
  for (const layer of state.layers) {
    layer.columns.forEach((column, k) => {
      if (layer.stamp !== state.inserted || layer.values[k] === null) cells[column] = layer.stamp;
    });
  }
  const explicit = pending || (!isAlive(state) && state.layers.length > 0);
  return { ins: state.inserted, del: state.deleted, cells, base: explicit ? cellsOf(state) : undefined };
}

function cellsOf(state: RowState): Cells {
  const cells: Cells = {};
  for (const layer of state.layers) {
    layer.columns.forEach((column, k) => {
      cells[column] = layer.values[k] as Scalar;
    });
  }
  return cells;
}

/** Why a row id is none. */
export const badRowId = (rowId: unknown): string =>
  `${JSON.stringify(rowId)?.slice(0, 80)} is not a row id: 1 to 512 bytes of text without control characters.`;

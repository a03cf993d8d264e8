/**
 * A row as a join-semilattice (M1 to M5):
 *
 *   inserted  newest insert's stamp         deleted  newest delete's stamp        layers  the cells that survive
 *
 * Each part only ever moves to the greater stamp, so that order, repetition and batching of edits cannot matter. A row
 * is alive while inserted > deleted. Cells stamped before the newest delete are gone for good (M3). Cells are kept in
 * layers, one for each edit of which something survives: a fresh row is one layer, whatever its number of columns.
 *
 * Two edits with one stamp and different values for a cell can only come from a faulty client; the greater value wins,
 * so that even then every replica agrees.
 */
import {
  type ClientId,
  compareCodePoints,
  type Delta,
  type HlcText,
  letterOf,
  makeStamp,
  NO_STAMP,
  type Scalar,
  type Stamp,
} from "../schemas/index.ts";

/** What survives of one edit. */
export interface Layer {
  readonly stamp: Stamp;
  /** Where in the shard's order these cells came; 0 where there is no order, as on a device. */
  readonly seq: number;
  /** Cells by column: by id in a shard, by name on a device. Never empty. */
  readonly cells: Record<string, Scalar>;
}

export interface RowState {
  inserted: Stamp;
  insertedSeq: number;
  deleted: Stamp;
  deletedSeq: number;
  /** By (stamp, seq), ascending. */
  layers: Layer[];
}

export const emptyRow = (): RowState => ({
  inserted: NO_STAMP,
  insertedSeq: 0,
  deleted: NO_STAMP,
  deletedSeq: 0,
  layers: [],
});

export const isAlive = (row: RowState): boolean => row.inserted > row.deleted;

/** The newest stamp in a row; "" for a row that nothing happened to. */
export function newestStamp(row: RowState): Stamp {
  const top = row.layers.at(-1)?.stamp ?? NO_STAMP;
  const mark = row.inserted > row.deleted ? row.inserted : row.deleted;
  return top > mark ? top : mark;
}

/** Value of a cell, or undefined when no surviving edit names it. */
export function cellOf(row: RowState, column: string | number): Scalar | undefined {
  for (const layer of row.layers) {
    if (Object.hasOwn(layer.cells, column)) return layer.cells[column];
  }
  return undefined;
}

/** Whether this very edit is visible in the row's state: if so it was merged before. If not, it may have lost since. */
export const showsEdit = (row: RowState, stamp: Stamp): boolean =>
  row.inserted === stamp || row.deleted === stamp || row.layers.some((layer) => layer.stamp === stamp);

/**
 * Merges one edit into a row, in place.
 * @returns whether anything changed
 */
export function applyEdit(
  row: RowState,
  letter: "I" | "U" | "D",
  stamp: Stamp,
  cells: Readonly<Record<string, Scalar>>,
  seq: number,
): boolean {
  let changed = false;
  if (letter === "D") {
    if (stamp > row.deleted) {
      row.deleted = stamp;
      row.deletedSeq = seq;
      row.layers = row.layers.filter((layer) => layer.stamp >= stamp);
      changed = true;
    }
    return changed;
  }
  if (letter === "I" && stamp > row.inserted) {
    row.inserted = stamp;
    row.insertedSeq = seq;
    changed = true;
  }
  if (stamp < row.deleted) return changed;
  let won: Record<string, Scalar> | undefined;
  for (const column in cells) {
    const value = cells[column] as Scalar;
    if (!winsCell(row, column, stamp, value)) continue;
    won ??= {};
    won[column] = value;
  }
  if (won) {
    addLayer(row, { stamp, seq, cells: won });
    changed = true;
  }
  return changed;
}

/** Whether an edit of a cell beats what the row holds; if so the old cell is taken out. */
function winsCell(row: RowState, column: string, stamp: Stamp, value: Scalar): boolean {
  for (let at = 0; at < row.layers.length; at++) {
    const layer = row.layers[at] as Layer;
    if (!Object.hasOwn(layer.cells, column)) continue; // a column may be called "constructor"
    const held = layer.cells[column] as Scalar;
    if (layer.stamp > stamp || (layer.stamp === stamp && compareAny(held, value) >= 0)) return false;
    delete layer.cells[column];
    if (isEmpty(layer.cells)) row.layers.splice(at, 1);
    return true;
  }
  return true;
}

function addLayer(row: RowState, layer: Layer): void {
  let at = row.layers.length;
  while (at > 0 && comesAfter(row.layers[at - 1] as Layer, layer)) at--;
  const below = row.layers[at - 1];
  if (below && below.stamp === layer.stamp && below.seq === layer.seq) Object.assign(below.cells, layer.cells);
  else row.layers.splice(at, 0, layer);
}

const comesAfter = (a: Layer, b: Layer): boolean => a.stamp > b.stamp || (a.stamp === b.stamp && a.seq > b.seq);

function isEmpty(object: object): boolean {
  for (const _ in object) return false;
  return true;
}

const rank = (value: Scalar): number =>
  value === null ? 0 : typeof value === "boolean" ? 1 : typeof value === "number" ? 2 : 3;

/** A total order over canonical values of whatever type: null, booleans, numbers, strings. */
function compareAny(a: Scalar, b: Scalar): number {
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (typeof a === "string") return compareCodePoints(a, b as string);
  return Number(a) - Number(b);
}

/** The row after an edit; the row handed in is left as it was. */
export function merge(row: RowState | undefined, delta: Pick<Delta, "op" | "hlc" | "clientId" | "columns">): RowState {
  const next = row ? cloneRow(row) : emptyRow();
  applyEdit(
    next,
    letterOf(delta.op) as "I" | "U" | "D",
    makeStamp(delta.hlc as HlcText, delta.clientId as ClientId),
    delta.columns,
    0,
  );
  return next;
}

export const cloneRow = (row: RowState): RowState => ({
  ...row,
  layers: row.layers.map((layer) => ({ ...layer, cells: { ...layer.cells } })),
});

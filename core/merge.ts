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

/** A column's id in a shard, its name on a device. */
export type ColumnKey = string | number;

/**
 * Some cells of one row: `values[k]` stands in column `columns[k]`, none twice. Never changed in place, so that many may share
 * one. Two arrays, since an object whose keys are numbers is several times slower to read, walk and change.
 */
export interface CellList<C extends ColumnKey = string> {
  readonly columns: readonly C[];
  readonly values: readonly Scalar[];
}

/** What survives of one edit; never empty. */
export interface Layer<C extends ColumnKey = string> extends CellList<C> {
  readonly stamp: Stamp;
  /** Where in the shard's order these cells came; 0 where there is no order, as on a device. */
  readonly seq: number;
}

export interface RowState<C extends ColumnKey = string> {
  inserted: Stamp;
  insertedSeq: number;
  deleted: Stamp;
  deletedSeq: number;
  /** By (stamp, seq), ascending. */
  layers: Layer<C>[];
}

export const cellList = (cells: Readonly<Record<string, Scalar>>): CellList => ({
  columns: Object.keys(cells),
  values: Object.values(cells),
});

export const emptyRow = <C extends ColumnKey = string>(): RowState<C> => ({
  inserted: NO_STAMP,
  insertedSeq: 0,
  deleted: NO_STAMP,
  deletedSeq: 0,
  layers: [],
});

export const isAlive = (row: RowState<ColumnKey>): boolean => row.inserted > row.deleted;

/** The newest stamp in a row; "" for a row that nothing happened to. */
export function newestStamp(row: RowState<ColumnKey>): Stamp {
  const top = row.layers.at(-1)?.stamp ?? NO_STAMP;
  const mark = row.inserted > row.deleted ? row.inserted : row.deleted;
  return top > mark ? top : mark;
}

/** Value of a cell, or undefined when no surviving edit names it. */
export function cellOf<C extends ColumnKey>(row: RowState<C>, column: C): Scalar | undefined {
  for (const { columns, values } of row.layers) {
    const at = columns.indexOf(column);
    if (at >= 0) return values[at];
  }
  return undefined;
}

/** Whether this very edit is visible in the row's state: if so it was merged before. If not, it may have lost since. */
export const showsEdit = (row: RowState<ColumnKey>, stamp: Stamp): boolean =>
  row.inserted === stamp || row.deleted === stamp || row.layers.some((layer) => layer.stamp === stamp);

/**
 * Merges one edit into a row, in place.
 * @returns whether anything changed
 */
export const applyEdit = (
  row: RowState,
  letter: "I" | "U" | "D",
  stamp: Stamp,
  cells: Readonly<Record<string, Scalar>>,
  seq: number,
): boolean => applyCells(row, letter, stamp, cellList(cells), seq);

/** `applyEdit`, of cells as rows keep them. */
export function applyCells<C extends ColumnKey>(
  row: RowState<C>,
  letter: "I" | "U" | "D",
  stamp: Stamp,
  cells: CellList<C>,
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
  const won = winningCells(row, stamp, cells);
  if (won.columns.length > 0) {
    addLayer(row, { stamp, seq, columns: won.columns, values: won.values });
    changed = true;
  }
  return changed;
}

/** The cells of an edit that beat what the row holds; the old ones are taken out. */
function winningCells<C extends ColumnKey>(row: RowState<C>, stamp: Stamp, cells: CellList<C>): CellList<C> {
  const { layers } = row;
  let won = cells;
  for (let at = layers.length - 1; at >= 0; at--) {
    const layer = layers[at] as Layer<C>;
    const { columns, values } = layer;
    let beaten = 0;
    for (let k = 0; k < columns.length; k++) {
      const place = won.columns.indexOf(columns[k] as C);
      if (place < 0) continue;
      if (holds(layer, k, stamp, won.values[place] as Scalar)) won = without(won, place);
      else beaten++;
    }
    if (beaten === columns.length) layers.splice(at, 1);
    else if (beaten > 0) {
      const stays = (_: unknown, k: number) => !won.columns.includes(columns[k] as C);
      layers[at] = { ...layer, columns: columns.filter(stays), values: values.filter(stays) };
    }
  }
  return won;
}

/** Whether a cell is held against an edit of it. */
const holds = (layer: Layer<ColumnKey>, k: number, stamp: Stamp, value: Scalar): boolean =>
  layer.stamp > stamp || (layer.stamp === stamp && compareAny(layer.values[k] as Scalar, value) >= 0);

const without = <C extends ColumnKey>({ columns, values }: CellList<C>, place: number): CellList<C> => ({
  columns: columns.toSpliced(place, 1),
  values: values.toSpliced(place, 1),
});

function addLayer<C extends ColumnKey>(row: RowState<C>, layer: Layer<C>): void {
  let at = row.layers.length;
  while (at > 0 && comesAfter(row.layers[at - 1] as Layer<C>, layer)) at--;
  const below = row.layers[at - 1];
  if (below?.stamp !== layer.stamp || below.seq !== layer.seq) row.layers.splice(at, 0, layer);
  else {
    const columns = [...below.columns, ...layer.columns];
    row.layers[at - 1] = { ...layer, columns, values: [...below.values, ...layer.values] };
  }
}

const comesAfter = (a: Layer<ColumnKey>, b: Layer<ColumnKey>): boolean =>
  a.stamp > b.stamp || (a.stamp === b.stamp && a.seq > b.seq);

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

export const cloneRow = <C extends ColumnKey>(row: RowState<C>): RowState<C> => ({ ...row, layers: [...row.layers] });

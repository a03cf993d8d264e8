/**
 * How a shard keeps a row: one SQLite row, its state as a compact JSON array. Column ids, not names, so that a rename
 * touches no row; a layer that the insert made says 0 for its stamp.
 *
 *   [inserted, insertedSeq, deleted, deletedSeq, flushedSeq, [[stamp | 0, seq, [columnId, ...], [value, ...]], ...], grave?]
 */

import type { Scalar, Seq, Stamp } from "../../schemas/index.ts";
import { type CellList, emptyRow, isAlive, type RowState } from "../merge.ts";

/** Some cells by column id, for looking them up. */
export type Cells = Record<string, Scalar>;
/** All cells of an edit or of a layer, by column id. */
export type IdCells = CellList<number>;
export type ShardRow = RowState<number>;

export interface StoredRow {
  readonly state: ShardRow;
  /** Of the row's last change; 0 for a row that is not stored yet. */
  seq: number;
  /** Seq of the live version that a flush has handed over; 0 when there is none. Tells the lake where the old row lies. */
  flushedSeq: number;
  /**
   * Values that decided who might see and write the row when it died, so that an edit of a dead row is judged like one
   * of the living. Not part of merging.
   */
  grave?: Cells;
}

export const newRow = (): StoredRow => ({ state: emptyRow<number>(), seq: 0, flushedSeq: 0 });

type PackedLayer = [Stamp | 0, number, number[], Scalar[]];
export type Packed = [Stamp, number, Stamp, number, number, PackedLayer[], Cells?];

/** Written by hand: for arrays as small as these, `JSON.stringify` of the whole takes three times as long. */
export function packRow(row: StoredRow): string {
  const { inserted, insertedSeq, deleted, deletedSeq, layers } = row.state;
  let text = `["${inserted}",${insertedSeq},"${deleted}",${deletedSeq},${row.flushedSeq},[`;
  let comma = "";
  for (const { stamp, seq, columns, values } of layers) {
    text += `${comma}[${stamp === inserted ? "0" : `"${stamp}"`},${seq},[${idsText(columns)}],[${valuesText(values)}]]`;
    comma = ",";
  }
  return row.grave ? `${text}],${JSON.stringify(row.grave)}]` : `${text}]]`;
}

function idsText(ids: readonly number[]): string {
  let text = "";
  for (let k = 0; k < ids.length; k++) text += k === 0 ? ids[k] : `,${ids[k]}`;
  return text;
}

/** What JSON escapes, or may have to. */
const ESCAPED = /["\\\p{Cc}\p{Cs}]/u;

function valuesText(values: readonly Scalar[]): string {
  let text = "";
  for (let k = 0; k < values.length; k++) {
    const value = values[k] as Scalar;
    const json = typeof value !== "string" ? value : ESCAPED.test(value) ? JSON.stringify(value) : `"${value}"`;
    text += k === 0 ? json : `,${json}`;
  }
  return text;
}

export const unpackRow = (seq: number, text: string): StoredRow => unpacked(seq, JSON.parse(text) as Packed);

export function unpacked(seq: number, packed: Packed): StoredRow {
  const [inserted, insertedSeq, deleted, deletedSeq, flushedSeq, layers, grave] = packed;
  const state: ShardRow = { inserted, insertedSeq, deleted, deletedSeq, layers: [] };
  for (const layer of layers) {
    const stamp = layer[0] === 0 ? inserted : layer[0];
    state.layers.push({ stamp, seq: layer[1], columns: layer[2], values: layer[3] });
  }
  return grave ? { state, seq, flushedSeq, grave } : { state, seq, flushedSeq };
}

/**
 * Seq of the live version that a reader of everything up to `boundary` has; what `flushedSeq` becomes when the row changes.
 * @param aside where flushes were given up: nobody has read those versions
 */
export function flushedVersion(row: StoredRow, boundary: Seq, aside: readonly Range[] = []): number {
  if (row.seq > boundary || aside.some(({ first, last }) => row.seq >= first && row.seq <= last)) return row.flushedSeq;
  return row.seq > 0 && isAlive(row.state) ? row.seq : 0;
}

interface Range {
  readonly first: number;
  readonly last: number;
}

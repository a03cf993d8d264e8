/**
 * How a shard keeps a row: one SQLite row, its state as a compact JSON array. Column ids, not names, so that a rename
 * touches no row; a layer that the insert made says 0 for its stamp.
 *
 *   [inserted, insertedSeq, deleted, deletedSeq, flushedSeq, [[stamp | 0, seq, { columnId: value }], ...], grave?]
 */

import type { Scalar, Seq, Stamp } from "../../schemas/index.ts";
import { emptyRow, isAlive, type RowState } from "../merge.ts";

export type Cells = Record<string, Scalar>;

export interface StoredRow {
  readonly state: RowState;
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

export const newRow = (): StoredRow => ({ state: emptyRow(), seq: 0, flushedSeq: 0 });

export type Packed = [Stamp, number, Stamp, number, number, [Stamp | 0, number, Cells][], Cells?];

/** Written by hand: for arrays as small as these, `JSON.stringify` of the whole takes three times as long. */
export function packRow(row: StoredRow): string {
  const { inserted, insertedSeq, deleted, deletedSeq, layers } = row.state;
  let text = `["${inserted}",${insertedSeq},"${deleted}",${deletedSeq},${row.flushedSeq},[`;
  let comma = "";
  for (const { stamp, seq, cells } of layers) {
    text += `${comma}[${stamp === inserted ? "0" : `"${stamp}"`},${seq},${cellsText(cells)}]`;
    comma = ",";
  }
  return row.grave ? `${text}],${cellsText(row.grave)}]` : `${text}]]`;
}

function cellsText(cells: Cells): string {
  let text = "{";
  let comma = "";
  for (const id in cells) {
    const value = cells[id] as Scalar;
    text += `${comma}"${id}":${typeof value === "string" ? JSON.stringify(value) : value}`;
    comma = ",";
  }
  return `${text}}`;
}

export const unpackRow = (seq: number, text: string): StoredRow => unpacked(seq, JSON.parse(text) as Packed);

export function unpacked(seq: number, packed: Packed): StoredRow {
  const [inserted, insertedSeq, deleted, deletedSeq, flushedSeq, layers, grave] = packed;
  const state: RowState = {
    inserted,
    insertedSeq,
    deleted,
    deletedSeq,
    layers: layers.map(([stamp, layerSeq, cells]) => ({ stamp: stamp === 0 ? inserted : stamp, seq: layerSeq, cells })),
  };
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

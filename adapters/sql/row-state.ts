/**
 * What a database keeps of a row beside its values, so that edits merge as they do in a shard (M1 to M5).
 *
 *   live row   in its column `_stamps`   inserted;deleted;seq;=1,2,5;stamp:3,4     stamps by column id, `=` for the insert's
 *   dead row   a tombstone               [inserted, deleted, seq, [[stamp, columnIds, values], ...]]
 *
 * A live row's values are the columns of the row itself: whoever changes one by SQL has changed it, until a newer delta
 * comes. A dead row has no row: what edits left there in case it comes back is in its tombstone.
 */
import { emptyRow, type RowState } from "../../core/index.ts";
import {
  type ClientId,
  HLC_ZERO,
  hlcMillis,
  makeStamp,
  NO_STAMP,
  type Scalar,
  type Stamp,
  stampHlc,
} from "../../schemas/index.ts";

/** Stands for the value that the database has: merging needs stamps alone, unless two are equal. */
export const HELD = Symbol("held") as unknown as Scalar;

/** By column id. */
export type HeldState = RowState<number>;

export interface HeldRow {
  readonly state: HeldState;
  /** Of the row's last change, in its shard's order. */
  readonly seq: number;
}

/** Older than any edit: of a row that somebody else put into the table. */
const FOREIGN = makeStamp(HLC_ZERO, "" as ClientId);

export function packStamps({ inserted, deleted, layers }: HeldState, seq: number): string {
  let text = `${inserted};${deleted};${seq}`;
  for (const { stamp, columns } of layers) text += `;${stamp === inserted ? "=" : `${stamp}:`}${columns.join(",")}`;
  return text;
}

/**
 * @param text NULL for a row that somebody else inserted: older than any edit
 * @param columns ids of the table's columns @param value of a column, where it was read
 */
export function unpackStamps(
  text: string | null,
  columns: readonly number[],
  value: (columnId: number) => Scalar = () => HELD,
): HeldRow {
  const layerOf = (stamp: Stamp, ids: readonly number[]) => ({ stamp, seq: 0, columns: ids, values: ids.map(value) });
  if (text === null)
    return { state: { ...emptyRow<number>(), inserted: FOREIGN, layers: [layerOf(FOREIGN, columns)] }, seq: 0 };
  const [inserted, deleted, seq, ...layers] = text.split(";") as [Stamp, Stamp, string, ...string[]];
  const state: HeldState = { ...emptyRow<number>(), inserted, deleted };
  for (const layer of layers) {
    const colon = layer.indexOf(":");
    const stamp = colon < 0 ? inserted : (layer.slice(0, colon) as Stamp);
    const ids = layer.slice(Math.max(colon, 0) + 1).split(",");
    state.layers.push(layerOf(stamp, ids.map(Number)));
  }
  return { state, seq: Number(seq) };
}

/** @returns values of a live row, in the order of the columns; one list, filled anew for each row */
export function cellsReader(columns: readonly { readonly id: number }[]): (state: HeldState) => readonly Scalar[] {
  const places = new Map(columns.map(({ id }, at) => [id, at]));
  const cells = new Array<Scalar>(columns.length);
  return ({ layers }) => {
    cells.fill(null);
    for (const layer of layers)
      for (let k = 0; k < layer.columns.length; k++) {
        const place = places.get(layer.columns[k] as number);
        if (place !== undefined) cells[place] = layer.values[k] as Scalar;
      }
    return cells;
  };
}

type StoredLayer = readonly [Stamp, readonly number[], readonly Scalar[]];

export const packTombstone = ({ inserted, deleted, layers }: HeldState, seq: number): string =>
  JSON.stringify([inserted, deleted, seq, layers.map(({ stamp, columns, values }) => [stamp, columns, values])]);

export function unpackTombstone(text: string): HeldRow {
  const [inserted, deleted, seq, stored] = JSON.parse(text) as [Stamp, Stamp, number, StoredLayer[]];
  const layers = stored.map(([stamp, columns, values]) => ({ stamp, seq: 0, columns, values }));
  return { state: { ...emptyRow<number>(), inserted, deleted, layers }, seq };
}

/** The year 9999: of what did not die, but was never made. */
const NEVER_MS = 253_402_300_799_000;

/** When a dead row died, milliseconds since 1970. */
export const diedMs = ({ deleted }: HeldState): number =>
  deleted === NO_STAMP ? NEVER_MS : hlcMillis(stampHlc(deleted));

/** The edits that survive in a row: with merging by stamps, they make the same row wherever they arrive. */
import {
  type ClientId,
  COLUMNS_MAX,
  type DeltaBatchBuilder,
  PAGE_ROWS_MAX,
  type Scalar,
  type Stamp,
  stampClient,
  stampHlc,
} from "../../schemas/index.ts";
import type { IdCells, ShardRow } from "./stored-row.ts";

/** An `R` is nobody's edit, but a batch names a client for each entry. */
export const NOBODY = "gateway" as ClientId;

/** With one more row, of whose every column another edit survives, a batch is still one that decoders take. */
export const ENTRIES_MAX = PAGE_ROWS_MAX - COLUMNS_MAX - 2;

/**
 * Adds a row's surviving edits to a batch.
 * @param since only what came after this seq, unless `whole`
 * @param named cells by column id as cells by name
 */
export function addRow(
  builder: DeltaBatchBuilder,
  id: string,
  state: ShardRow,
  { since, whole, named }: { since: number; whole: boolean; named(cells: IdCells): Record<string, Scalar> },
): void {
  const add = (letter: "I" | "U" | "D", stamp: Stamp, cells: Record<string, Scalar>) =>
    builder.add(letter, id, stampHlc(stamp), stampClient(stamp), cells);
  const buried = state.deleted !== "" && (whole || state.deletedSeq > since);
  if (buried) add("D", state.deleted, {});
  let inserted = false;
  for (const layer of state.layers) {
    if (!whole && layer.seq <= since) continue;
    const insert: boolean = layer.stamp === state.inserted && !inserted;
    add(insert ? "I" : "U", layer.stamp, named(layer));
    inserted ||= insert;
  }
  // A delete that lost never travels alone: by itself it would say that the row is gone.
  if (!inserted && (buried || whole || state.insertedSeq > since)) add("I", state.inserted, {});
}

/** Cells by name; those of columns that were dropped are left out. */
export function namedCells(names: ReadonlyMap<number, string>, { columns, values }: IdCells): Record<string, Scalar> {
  const named: Record<string, Scalar> = {};
  columns.forEach((id, k) => {
    const name = names.get(id);
    if (name !== undefined) named[name] = values[k] as Scalar;
  });
  return named;
}

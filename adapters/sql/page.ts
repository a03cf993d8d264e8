/**
 * A page of history on its way into a table: what it makes of the rows that are there. Pure.
 *
 *   edits + what the database holds of their rows --merge of core/--> rows to insert, to update, to delete; tombstones
 */
import { applyCells, type CellList, cloneRow, emptyRow, type HistoryBatch, isAlive } from "../../core/index.ts";
import {
  type ClientId,
  clientOf,
  type HlcText,
  isAbsent,
  makeStamp,
  type Scalar,
  type Stamp,
} from "../../schemas/index.ts";
import { HELD, type HeldRow, type HeldState } from "./row-state.ts";

export interface PageEntry {
  readonly seq: number;
  readonly receivedMs: number;
  readonly letter: "I" | "U" | "D";
  readonly rowId: string;
  readonly hlc: HlcText;
  readonly client: ClientId;
  /** By column id. */
  readonly cells: CellList<number>;
}

/** @param ids of columns by their names in the batch */
export function entriesOf(page: HistoryBatch, ids: ReadonlyMap<string, number>, after: number): PageEntry[] {
  const { batch, seqs, receivedMs } = page;
  const columns = batch.columns.flatMap(({ name, values }) => {
    const id = ids.get(name);
    return id === undefined ? [] : [{ id, values }];
  });
  const all = columns.map(({ id }) => id);
  const entries: PageEntry[] = [];
  for (let at = 0; at < seqs.length; at++) {
    if ((seqs[at] as number) <= after) continue;
    let named = all;
    const values: Scalar[] = [];
    for (const { values: column, id } of columns) {
      const value = column[at];
      if (!isAbsent(value)) values.push(value as Scalar);
      else named = named.filter((each) => each !== id);
    }
    entries.push({
      seq: seqs[at] as number,
      receivedMs: receivedMs[at] as number,
      letter: batch.ops[at] as "I",
      rowId: batch.rowIds[at] as string,
      hlc: batch.hlcs[at] as HlcText,
      client: clientOf(batch, at),
      cells: { columns: named, values },
    });
  }
  return entries;
}

export interface MergedRow {
  readonly rowId: string;
  readonly state: HeldState;
  readonly seq: number;
}

export interface RowUpdate extends MergedRow {
  /** Ids of the columns that change, with their values. */
  readonly changes: ReadonlyMap<number, Scalar>;
}

export interface PagePlan {
  readonly inserts: MergedRow[];
  readonly updates: RowUpdate[];
  readonly deletes: string[];
  readonly tombstones: MergedRow[];
  /** Tombstones of rows that live again. */
  readonly risen: string[];
}

/**
 * @param held rows that the database has, live or dead, by id
 * @returns what to write; or ids of live rows whose values are needed to decide, since stamps alone do not
 */
export function planPage(
  entries: readonly PageEntry[],
  held: ReadonlyMap<string, HeldRow>,
): { readonly plan: PagePlan } | { readonly needed: string[] } {
  const rows = new Map<string, { state: HeldState; seq: number }>();
  const needed = new Set<string>();
  for (const { rowId, letter, hlc, client, cells, seq } of entries) {
    const stamp = makeStamp(hlc, client);
    let row = rows.get(rowId);
    if (!row) {
      const known = held.get(rowId);
      if (!known && letter === "I") {
        // Most rows: nothing to merge with.
        rows.set(rowId, { state: insertedRow(stamp, cells), seq });
        continue;
      }
      row = { state: known ? cloneRow(known.state) : emptyRow(), seq: known?.seq ?? 0 };
      rows.set(rowId, row);
    }
    if (letter !== "D" && isTie(row.state, stamp, cells)) needed.add(rowId);
    else if (applyCells(row.state, letter, stamp, cells, 0)) row.seq = seq;
  }
  const plan: PagePlan = { inserts: [], updates: [], deletes: [], tombstones: [], risen: [] };
  for (const [rowId, { state, seq }] of rows) {
    const before = held.get(rowId);
    const wasAlive = before !== undefined && isAlive(before.state);
    const merged = { rowId, state, seq };
    if (isAlive(state)) {
      if (!wasAlive) {
        plan.inserts.push(merged);
        if (before) plan.risen.push(rowId);
      } else if (!sameStamps(before.state, state))
        plan.updates.push({ ...merged, changes: changesOf(before.state, state) });
    } else {
      if (state.layers.some(({ values }) => values.includes(HELD))) needed.add(rowId);
      if (wasAlive) plan.deletes.push(rowId);
      if (!before || !sameStamps(before.state, state)) plan.tombstones.push(merged);
    }
  }
  return needed.size > 0 ? { needed: [...needed] } : { plan };
}

/** The rows of a page that has each once, inserted: they are new unless the database tells otherwise. */
export function newRows(entries: readonly PageEntry[]): MergedRow[] | undefined {
  const rows: MergedRow[] = [];
  for (const { rowId, letter, hlc, client, cells, seq } of entries) {
    if (letter !== "I") return undefined;
    rows.push({ rowId, state: insertedRow(makeStamp(hlc, client), cells), seq });
  }
  return new Set(rows.map(({ rowId }) => rowId)).size === rows.length ? rows : undefined;
}

const insertedRow = (stamp: Stamp, { columns, values }: CellList<number>): HeldState => {
  const row = emptyRow<number>();
  row.inserted = stamp;
  if (columns.length > 0) row.layers.push({ stamp, seq: 0, columns, values });
  return row;
};

/** Whether an edit has the very stamp of a cell that the database holds: then the greater value wins. */
const isTie = (row: HeldState, stamp: Stamp, cells: CellList<number>): boolean =>
  row.layers.some(
    (layer) =>
      layer.stamp === stamp && layer.columns.some((id, at) => layer.values[at] === HELD && cells.columns.includes(id)),
  );

function sameStamps(a: HeldState, b: HeldState): boolean {
  if (a.inserted !== b.inserted || a.deleted !== b.deleted || a.layers.length !== b.layers.length) return false;
  return a.layers.every((layer, at) => {
    const other = b.layers[at] as HeldState["layers"][number];
    return (
      layer.stamp === other.stamp && sameList(layer.columns, other.columns) && sameList(layer.values, other.values)
    );
  });
}

const sameList = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a === b || (a.length === b.length && a.every((value, at) => value === b[at]));

/** Cells that have a new value, and those that are gone, which become NULL. */
function changesOf(before: HeldState, after: HeldState): Map<number, Scalar> {
  const changes = new Map<number, Scalar>();
  for (const { columns } of before.layers) for (const id of columns) changes.set(id, null);
  for (const { columns, values } of after.layers)
    for (const [at, id] of columns.entries())
      if (values[at] === HELD) changes.delete(id);
      else changes.set(id, values[at] as Scalar);
  return changes;
}

/**
 * A page of history on its way into a table: what it makes of the rows that are there. Pure.
 *
 *   edits + what the database holds of their rows --merge of core/--> rows to insert, to update, to delete; tombstones
 */
import { applyEdit, cloneRow, emptyRow, type HistoryBatch, isAlive, type RowState } from "../../core/index.ts";
import {
  type ClientId,
  clientOf,
  type HlcText,
  isAbsent,
  makeStamp,
  type Scalar,
  type Stamp,
} from "../../schemas/index.ts";
import { HELD, type HeldRow } from "./row-state.ts";

export interface PageEntry {
  readonly seq: number;
  readonly receivedMs: number;
  readonly letter: "I" | "U" | "D";
  readonly rowId: string;
  readonly hlc: HlcText;
  readonly client: ClientId;
  /** By column id. */
  readonly cells: Record<string, Scalar>;
}

/** @param ids of columns by their names in the batch */
export function entriesOf(page: HistoryBatch, ids: ReadonlyMap<string, number>, after: number): PageEntry[] {
  const { batch, seqs, receivedMs } = page;
  const columns = batch.columns.flatMap(({ name, values }) => {
    const id = ids.get(name);
    return id === undefined ? [] : [{ id, values }];
  });
  const entries: PageEntry[] = [];
  for (let at = 0; at < seqs.length; at++) {
    if ((seqs[at] as number) <= after) continue;
    const cells: Record<string, Scalar> = {};
    for (const { id, values } of columns) {
      const value = values[at];
      if (!isAbsent(value)) cells[id] = value as Scalar;
    }
    entries.push({
      seq: seqs[at] as number,
      receivedMs: receivedMs[at] as number,
      letter: batch.ops[at] as "I",
      rowId: batch.rowIds[at] as string,
      hlc: batch.hlcs[at] as HlcText,
      client: clientOf(batch, at),
      cells,
    });
  }
  return entries;
}

export interface MergedRow {
  readonly rowId: string;
  readonly state: RowState;
  readonly seq: number;
}

export interface RowUpdate extends MergedRow {
  /** Ids of the columns that change, with their values. */
  readonly changes: ReadonlyMap<string, Scalar>;
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
  const rows = new Map<string, { state: RowState; seq: number; borrowed: boolean }>();
  const needed = new Set<string>();
  for (const { rowId, letter, hlc, client, cells, seq } of entries) {
    const stamp = makeStamp(hlc, client);
    let row = rows.get(rowId);
    if (!row) {
      const known = held.get(rowId);
      if (!known && letter === "I") {
        // Most rows: nothing to merge with, and mostly nothing follows that would change the cells.
        const layers = isEmpty(cells) ? [] : [{ stamp, seq: 0, cells }];
        rows.set(rowId, { state: { ...emptyRow(), inserted: stamp, layers }, seq, borrowed: true });
        continue;
      }
      row = { state: known ? cloneRow(known.state) : emptyRow(), seq: known?.seq ?? 0, borrowed: false };
      rows.set(rowId, row);
    } else if (row.borrowed) {
      row.state = cloneRow(row.state);
      row.borrowed = false;
    }
    if (letter !== "D" && isTie(row.state, stamp, cells)) needed.add(rowId);
    else if (applyEdit(row.state, letter, stamp, cells, 0)) row.seq = seq;
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
      if (state.layers.some(({ cells }) => Object.values(cells).includes(HELD))) needed.add(rowId);
      if (wasAlive) plan.deletes.push(rowId);
      if (!before || !sameStamps(before.state, state)) plan.tombstones.push(merged);
    }
  }
  return needed.size > 0 ? { needed: [...needed] } : { plan };
}

function isEmpty(cells: object): boolean {
  for (const _ in cells) return false;
  return true;
}

/** Whether an edit has the very stamp of a cell that the database holds: then the greater value wins. */
const isTie = (row: RowState, stamp: Stamp, cells: Readonly<Record<string, Scalar>>): boolean =>
  row.layers.some((layer) => layer.stamp === stamp && Object.keys(cells).some((id) => layer.cells[id] === HELD));

function sameStamps(a: RowState, b: RowState): boolean {
  if (a.inserted !== b.inserted || a.deleted !== b.deleted || a.layers.length !== b.layers.length) return false;
  return a.layers.every((layer, at) => {
    const other = b.layers[at] as RowState["layers"][number];
    const ids = Object.keys(layer.cells);
    return (
      layer.stamp === other.stamp &&
      ids.length === Object.keys(other.cells).length &&
      ids.every((id) => Object.hasOwn(other.cells, id) && layer.cells[id] === other.cells[id])
    );
  });
}

function changesOf(before: RowState, after: RowState): Map<string, Scalar> {
  const changes = new Map<string, Scalar>();
  const kept = new Set<string>();
  for (const { cells } of after.layers)
    for (const id in cells)
      if (cells[id] === HELD) kept.add(id);
      else changes.set(id, cells[id] as Scalar);
  for (const { cells } of before.layers)
    for (const id in cells) if (!kept.has(id) && !changes.has(id)) changes.set(id, null);
  return changes;
}

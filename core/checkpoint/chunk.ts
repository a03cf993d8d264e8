/**
 * A chunk: some rows of one table, as the edits that survive in them, just as a page of a pull has them; and beside it what
 * only the rebuilding of a shard needs (L7) and no device may see: seqs, and dead rows.
 */
import {
  cellsAt,
  clientOf,
  type DeltaBatch,
  DeltaBatchBuilder,
  HLC_ZERO,
  type HlcText,
  makeStamp,
  type Stamp,
  stampClient,
  stampHlc,
  type TableSchema,
} from "../../schemas/index.ts";
import { applyCells, emptyRow, isAlive } from "../merge.ts";
import type { PackedRow } from "../shard/store.ts";
import { type IdCells, packRow, type StoredRow, unpackRow } from "../shard/stored-row.ts";
import { addRow, ENTRIES_MAX, NOBODY, namedCells } from "../shard/whole-row.ts";

/** What of a chunk's rows is no device's business. */
export interface ChunkRest {
  /** Of the rows that are alive, in their order. */
  readonly seqs: readonly number[];
  readonly dead: readonly PackedRow[];
}

export class ChunkBuilder {
  readonly #table: TableSchema;
  readonly #late: boolean;
  readonly #charsMax: number;
  readonly #names: ReadonlyMap<number, string>;
  readonly #batch: DeltaBatchBuilder;
  readonly #seqs: number[] = [];
  readonly #dead: PackedRow[] = [];
  #chars = 0;

  /** @param late the rows changed while others were read: those that died have to be told of */
  constructor(table: TableSchema, late: boolean, charsMax: number) {
    this.#table = table;
    this.#late = late;
    this.#charsMax = charsMax;
    this.#names = new Map(table.columns.map((c) => [c.id, c.name]));
    this.#batch = new DeltaBatchBuilder(table.table);
  }

  get full(): boolean {
    return this.#chars >= this.#charsMax || this.#batch.count > ENTRIES_MAX;
  }

  get empty(): boolean {
    return this.#seqs.length + this.#dead.length === 0;
  }

  /** @returns the row, where it is alive */
  add(packed: PackedRow): StoredRow | undefined {
    const row = unpackRow(packed.seq, packed.state);
    const { state } = row;
    this.#chars += packed.id.length + packed.state.length;
    if (isAlive(state)) {
      this.#seqs.push(packed.seq);
      const named = (cells: IdCells) => namedCells(this.#names, cells);
      addRow(this.#batch, packed.id, state, { since: 0, whole: true, named });
      return row;
    }
    this.#dead.push(packed);
    if (this.#late && state.deleted !== "")
      this.#batch.add("D", packed.id, stampHlc(state.deleted), stampClient(state.deleted), {});
    else if (this.#late) this.#batch.add("R", packed.id, HLC_ZERO, NOBODY, {}); // cells of a row that never was
    return undefined;
  }

  build(): { readonly table: string; readonly batch: DeltaBatch; readonly rest: ChunkRest } {
    return {
      table: this.#table.table,
      batch: this.#batch.build(),
      rest: { seqs: this.#seqs, dead: this.#dead },
    };
  }
}

/** The rows of a chunk as a shard stores them: the lake has all of them, and no device's cursor is older. */
export function restoreRows(table: TableSchema, batches: readonly DeltaBatch[], rest: ChunkRest): PackedRow[] {
  const rows: PackedRow[] = [...rest.dead];
  const seqs = rest.seqs.values();
  for (const batch of batches)
    for (const { id, edits } of rowsOf(table, batch)) {
      const state = emptyRow<number>();
      for (const { letter, stamp, cells } of edits) applyCells(state, letter, stamp, cells, 0);
      if (!isAlive(state)) continue; // told of beside
      const seq = seqs.next().value ?? 0;
      const layers = state.layers.map((layer) => ({ ...layer, seq }));
      const stored = { ...state, layers, insertedSeq: seq, deletedSeq: state.deleted === "" ? 0 : seq };
      rows.push({ id, seq, state: packRow({ state: stored, seq, flushedSeq: seq }) });
    }
  return rows;
}

interface RowEdits {
  readonly id: string;
  readonly edits: { letter: "I" | "U" | "D"; stamp: Stamp; cells: IdCells }[];
}

/** The edits of each row, which stand behind each other; cells by column id. */
function* rowsOf(table: TableSchema, batch: DeltaBatch): Generator<RowEdits> {
  const ids = new Map(table.columns.map((c) => [c.name, c.id]));
  let row: RowEdits | undefined;
  for (const [at, id] of batch.rowIds.entries()) {
    if (row?.id !== id) {
      if (row) yield row;
      row = { id, edits: [] };
    }
    const letter = batch.ops[at] as "I" | "U" | "D" | "R";
    if (letter === "R") continue;
    const cells = Object.entries(cellsAt(batch, at)).flatMap(([name, value]) => {
      const columnId = ids.get(name);
      return columnId === undefined ? [] : [[columnId, value] as const];
    });
    cells.sort(([a], [b]) => a - b);
    const columns = cells.map(([columnId]) => columnId);
    const values = cells.map(([, value]) => value);
    row.edits.push({
      letter,
      stamp: makeStamp(batch.hlcs[at] as HlcText, clientOf(batch, at)),
      cells: { columns, values },
    });
  }
  if (row) yield row;
}

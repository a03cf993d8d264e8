/**
 * Pages of a flush on their way from a shard to its consumer: text, as the shard keeps it. It crosses RPC several times
 * faster than values do, and the shard, of which there is one, leaves the reading to consumers, of which there are many.
 */
import type { ClientId, Scalar, Seq, Stamp, TableSchema } from "../../schemas/index.ts";
import { isAlive, newestStamp } from "../merge.ts";
import type { HistoryBatch, RowBatch } from "../ports/index.ts";
import { unpackEdits } from "./log.ts";
import { ROW_SEPARATOR, splitRows } from "./store.ts";
import { type StoredRow, unpackRow } from "./stored-row.ts";

/** Stored rows, joined. */
export type RowsText = string & { readonly rowsText: true };

export const joinTexts = (texts: readonly string[]): RowsText => texts.filter(Boolean).join(ROW_SEPARATOR) as RowsText;

/** One log row. */
export interface HistoryText {
  /** Seq of its first entry. */
  readonly first: number;
  readonly client: ClientId;
  /** When the shard took it, milliseconds since 1970. */
  readonly at: number;
  readonly changes: string;
  readonly edits: string;
}

export function historyOf(table: TableSchema, { first, client, at, changes, edits }: HistoryText): HistoryBatch {
  const names = new Map(table.columns.map((c) => [c.id, c.name]));
  const batch = unpackEdits(table.table, client, changes, edits, (id) => names.get(id));
  const seqs = batch.rowIds.map((_, k) => (first + k) as Seq);
  return { seqs, receivedMs: seqs.map(() => at), batch };
}

export function rowsOf(table: TableSchema, text: RowsText): RowBatch {
  const builder = new RowBatchBuilder(table);
  for (const { id, seq, state } of splitRows(text)) builder.add(id, unpackRow(seq, state));
  return builder.build();
}

/** Puts merged rows into columns. */
class RowBatchBuilder {
  readonly #table: TableSchema;
  readonly #rowIds: string[] = [];
  readonly #stamps: Stamp[] = [];
  readonly #seqs: Seq[] = [];
  readonly #deleted: boolean[] = [];
  readonly #flushedSeqs: Seq[] = [];
  readonly #values: Scalar[][];
  readonly #cellStamps: Stamp[][];
  readonly #marks: [Stamp, Stamp][] = [];
  readonly #columnAt: Map<number, number>;

  constructor(table: TableSchema) {
    this.#table = table;
    this.#values = table.columns.map(() => []);
    this.#cellStamps = table.columns.map(() => []);
    this.#columnAt = new Map(table.columns.map((c, at) => [c.id, at]));
  }

  add(id: string, row: StoredRow): void {
    const alive = isAlive(row.state);
    const at = this.#rowIds.length;
    this.#rowIds.push(id);
    this.#stamps.push(newestStamp(row.state));
    this.#seqs.push(row.seq as Seq);
    this.#deleted.push(!alive);
    this.#marks.push([row.state.inserted, row.state.deleted]);
    this.#flushedSeqs.push(row.flushedSeq as Seq);
    for (const values of this.#values) values.push(null);
    for (const stamps of this.#cellStamps) stamps.push("" as Stamp);
    if (!alive) return;
    for (const layer of row.state.layers)
      for (let k = 0; k < layer.columns.length; k++) {
        const column = this.#columnAt.get(layer.columns[k] as number);
        if (column === undefined) continue;
        (this.#values[column] as Scalar[])[at] = layer.values[k] as Scalar;
        (this.#cellStamps[column] as Stamp[])[at] = layer.stamp;
      }
  }

  build(): RowBatch {
    return {
      rowIds: this.#rowIds,
      stamps: this.#stamps,
      seqs: this.#seqs,
      deleted: this.#deleted,
      flushedSeqs: this.#flushedSeqs,
      columns: this.#table.columns.map((c, at) => ({ name: c.name, values: this.#values[at] as Scalar[] })),
      cellStamps: this.#cellStamps,
      marks: this.#marks,
    };
  }
}

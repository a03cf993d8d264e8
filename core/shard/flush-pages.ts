/**
 * Pages of a flush on their way from a shard to its consumer: text, as the shard keeps it. It crosses RPC several times
 * faster than values do, and the shard, of which there is one, leaves the reading to consumers, of which there are many.
 */
import { type ClientId, NO_STAMP, type Scalar, type Seq, type Stamp, type TableSchema } from "../../schemas/index.ts";
import { isAlive, type Layer, newestStamp } from "../merge.ts";
import type { HistoryBatch, RowBatch } from "../ports/index.ts";
import { unpackEdits } from "./log.ts";
import { ROW_SEPARATOR, splitRows } from "./store.ts";
import { unpackRow } from "./stored-row.ts";

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

/** Merged rows in columns. What only some destinations look at, stamps of cells and of rows' marks, is made when it is looked at. */
export function rowsOf(table: TableSchema, text: RowsText): RowBatch {
  const packed = splitRows(text);
  const rows = packed.map(({ seq, state }) => unpackRow(seq, state));
  const columnAt = new Map(table.columns.map((c, at) => [c.id, at]));
  const inColumns = <T>(blank: T, of: (layer: Layer<number>, k: number) => T): T[][] => {
    const lists = table.columns.map(() => new Array<T>(rows.length).fill(blank));
    rows.forEach(({ state }, at) => {
      if (!isAlive(state)) return;
      for (const layer of state.layers)
        for (let k = 0; k < layer.columns.length; k++) {
          const list = lists[columnAt.get(layer.columns[k] as number) ?? -1];
          if (list) list[at] = of(layer, k);
        }
    });
    return lists;
  };
  const values = inColumns<Scalar>(null, (layer, k) => layer.values[k] as Scalar);
  let cellStamps: Stamp[][] | undefined;
  let marks: [Stamp, Stamp][] | undefined;
  return {
    rowIds: packed.map(({ id }) => id),
    stamps: rows.map(({ state }) => newestStamp(state)),
    seqs: rows.map(({ seq }) => seq as Seq),
    deleted: rows.map(({ state }) => !isAlive(state)),
    flushedSeqs: rows.map(({ flushedSeq }) => flushedSeq as Seq),
    columns: table.columns.map((c, at) => ({ name: c.name, values: values[at] as Scalar[] })),
    get cellStamps() {
      cellStamps ??= inColumns(NO_STAMP, ({ stamp }) => stamp);
      return cellStamps;
    },
    get marks() {
      marks ??= rows.map(({ state }) => [state.inserted, state.deleted]);
      return marks;
    },
  };
}

/** A page as people read it: rows with their cells, instead of the edits that survive in them. */
import { create, fromJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { applyEdit, emptyRow, isAlive, type RowState } from "../core/index.ts";
import {
  cellsAt,
  clientOf,
  decodeBatch,
  type HlcText,
  hlcToBigInt,
  makeStamp,
  proto,
  type Scalar,
  scalarToJson,
  stampClient,
  stampHlc,
  type TableSchema,
  unwrap,
} from "../schemas/index.ts";

/** Whether every column of a page is one of these tables'. */
export function knowsColumns(tables: readonly TableSchema[], page: proto.PullResponse): boolean {
  return page.batches.every((batch) => {
    const table = tables.find((t) => t.table === batch.table);
    return batch.columns.every((column) => table?.columns.some((c) => c.name === column.name));
  });
}

export function rowsOfPage(page: proto.PullResponse, tables: readonly TableSchema[]): proto.PullResponse {
  const rows: proto.Row[] = [];
  for (const message of page.batches) {
    const batch = unwrap(decodeBatch(message));
    const table = tables.find((t) => t.table === batch.table);
    const states = new Map<string, RowState | "removed">();
    for (const [at, rowId] of batch.rowIds.entries()) {
      const letter = batch.ops[at] as "I" | "U" | "D" | "R";
      if (letter === "R") {
        states.set(rowId, "removed");
        continue;
      }
      const held = states.get(rowId);
      const state = held === undefined || held === "removed" ? emptyRow() : held;
      states.set(rowId, state);
      applyEdit(state, letter, makeStamp(batch.hlcs[at] as HlcText, clientOf(batch, at)), cellsAt(batch, at), 0);
    }
    for (const [rowId, state] of states) rows.push(toRow(batch.table, rowId, state, table));
  }
  return { ...page, batches: [], rows };
}

function toRow(table: string, rowId: string, state: RowState | "removed", schema: TableSchema | undefined): proto.Row {
  if (state === "removed") return create(proto.RowSchema, { table, rowId, removed: true });
  // A page may carry only the cells that changed: without an insert in it, the row lives as far as the device knows.
  if (!isAlive(state) && state.deleted !== "") return create(proto.RowSchema, { table, rowId, deleted: true });
  const columns = state.layers.flatMap((layer) =>
    layer.columns.map((column, k) => {
      const type = schema?.columns.find((c) => c.name === column)?.type ?? "string";
      const json = fromJson(ValueSchema, scalarToJson(type, layer.values[k] as Scalar) as never);
      return { column, value: json, hlc: hlcToBigInt(stampHlc(layer.stamp)), clientId: stampClient(layer.stamp) };
    }),
  );
  return create(proto.RowSchema, { table, rowId, columns });
}

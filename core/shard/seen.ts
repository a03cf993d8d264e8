/** What a token may see of rows that are not in a shard any more, as their own edits. */
import {
  type Claims,
  type DeltaBatch,
  DeltaBatchBuilder,
  type SyncRules,
  type TableSchema,
} from "../../schemas/index.ts";
import { cellOf, isAlive } from "../merge.ts";
import { tableAccess } from "../sync-rules.ts";
import type { PackedRow } from "./store.ts";
import { unpackRow } from "./stored-row.ts";
import { addRow, namedCells } from "./whole-row.ts";

export function seenRows(rules: SyncRules, table: TableSchema, claims: Claims, rows: readonly PackedRow[]): DeltaBatch {
  const { sees } = tableAccess(rules, table, claims);
  const names = new Map(table.columns.map((c) => [c.id, c.name]));
  const builder = new DeltaBatchBuilder(table.table);
  for (const { id, seq, state: packed } of rows) {
    const { state } = unpackRow(seq, packed);
    if (isAlive(state) && sees((column) => cellOf(state, column)))
      addRow(builder, id, state, { since: 0, whole: true, named: (cells) => namedCells(names, cells) });
  }
  return builder.build();
}

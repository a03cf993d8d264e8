/** What a push brings, sorted by table, each delta decoded and checked by itself. */
import {
  type Claims,
  type ClientId,
  cellsAt,
  type DeltaBatch,
  type HlcText,
  isAbsent,
  type LooseDelta,
  type Scalar,
  type TableSchema,
} from "../../schemas/index.ts";
import { type Admitted, admitBatch, admitLoose } from "./admit.ts";
import { ownsRow, type ShardConfig } from "./config.ts";
import type { IdCells } from "./stored-row.ts";

export interface PushInput {
  readonly clientId: ClientId;
  readonly claims: Claims;
  readonly nowMs: number;
  /** Programs' edits, in columns. */
  readonly batches: readonly DeltaBatch[];
  /** People's edits; their ids are answered. */
  readonly deltas: readonly LooseDelta[];
}

export interface TableWork {
  readonly name: string;
  readonly table: TableSchema | undefined;
  readonly items: Item[];
}

export interface Item {
  readonly admitted: Admitted;
  /** What the delta was, for its id and for the refusal. */
  readonly rowId: string;
  readonly hlc: HlcText;
  /** The batch that it came in, and where there. */
  readonly of?: DeltaBatch;
  readonly at?: number;
  /** The delta came by itself: its id is answered, and the id it claims is compared. */
  readonly loose?: { readonly claimed: string; readonly columns: () => Record<string, Scalar> };
}

/** Of a delta as it came, for its id. */
export const columnsOf = ({ of, at, loose }: Item): Record<string, Scalar> =>
  of && at !== undefined ? cellsAt(of, at) : (loose?.columns() ?? {});

export function byTable(config: ShardConfig, input: PushInput): TableWork[] {
  const works = new Map<string, TableWork>();
  const workOf = (name: string): TableWork => {
    const work = works.get(name) ?? { name, table: config.tables.find((t) => t.table === name), items: [] };
    works.set(name, work);
    return work;
  };
  for (const batch of input.batches) {
    const { table, items } = workOf(batch.table);
    const admitted = table
      ? admitBatch(table, batch, input.nowMs)
      : batch.ops.split("").map(() => unknownTable(batch.table));
    for (const [at, one] of admitted.entries())
      items.push({ admitted: one, rowId: batch.rowIds[at] as string, hlc: batch.hlcs[at] as HlcText, of: batch, at });
  }
  for (const delta of input.deltas) {
    const { table, items } = workOf(delta.table);
    const admitted = table ? admitLoose(table, delta, input.nowMs) : unknownTable(delta.table);
    const columns = () => (table && "cells" in admitted ? namedCells(table, admitted.cells) : looseCells(delta));
    items.push({ admitted, rowId: delta.rowId, hlc: delta.hlc, loose: { claimed: delta.deltaId, columns } });
  }
  return [...works.values()];
}

const unknownTable = (name: string): Admitted => ({
  refusal: {
    code: "UnknownTable",
    message: `There is no table ${JSON.stringify(name.slice(0, 80))}; an admin puts its schema at /admin/tables/.`,
  },
});

function namedCells(table: TableSchema, { columns, values }: IdCells): Record<string, Scalar> {
  const named: Record<string, Scalar> = {};
  for (const column of table.columns) {
    const at = columns.indexOf(column.id);
    if (at >= 0) named[column.name] = values[at] as Scalar;
  }
  return named;
}

/** Cells of a delta that was refused, as far as they have a form without their columns' types. */
const looseCells = ({ columns }: LooseDelta): Record<string, Scalar> =>
  Object.fromEntries(columns.flatMap(({ name, value }) => (isAbsent(value) ? [] : [[name, value as Scalar]])));

/** Rows of known tables have to be this shard's; what belongs to no table is refused delta by delta. */
export function ownsAll({ tables, owns }: ShardConfig, { batches, deltas }: PushInput): boolean {
  const known = new Set(tables.map((t) => t.table));
  const slices = new Map(Object.entries(owns));
  const owned = (table: string, rowId: string) => !known.has(table) || ownsRow(slices.get(table), rowId);
  return (
    batches.every(({ table, rowIds }) => {
      const slice = slices.get(table);
      return (slice?.of === 1 && !slice.sealed) || rowIds.every((id) => owned(table, id));
    }) && deltas.every((d) => owned(d.table, d.rowId))
  );
}

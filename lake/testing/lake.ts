/** A lake for a test, and what it holds, as plain objects. */
import type { LakeAdapter, LoadedTable } from "../../core/index.ts";
import { type Scalar, type TableSchema, unwrap } from "../../schemas/index.ts";
import {
  currentSchema,
  currentSnapshot,
  fieldsOf,
  identOf,
  type LakeDeps,
  scanSnapshot,
  type TableKind,
} from "../iceberg/index.ts";
import { MemoryStore } from "../store/index.ts";
import { MemoryCatalogue, type Weather } from "./memory-catalogue.ts";

export interface TestLake {
  readonly deps: LakeDeps & { readonly catalogue: MemoryCatalogue };
  readonly clock: { ms: number };
}

export interface TestLakeOptions {
  readonly store?: LakeAdapter;
  readonly seed?: number;
  readonly weather?: () => Weather;
  readonly fault?: NonNullable<LakeDeps["fault"]>;
}

export function testLake(options: TestLakeOptions = {}): TestLake {
  const clock = { ms: 1_795_000_000_000, now: () => ++clock.ms };
  const store = options.store ?? new MemoryStore({ clock });
  const { weather, fault } = options;
  const catalogue = new MemoryCatalogue({ store, clock, ...(weather ? { weather } : {}) });
  let state = options.seed ?? 1;
  const chance = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  return { clock, deps: { store, catalogue, clock, chance, sleep: async () => {}, ...(fault ? { fault } : {}) } };
}

export type PlainRow = Record<string, Scalar>;

/** Rows that a reader sees now, or at a snapshot, columns by name. */
export async function readTable(
  deps: LakeDeps,
  table: string,
  kind: TableKind,
  snapshotId?: number | bigint,
): Promise<PlainRow[]> {
  const loaded: LoadedTable = unwrap(await deps.catalogue.load(identOf(deps, table, kind)));
  const { metadata } = loaded;
  const snapshot =
    snapshotId === undefined
      ? currentSnapshot(metadata)
      : metadata.snapshots?.find((each) => each["snapshot-id"] === snapshotId);
  const fields = fieldsOf(currentSchema(metadata), kind);
  const rows: PlainRow[] = [];
  for await (const { columns } of scanSnapshot(deps.store, snapshot, { columns: fields }))
    for (let at = 0; at < (columns[0] as readonly Scalar[]).length; at++)
      rows.push(Object.fromEntries(fields.map((field, of) => [field.name, columns[of]?.[at] as Scalar])));
  return rows;
}

export const tableSchema = (columns: TableSchema["columns"], version = 1): TableSchema => ({
  table: "todos",
  version,
  columns,
  lastColumnId: Math.max(...columns.map((column) => column.id)),
  shards: 0,
});

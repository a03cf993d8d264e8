/**
 * What other engines see in the tables that a flush writes: every snapshot, every cell of every type, after inserts,
 * updates, deletes and an added, a renamed and a dropped column, before and after compaction, manifest rewriting and expiry.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  compact,
  expireSnapshots,
  flushToIceberg,
  identOf,
  KINDS,
  type LakeDeps,
  rewriteManifests,
  type TableKind,
} from "../../lake/index.ts";
import { FolderStore, initParquetInNode, type PlainRow, readTable, ShardModel, testLake } from "../../lake/testing.ts";
import { type Column, type Scalar, type TableSchema, unwrap } from "../../schemas/index.ts";
import { inPlainForm, sorted, withoutNulls } from "./plain.ts";
import { ENGINES, runPython } from "./python.ts";

const column = (id: number, name: string, type: Column["type"]): Column => ({ id, name, type, nullable: true });
const schemaOf = (version: number, columns: Column[]): TableSchema => ({
  table: "everything",
  version,
  columns,
  lastColumnId: 8,
  shards: 0,
});
const FIRST = [
  column(1, "text", "string"),
  column(2, "whole", "integer"),
  column(3, "real", "number"),
  column(4, "yes", "boolean"),
  column(5, "moment", "timestamp"),
  column(6, "doc", "json"),
  column(7, "raw", "bytes"),
];

const EXTREMES: Record<string, Scalar>[] = [
  {},
  { text: "", whole: 0, real: 0, yes: false, moment: 0, doc: "null", raw: "" },
  { text: "\uFEFFé 🎬 \u{10FFFF}\uFFFF", whole: "9223372036854775807", real: 1.7976931348623157e308, yes: true },
  { whole: "-9223372036854775808", real: 5e-324, moment: "253402300799999999", doc: '{"a":[1,"é"]}', raw: "AP+AfwE=" },
  { text: "z".repeat(300), whole: 9007199254740991, real: -0.1, moment: -1, raw: "/////w==" },
  { text: "null", moment: "-62135596800000000", doc: '"x"' },
];

const folder = mkdtempSync(join(tmpdir(), "lakesync-lake-"));
afterAll(() => rmSync(folder, { recursive: true }));

/**
 * Newest metadata of each table before columns were renamed or snapshots expired: older snapshots are compared by the
 * names of their time, and found.
 */
type Phase = Partial<Record<TableKind, string>>;
interface Expected {
  readonly phase: Phase;
  readonly kind: TableKind;
  readonly snapshotId: string;
  readonly rows: PlainRow[];
}
let deps: LakeDeps;
const expected: Expected[] = [];
let phase: Phase = {};
const columnsEver: Column[] = [...FIRST];

/** Remembers what our own reader sees in the newest snapshots; the model proves that reader right elsewhere. */
async function remember(): Promise<void> {
  for (const kind of ["main", "changes"] as const) {
    const loaded = unwrap(await deps.catalogue.load(identOf(deps, "everything", kind)));
    phase[kind] = fileURLToPath(loaded.metadataLocation);
    const snapshotId = String(loaded.metadata["current-snapshot-id"]);
    if (!expected.some((each) => each.kind === kind && each.snapshotId === snapshotId))
      expected.push({ phase, kind, snapshotId, rows: await readTable(deps, "everything", kind) });
  }
}

beforeAll(async () => {
  initParquetInNode();
  const lake = testLake({ store: new FolderStore(folder) });
  deps = lake.deps;
  const shards = ["one", "two"].map((name) => new ShardModel(name, schemaOf(1, FIRST)));
  const flush = async () => {
    for (const shard of shards) {
      unwrap(await flushToIceberg(shard.lease(), deps));
      shard.acknowledge(shard.head);
      await remember();
    }
  };
  /** So small that a few rows make files of several row groups, side by side, with deletes resolved and merged. */
  const maintain = async () => {
    const options = { targetRows: 6, minInputs: 2, groupRows: 2, maxDepth: 1, deleteFilesMax: 0 };
    for (const kind of KINDS) {
      const ident = identOf(deps, "everything", kind);
      while (unwrap(await compact(deps, ident, options)).state === "compacted") await remember();
      unwrap(await rewriteManifests(deps, ident));
      await remember();
    }
  };
  const evolve = (version: number, columns: Column[]) => {
    columnsEver.push(...columns);
    for (const shard of shards) shard.table = schemaOf(version, columns);
  };
  for (const shard of shards)
    EXTREMES.forEach((cells, at) => {
      shard.edit({ op: "INSERT", rowId: `${shard.name}/${at}`, cells });
    });
  await flush();
  for (const shard of shards) {
    shard.edit({ op: "UPDATE", rowId: `${shard.name}/1`, cells: { text: "updated", whole: null } });
    shard.edit({ op: "DELETE", rowId: `${shard.name}/2`, cells: {} });
  }
  await flush();
  await maintain();
  evolve(2, [...FIRST, column(8, "added", "string")]);
  for (const shard of shards) {
    shard.edit({ op: "INSERT", rowId: `${shard.name}/2`, cells: { text: "again", added: "new" } });
    shard.edit({ op: "UPDATE", rowId: `${shard.name}/3`, cells: { added: "old row" } });
  }
  await flush();
  await maintain();
  for (const shard of shards)
    for (const at of EXTREMES.keys()) shard.edit({ op: "DELETE", rowId: `${shard.name}/${at}`, cells: {} });
  await flush();
  for (const shard of shards) shard.edit({ op: "INSERT", rowId: "last", cells: { text: "after all" } });
  shards.pop();
  await flush();
  // So many flushes that manifests are merged; the last is compared.
  for (const shard of shards)
    for (let round = 0; round < 60; round++) {
      shard.edit({ op: "UPDATE", rowId: "last", cells: { whole: round } });
      unwrap(await flushToIceberg(shard.lease(), deps));
      shard.acknowledge(shard.head);
    }
  await remember();
  phase = {};
  const renamed = FIRST.map((each) => (each.name === "text" ? { ...each, name: "words" } : each));
  evolve(
    3,
    renamed.filter((each) => each.name !== "real"),
  );
  for (const shard of shards) shard.edit({ op: "INSERT", rowId: "newest", cells: { words: "renamed", whole: 1 } });
  await flush();
  await maintain();
  phase = {};
  for (const kind of KINDS)
    unwrap(await expireSnapshots(deps, identOf(deps, "everything", kind), { olderThanMs: 0, retainLast: 2 }));
  for (const shard of shards) shard.edit({ op: "UPDATE", rowId: "newest", cells: { words: "after expiry" } });
  await flush();
});

describe.each(ENGINES)("$engine", ({ engine, left }) => {
  test.skipIf(left)("[L1] reads every snapshot of rows and history, cell by cell", async () => {
    expect(expected.length).toBeGreaterThan(35);
    const reads = expected.map(({ phase, kind, snapshotId }) => ({ metadata: phase[kind], snapshotId }));
    const seen = await runPython<Record<string, unknown>[][]>("read_all.py", { engine, reads });
    expected.forEach(({ kind, rows, snapshotId }, at) => {
      const ours = rows.map((row) => inPlainForm(row, columnsEver));
      const theirs = (seen[at] ?? []).map(withoutNulls);
      expect(sorted(theirs), `${kind} at ${snapshotId}`).toEqual(sorted(ours));
    });
  });
});

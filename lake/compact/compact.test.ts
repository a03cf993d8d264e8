import { beforeAll, describe, expect, test } from "vitest";
import type { TableMetadata } from "../../core/index.ts";
import { unwrap } from "../../schemas/index.ts";
import {
  currentSnapshot,
  flushToIceberg,
  identOf,
  type LakeDeps,
  liveEntries,
  type TableKind,
  watermarkOf,
} from "../iceberg/index.ts";
import { initParquetInNode } from "../node.ts";
import { readTable, tableSchema, testLake } from "../testing/lake.ts";
import { ShardModel } from "../testing.ts";
import { type CompactOptions, compact } from "./index.ts";

beforeAll(initParquetInNode);

const TODOS = tableSchema([
  { id: 1, name: "title", type: "string", nullable: true },
  { id: 2, name: "votes", type: "integer", nullable: true },
]);
const MAIN = identOf({}, "todos", "main");
/** So small that a few rows make a class of files. */
const SMALL: CompactOptions = { targetRows: 40, minInputs: 3, groupRows: 7, deleteFilesMax: 1 };

/** So many flushes of inserts, updates of older rows and deletes. */
async function flushedLake(flushes: number, ids = (n: number) => `row-${(n * 7919) % 1000}`) {
  const lake = testLake();
  const shard = new ShardModel("s", TODOS);
  for (let flush = 0; flush < flushes; flush++) {
    for (let at = 0; at < 4; at++) {
      const n = flush * 4 + at;
      shard.edit({ op: "INSERT", rowId: ids(n), cells: { title: `t${n}`, votes: n } });
      if (n % 3 === 0) shard.edit({ op: "UPDATE", rowId: ids(Math.floor(n / 2)), cells: { votes: -n } });
      if (n % 7 === 0) shard.edit({ op: "DELETE", rowId: ids(Math.floor(n / 3)), cells: {} });
    }
    unwrap(await flushToIceberg(shard.lease(), lake.deps));
    shard.acknowledge(shard.head);
  }
  return { ...lake, shard };
}

const metadataOf = async (deps: LakeDeps, kind: TableKind): Promise<TableMetadata> =>
  unwrap(await deps.catalogue.load(identOf(deps, "todos", kind))).metadata;

async function rowsOf(deps: LakeDeps, kind: TableKind, snapshotId?: number | bigint) {
  const rows = (await readTable(deps, "todos", kind, snapshotId)).map((row) => JSON.stringify(row));
  return rows.sort();
}

async function compactAll(deps: LakeDeps, kind: TableKind, options: CompactOptions = SMALL): Promise<number> {
  for (let jobs = 0; jobs < 50; jobs++)
    if (unwrap(await compact(deps, identOf(deps, "todos", kind), options)).state === "nothing") return jobs;
  throw new Error("compaction does not end");
}

const live = async (deps: LakeDeps, kind: TableKind, content: "data" | "deletes") =>
  liveEntries(deps.store, currentSnapshot(await metadataOf(deps, kind)), content);

describe.each(["main", "changes"] as const)("%s", (kind) => {
  test("[L3] compaction changes no row at any snapshot, and carries watermarks on", async () => {
    const { deps, shard } = await flushedLake(40);
    const before = await rowsOf(deps, kind);
    const old = (await metadataOf(deps, kind)).snapshots ?? [];
    const seen = await Promise.all(old.map((each) => rowsOf(deps, kind, each["snapshot-id"])));
    expect(await compactAll(deps, kind)).toBeGreaterThan(0);
    expect(await rowsOf(deps, kind)).toEqual(before);
    for (const [at, each] of old.entries()) expect(await rowsOf(deps, kind, each["snapshot-id"])).toEqual(seen[at]);
    const metadata = await metadataOf(deps, kind);
    expect(watermarkOf(metadata, "s")).toBe(shard.head);
    const { summary } = currentSnapshot(metadata) ?? {};
    expect(summary).toMatchObject({ operation: "replace", "lakesync.watermark.s": String(shard.head) });
    const files = await live(deps, kind, "data");
    expect(summary?.["total-data-files"]).toBe(String(files.length));
    expect(summary?.["total-records"]).toBe(String(files.reduce((sum, each) => sum + each.data_file.record_count, 0)));
    expect(files.length).toBeLessThan(14);
  });
});

test("[L3] superseded rows, deletes and their delete files are gone, and statistics are exact", async () => {
  const { deps, shard } = await flushedLake(30);
  await compactAll(deps, "main", { ...SMALL, minInputs: 2, deleteRatio: 0.01 });
  const files = await live(deps, "main", "data");
  const rows = files.reduce((sum, each) => sum + each.data_file.record_count, 0);
  expect(await live(deps, "main", "deletes")).toEqual([]);
  expect(rows).toBe(shard.rowsAt(shard.head).size);
  for (const { data_file: file } of files) {
    expect(file.value_counts?.get(1)).toBe(file.record_count);
    expect(file.split_offsets).toHaveLength(Math.ceil(file.record_count / 7));
  }
});

test("[L3] a table that grows is layers of files side by side, of which a merge touches some", async () => {
  const { deps } = await flushedLake(120);
  await compactAll(deps, "main", { ...SMALL, maxDepth: 2 });
  const ranges = (await live(deps, "main", "data"))
    .filter(({ data_file }) => data_file.record_count >= 20)
    .map(({ data_file: file }) =>
      [file.lower_bounds?.get(1), file.upper_bounds?.get(1)].map((each) =>
        String(each && new TextDecoder().decode(each as Uint8Array)),
      ),
    );
  const depth = (key: string) => ranges.filter(([from, to]) => (from as string) <= key && key <= (to as string)).length;
  expect(ranges.length).toBeGreaterThan(3);
  expect(Math.max(...ranges.map(([from]) => depth(from as string)))).toBeLessThanOrEqual(2);
});

test("[L3] ids that grow leave files side by side, each row rewritten once a size class", async () => {
  const { deps, shard } = await flushedLake(60, (n) => `row-${String(n).padStart(6, "0")}`);
  const before = await rowsOf(deps, "main");
  let written = 0;
  for (let flush = 0; flush < 20; flush++) {
    const done = unwrap(await compact(deps, MAIN, { ...SMALL, deleteRatio: 1.1 }));
    if (done.state === "nothing") break;
    written += done.rows;
  }
  expect(await rowsOf(deps, "main")).toEqual(before);
  expect(written).toBeLessThan(3 * shard.head);
});

test("[L3] files in no order, as another engine may write them, are merged into sorted ones", async () => {
  const { deps } = await flushedLake(9);
  const before = await rowsOf(deps, "changes");
  // Sorted by another column: neither files nor row groups are in the order of `_id`.
  unwrap(await compact(deps, MAIN, { ...SMALL, sortBy: "votes", minInputs: 2 }).then((r) => r));
  await compactAll(deps, "changes", { ...SMALL, sortBy: "_hlc", minInputs: 2 });
  const rows = await rowsOf(deps, "main");
  await compactAll(deps, "main", { ...SMALL, targetRows: 400, minInputs: 1 });
  expect(await rowsOf(deps, "main")).toEqual(rows);
  expect(await rowsOf(deps, "changes")).toEqual(before);
  const ids = (await readTable(deps, "todos", "main")).map((row) => row._id);
  expect(ids).toEqual([...ids].sort());
});

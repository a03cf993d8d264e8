import { beforeAll, expect, test } from "vitest";
import type { Snapshot, SnapshotRef, TableMetadata } from "../../core/index.ts";
import { unwrap } from "../../schemas/index.ts";
import {
  currentSnapshot,
  flushToIceberg,
  identOf,
  keyOf,
  type LakeDeps,
  readManifestList,
  watermarkOf,
} from "../iceberg/index.ts";
import { initParquetInNode } from "../node.ts";
import { readTable, tableSchema, testLake } from "../testing/lake.ts";
import { ShardModel } from "../testing.ts";
import { compact, debtOf, expiredSnapshots, expireSnapshots, removeOrphans, rewriteManifests } from "./index.ts";

beforeAll(initParquetInNode);

const NOW = 1_000_000;
const MAIN = identOf({}, "todos", "main");

/** Snapshots as [id, parent, age]; the current one is what `main` says. */
function metadataOf(
  snapshots: readonly (readonly [number, number | undefined, number])[],
  refs: Record<string, SnapshotRef & Record<string, unknown>>,
): TableMetadata {
  const list = snapshots.map(([id, parent, age]) => ({
    "snapshot-id": id,
    ...(parent === undefined ? {} : { "parent-snapshot-id": parent }),
    "timestamp-ms": NOW - age,
  }));
  return { snapshots: list as unknown as Snapshot[], refs } as unknown as TableMetadata;
}

const branch = (id: number, more: Record<string, unknown> = {}) => ({
  "snapshot-id": id,
  type: "branch" as const,
  ...more,
});
const CHAIN = [
  [1, undefined, 500],
  [2, 1, 400],
  [3, 2, 300],
  [4, 3, 200],
  [5, 4, 100],
] as const;
const idsOf = (snapshots: readonly Snapshot[]) => snapshots.map((each) => each["snapshot-id"]);

test.each([
  ["age", CHAIN, { main: branch(5) }, { olderThanMs: 250, retainLast: 1 }, [1, 2, 3]],
  ["count", CHAIN, { main: branch(5) }, { olderThanMs: 0, retainLast: 2 }, [1, 2, 3]],
  ["the head, always", CHAIN, { main: branch(5) }, { olderThanMs: 0, retainLast: 0 }, [1, 2, 3, 4]],
  [
    "a tag",
    CHAIN,
    { main: branch(5), kept: { "snapshot-id": 2, type: "tag" as const } },
    { olderThanMs: 0, retainLast: 1 },
    [1, 3, 4],
  ],
  [
    "a branch's own settings",
    CHAIN,
    { main: branch(5, { "min-snapshots-to-keep": 3, "max-snapshot-age-ms": 1 }) },
    { olderThanMs: 1e6, retainLast: 1 },
    [1, 2],
  ],
  [
    "another branch",
    [...CHAIN, [6, 2, 50]] as const,
    { main: branch(5), side: branch(6) },
    { olderThanMs: 0, retainLast: 3 },
    [],
  ],
  [
    "what no ref names, while it is young",
    [...CHAIN, [7, 4, 90], [8, 1, 450]] as const,
    { main: branch(5) },
    { olderThanMs: 450.5, retainLast: 1 },
    [1],
  ],
])("[L5] expiry keeps by %s", (_what, snapshots, refs, options, expected) => {
  expect(idsOf(expiredSnapshots(metadataOf(snapshots, refs), options, NOW))).toEqual(expected);
});

async function flushed(flushes: number) {
  const lake = testLake();
  const table = tableSchema([{ id: 1, name: "title", type: "string", nullable: true }]);
  const shard = new ShardModel("s", table);
  const flush = async () => {
    shard.edit({ op: "INSERT", rowId: `row-${shard.head}`, cells: { title: `t${shard.head}` } });
    shard.edit({ op: "UPDATE", rowId: "row-0", cells: { title: `T${shard.head}` } });
    unwrap(await flushToIceberg(shard.lease(), lake.deps));
    shard.acknowledge(shard.head);
  };
  for (let at = 0; at < flushes; at++) await flush();
  const load = async () => unwrap(await lake.deps.catalogue.load(MAIN));
  const keys = async () => {
    const { metadata } = await load();
    return unwrap(await lake.deps.store.list(`${keyOf(lake.deps.store, metadata.location)}/`)).objects.map(
      (each) => each.key,
    );
  };
  return { ...lake, shard, flush, load, keys };
}

const all = { olderThanMs: 0, retainLast: 1 };

test("[L5] files leave a grace period after their snapshots, and readers that began before are served", async () => {
  const { deps, clock, load, keys } = await flushed(6);
  const reader = (await load()).metadata.snapshots?.[2];
  const then = await readTable(deps, "todos", "main", reader?.["snapshot-id"]);
  unwrap(await compact(deps, MAIN, { minInputs: 2 }));
  const before = await keys();
  const first = unwrap(await expireSnapshots(deps, MAIN, { ...all, gracePeriodMs: 5_000 }));
  expect(first).toMatchObject({ expired: 6, deleted: 0 });
  expect(first.marked).toBeGreaterThan(18);
  expect((await load()).metadata.snapshots).toHaveLength(1);
  expect(await keys()).toEqual(expect.arrayContaining(before));
  clock.ms += 3_000;
  expect(unwrap(await expireSnapshots(deps, MAIN, { ...all, gracePeriodMs: 5_000 }))).toEqual({
    expired: 0,
    marked: 0,
    deleted: 0,
  });
  expect(await readTable(deps, "todos", "main")).toHaveLength(then.length + 3);
  clock.ms += 3_000;
  const last = unwrap(await expireSnapshots(deps, MAIN, { ...all, gracePeriodMs: 5_000 }));
  expect(last).toEqual({ expired: 0, marked: 0, deleted: first.marked });
  expect(before.length - (await keys()).filter((key) => before.includes(key)).length).toBe(first.marked);
  expect(await readTable(deps, "todos", "main")).toHaveLength(6);
});

test("[L5] [F1] watermarks and stamps outlive expiry, also after a commit that carries nothing", async () => {
  const { deps, shard, load, flush } = await flushed(3);
  const { metadata } = await load();
  const foreign = {
    ...currentSnapshot(metadata),
    "snapshot-id": 77,
    "parent-snapshot-id": currentSnapshot(metadata)?.["snapshot-id"],
    "sequence-number": 9,
    summary: { operation: "replace" },
  };
  const updates = [
    { action: "add-snapshot", snapshot: foreign },
    { action: "set-snapshot-ref", "ref-name": "main", type: "branch", "snapshot-id": 77 },
  ];
  unwrap(await deps.catalogue.commit(MAIN, [], updates));
  unwrap(await expireSnapshots(deps, MAIN, all));
  expect(watermarkOf((await load()).metadata, "s")).toBe(shard.head);
  unwrap(await rewriteManifests(deps, MAIN));
  expect(currentSnapshot((await load()).metadata)?.summary).toMatchObject({
    operation: "replace",
    "lakesync.watermark.s": "6",
    "lakesync.max-hlc": expect.stringMatching(/^\d{15,}$/),
    "lakesync.to-ms": "1790000000060",
  });
  await flush();
  expect(await readTable(deps, "todos", "main")).toHaveLength(4);
});

test("[L5] orphans go when they are old, a grace period after they were found; what is young or named stays", async () => {
  const { deps, clock, load, keys } = await flushed(2);
  const { location } = (await load()).metadata;
  const put = async (name: string) => {
    const key = keyOf(deps.store, `${location}/data/${name}.parquet`);
    unwrap(await deps.store.put(key, new Uint8Array(1)));
    return key;
  };
  const named = await keys();
  const old = await put("old");
  clock.ms += 50_000;
  const young = await put("young");
  const options = { olderThanMs: 40_000, gracePeriodMs: 1_000 };
  expect(unwrap(await removeOrphans(deps, MAIN, options))).toEqual({ marked: 1, deleted: 0 });
  expect(unwrap(await removeOrphans(deps, MAIN, options))).toEqual({ marked: 0, deleted: 0 });
  clock.ms += 2_000;
  expect(unwrap(await removeOrphans(deps, MAIN, options))).toEqual({ marked: 0, deleted: 1 });
  expect(await keys()).toEqual([...named, young].sort());
  expect(await keys()).not.toContain(old);
});

test("[L5] a file that was marked and is named after all stays", async () => {
  const { deps, clock, load } = await flushed(3);
  const before = await load();
  unwrap(await expireSnapshots(deps, MAIN, { ...all, gracePeriodMs: 1_000 }));
  // Somebody takes the table back to the metadata of before.
  const restored = before.metadata.snapshots?.slice(0, 2).map((snapshot) => ({ action: "add-snapshot", snapshot }));
  const load2 = deps.catalogue.load.bind(deps.catalogue);
  deps.catalogue.load = async () => ({ ok: true, value: before });
  clock.ms += 2_000;
  expect(unwrap(await expireSnapshots(deps, MAIN, { olderThanMs: 1e12, gracePeriodMs: 1_000 }))).toMatchObject({
    deleted: 0,
  });
  for (const { snapshot } of restored ?? [])
    expect(await readTable(deps, "todos", "main", snapshot["snapshot-id"])).not.toEqual([]);
  deps.catalogue.load = load2;
});

test("[L1] many small manifests become few, and the table's rows and debt say so", async () => {
  const { deps, load } = await flushed(9);
  const rows = await readTable(deps, "todos", "main");
  const lists = async (of: LakeDeps) => readManifestList(of.store, currentSnapshot((await load()).metadata));
  expect(await lists(deps)).toHaveLength(17);
  expect(unwrap(await rewriteManifests(deps, MAIN))).toEqual({ before: 17, after: 2 });
  expect(await lists(deps)).toHaveLength(2);
  expect(unwrap(await rewriteManifests(deps, MAIN))).toEqual({ before: 2, after: 2 });
  expect(await readTable(deps, "todos", "main")).toEqual(rows);
  const debt = unwrap(await debtOf(deps, MAIN));
  expect(debt).toMatchObject({
    dataFiles: 9,
    smallFiles: 9,
    rows: 17,
    deleteFiles: 8,
    deletes: 8,
    manifests: 2,
    snapshots: 10,
  });
  unwrap(await compact(deps, MAIN, { minInputs: 2 }));
  expect(unwrap(await debtOf(deps, MAIN))).toMatchObject({
    dataFiles: 1,
    smallFiles: 1,
    rows: 9,
    deleteFiles: 0,
    deletes: 0,
  });
});

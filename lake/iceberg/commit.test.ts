import { beforeAll, expect, test } from "vitest";
import { LakeSyncError, MANIFESTS_MAX, ok, unwrap } from "../../schemas/index.ts";
import { initParquetInNode } from "../node.ts";
import { compactNaively } from "../testing/compact-naively.ts";
import { readTable, type TestLakeOptions, tableSchema, testLake } from "../testing/lake.ts";
import { ShardModel, type Weather } from "../testing.ts";
import { currentSnapshot, flushToIceberg, identOf, liveEntries, readManifestList } from "./index.ts";

beforeAll(initParquetInNode);

const TODOS = tableSchema([{ id: 1, name: "title", type: "string", nullable: true }]);

/** A lake with three flushed rows, one of them edited since; and the keys that were put afterwards. */
async function flushedLake(options: TestLakeOptions = {}) {
  const lake = testLake(options);
  const shard = new ShardModel("s", TODOS);
  for (const rowId of ["a", "b", "c"]) shard.edit({ op: "INSERT", rowId, cells: { title: rowId } });
  unwrap(await flushToIceberg(shard.lease(), lake.deps));
  shard.acknowledge(3);
  shard.edit({ op: "UPDATE", rowId: "b", cells: { title: "B" } });
  shard.edit({ op: "DELETE", rowId: "c", cells: {} });
  const puts: string[] = [];
  const store = lake.deps.store;
  const put = store.put.bind(store);
  store.put = (key, ...rest) => {
    puts.push(key);
    return put(key, ...rest);
  };
  const titles = async () => (await readTable(lake.deps, "todos", "main")).map((row) => row.title).sort();
  return { ...lake, shard, puts, titles };
}

const main = (puts: readonly string[]) => puts.filter((key) => key.startsWith("app/todos/"));

test("[L2] a conflict restages only the manifest list, never data files, delete files or manifests", async () => {
  const weather: Weather[] = ["fine", "fine", "fine", "conflict", "conflict"];
  const { deps, shard, puts, titles } = await flushedLake({ weather: () => weather.shift() ?? "fine" });
  unwrap(await flushToIceberg(shard.lease(), deps));
  expect(weather).toEqual([]);
  const kinds = main(puts).map((key) => /snap-|\.parquet$|-data-|-deletes-/.exec(key.replace("/data/", "/"))?.[0]);
  expect(kinds).toEqual([".parquet", "-deletes-", "-deletes-", "-data-", "snap-", "snap-", "snap-", undefined]);
  expect(await titles()).toEqual(["B", "a"]);
});

test("[L2] a flush that raced with a compaction resolves its positions again", async () => {
  const { deps, shard, titles } = await flushedLake();
  const before = currentSnapshot(unwrap(await deps.catalogue.load(identOf(deps, "todos", "main"))).metadata);
  deps.catalogue.beforeCommit = async () => {
    // The history's commit comes first; the rows' commit is the one to race with.
    deps.catalogue.beforeCommit = () => compactNaively(deps, "todos", "main");
  };
  unwrap(await flushToIceberg(shard.lease(), deps));
  expect(await titles()).toEqual(["B", "a"]);
  const { metadata } = unwrap(await deps.catalogue.load(identOf(deps, "todos", "main")));
  expect(metadata.snapshots?.map((each) => each.summary.operation)).toEqual(["append", "replace", "overwrite"]);
  const live = await liveEntries(deps.store, currentSnapshot(metadata), "data");
  expect(live.some((entry) => entry.snapshot_id === before?.["snapshot-id"])).toBe(false);
});

test.each<Weather>(["landed in silence", "lost in silence"])(
  "[L2] a commit whose outcome is unknown (%s) is looked up: it lands once",
  async (silence) => {
    const weather: Weather[] = [silence, silence, "fine", "fine"];
    const { deps, shard, titles } = await flushedLake({ weather: () => weather.shift() ?? "fine" });
    const batch = shard.lease();
    unwrap(await flushToIceberg(batch, deps));
    expect(await titles()).toEqual(["B", "a"]);
    expect(await readTable(deps, "todos", "changes")).toHaveLength(5);
    expect(unwrap(await flushToIceberg(batch, deps))).toMatchObject({ rows: 0, deltas: 0 });
  },
);

test("[L2] a commit that cannot even be looked up says so, and the next delivery finds it", async () => {
  const { deps, shard, titles } = await flushedLake();
  const { commit, load } = deps.catalogue;
  deps.catalogue.commit = async (...args) => {
    await commit.apply(deps.catalogue, args);
    deps.catalogue.load = async () => ({ ok: false, error: new LakeSyncError("DestinationUnavailable", "down") });
    return ok({ outcome: "unknown", reason: "timeout" });
  };
  const batch = shard.lease();
  expect(await flushToIceberg(batch, deps)).toMatchObject({ ok: false, error: { code: "CommitUnknown" } });
  deps.catalogue.commit = commit;
  deps.catalogue.load = load;
  unwrap(await flushToIceberg(batch, deps));
  expect(await titles()).toEqual(["B", "a"]);
  expect(await readTable(deps, "todos", "changes")).toHaveLength(5);
});

test("[L2] a table that others change all the time ends in CommitConflict, and loses nothing", async () => {
  let stormy = false;
  const { deps, shard, titles } = await flushedLake({ weather: () => (stormy ? "conflict" : "fine") });
  stormy = true;
  expect(await flushToIceberg(shard.lease(), deps)).toMatchObject({ ok: false, error: { code: "CommitConflict" } });
  stormy = false;
  unwrap(await flushToIceberg(shard.lease(), deps));
  expect(await titles()).toEqual(["B", "a"]);
});

test("[F3] a row without a value for a required column is refused with the column's name", async () => {
  const { deps } = testLake();
  const shard = new ShardModel("s", tableSchema([{ id: 1, name: "must", type: "string", nullable: false }]));
  shard.edit({ op: "INSERT", rowId: "a", cells: {} });
  const refused = await flushToIceberg(shard.lease(), deps);
  expect(refused).toMatchObject({ ok: false, error: { code: "DestinationRefused", details: { column: "must" } } });
});

test("[L1] many flushes leave few manifests, and the files in them keep their sequence numbers", async () => {
  const { deps } = testLake();
  const shard = new ShardModel("s", TODOS);
  const load = async () => unwrap(await deps.catalogue.load(identOf(deps, "todos", "main"))).metadata;
  for (let round = 1; round <= 120; round++) {
    shard.edit({ op: "INSERT", rowId: `row-${round}`, cells: { title: `t${round}` } });
    shard.edit({ op: "UPDATE", rowId: `row-${Math.ceil(round / 2)}`, cells: { title: `T${round}` } });
    unwrap(await flushToIceberg(shard.lease(), deps));
    shard.acknowledge(shard.head);
    if (round !== 60) continue;
    const snapshot = currentSnapshot(await load());
    const [merged] = await readManifestList(deps.store, snapshot);
    expect(merged).toMatchObject({
      existing_files_count: 51,
      added_files_count: 0,
      min_sequence_number: 1,
      sequence_number: 52,
    });
    const sequences = (await liveEntries(deps.store, snapshot, "data")).map((entry) => Number(entry.sequence_number));
    expect(sequences.sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, at) => at + 1));
  }
  const metadata = await load();
  const manifests = await readManifestList(deps.store, currentSnapshot(metadata));
  expect(manifests.length).toBeLessThanOrEqual(2 * (MANIFESTS_MAX + 1));
  const rows = await readTable(deps, "todos", "main");
  const titles = Object.fromEntries(rows.map((row) => [row._id, row.title]));
  expect(titles).toEqual(
    Object.fromEntries([...shard.rowsAt(shard.head).values()].map((row) => [row.rowId, row.cells.title])),
  );
  expect(currentSnapshot(metadata)?.summary["total-data-files"]).toBe("120");
});

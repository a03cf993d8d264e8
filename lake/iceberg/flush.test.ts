import { beforeAll, expect, test } from "vitest";
import { hlcToBigInt, unwrap } from "../../schemas/index.ts";
import { initParquetInNode } from "../node.ts";
import { readTable, tableSchema, testLake } from "../testing/lake.ts";
import { ShardModel } from "../testing.ts";
import { currentSnapshot, flushToIceberg, identOf, watermarkOf } from "./index.ts";

beforeAll(initParquetInNode);

const TODOS = tableSchema([
  { id: 1, name: "title", type: "string", nullable: true },
  { id: 2, name: "done", type: "boolean", nullable: true },
]);

const byId = (rows: Record<string, unknown>[]): Record<string, Record<string, unknown>> =>
  Object.fromEntries(rows.map((row) => [row._id, row]));

test("[F1] inserts, updates, deletes and re-inserts arrive once, in rows and in history", async () => {
  const { deps } = testLake();
  const shard = new ShardModel("todos-0", TODOS);
  for (const rowId of ["a", "b", "c", "d"])
    shard.edit({ op: "INSERT", rowId, cells: { title: `t-${rowId}`, done: false } });
  expect(unwrap(await flushToIceberg(shard.lease(), deps))).toEqual({ watermark: 4, rows: 4, deltas: 4 });
  shard.acknowledge(4);
  shard.edit({ op: "UPDATE", rowId: "b", cells: { done: true } });
  shard.edit({ op: "DELETE", rowId: "c", cells: {} });
  shard.edit({ op: "INSERT", rowId: "e", cells: { title: "brief" } });
  shard.edit({ op: "DELETE", rowId: "e", cells: {} });
  expect(unwrap(await flushToIceberg(shard.lease(), deps))).toEqual({ watermark: 8, rows: 2, deltas: 4 });
  shard.acknowledge(8);
  shard.edit({ op: "INSERT", rowId: "c", cells: { title: "again" } });
  shard.edit({ op: "UPDATE", rowId: "b", cells: { title: null } });
  unwrap(await flushToIceberg(shard.lease(), deps));

  const rows = byId(await readTable(deps, "todos", "main"));
  expect(Object.keys(rows).sort()).toEqual(["a", "b", "c", "d"]);
  expect(rows.b).toMatchObject({ title: null, done: true, _seq: 10 });
  expect(rows.c).toMatchObject({ title: "again", done: null, _seq: 9 });
  const history = await readTable(deps, "todos", "changes");
  expect(history.map((row) => row._seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(history[4]).toMatchObject({ _op: "UPDATE", _id: "b", _columns: "2", title: null, done: true });
  expect(history[9]).toMatchObject({ _op: "UPDATE", _columns: "1", title: null, _shard: "todos-0" });
  expect(history[5]).toMatchObject({ _op: "DELETE", _columns: "" });
  const first = shard.log[0];
  expect(history[0]).toMatchObject({
    _hlc: hlcToBigInt(first?.hlc as never).toString(),
    _client_id: first?.client,
    _received: (first?.receivedMs ?? 0) * 1000,
  });
});

test("[F1] a flush that comes again writes nothing and commits nothing", async () => {
  const { deps } = testLake();
  const shard = new ShardModel("s", TODOS);
  shard.edit({ op: "INSERT", rowId: "a", cells: { title: "x" } });
  const batch = shard.lease();
  unwrap(await flushToIceberg(batch, deps));
  const commits = deps.catalogue.commits;
  expect(unwrap(await flushToIceberg(batch, deps))).toEqual({ watermark: 1, rows: 0, deltas: 0 });
  expect(deps.catalogue.commits).toBe(commits);
});

test("[F1] a flush that comes again and has grown adds only what is new", async () => {
  const { deps } = testLake();
  const shard = new ShardModel("s", TODOS);
  for (const rowId of ["a", "b", "c"]) shard.edit({ op: "INSERT", rowId, cells: { title: rowId } });
  unwrap(await flushToIceberg(shard.lease(), deps)); // landed, the acknowledgement was lost
  shard.edit({ op: "UPDATE", rowId: "a", cells: { title: "A" } });
  shard.edit({ op: "DELETE", rowId: "b", cells: {} });
  unwrap(await flushToIceberg(shard.lease(), deps));
  const rows = byId(await readTable(deps, "todos", "main"));
  expect(Object.values(rows).map((row) => row.title)).toEqual(expect.arrayContaining(["A", "c"]));
  expect(await readTable(deps, "todos", "main")).toHaveLength(2);
  expect(await readTable(deps, "todos", "changes")).toHaveLength(5);
});

test("[F1] watermarks of every shard are carried forward in each commit", async () => {
  const { deps } = testLake();
  const shards = ["one", "two"].map((name) => new ShardModel(name, TODOS));
  for (const shard of [...shards, ...shards]) {
    shard.edit({ op: "INSERT", rowId: `${shard.name}-${shard.head}`, cells: {} });
    unwrap(await flushToIceberg(shard.lease(), deps));
    shard.acknowledge(shard.head);
  }
  for (const kind of ["main", "changes"] as const) {
    const { metadata } = unwrap(await deps.catalogue.load(identOf(deps, "todos", kind)));
    const summaries = metadata.snapshots?.map((each) => each.summary) ?? [];
    expect(summaries.map((each) => each["lakesync.watermark.one"])).toEqual(["1", "1", "2", "2"]);
    expect(summaries.map((each) => each["lakesync.watermark.two"])).toEqual([undefined, "1", "1", "2"]);
    expect(watermarkOf(metadata, "one")).toBe(2);
    expect(currentSnapshot(metadata)?.summary).toMatchObject({
      "total-records": "4",
      "total-data-files": "4",
      "lakesync.max-hlc": hlcToBigInt(shards[1]?.log[1]?.hlc as never).toString(),
      "lakesync.to-ms": "1790000000020",
    });
  }
});

test("[F1] the watermark outlives an engine's commit that does not carry it", async () => {
  const { deps } = testLake();
  const shard = new ShardModel("s", TODOS);
  shard.edit({ op: "INSERT", rowId: "a", cells: {} });
  const batch = shard.lease();
  unwrap(await flushToIceberg(batch, deps));
  const ident = identOf(deps, "todos", "main");
  const { metadata } = unwrap(await deps.catalogue.load(ident));
  const parent = currentSnapshot(metadata);
  const foreign = {
    ...parent,
    "snapshot-id": 77,
    "parent-snapshot-id": parent?.["snapshot-id"],
    "sequence-number": 2,
    summary: { operation: "replace" },
  };
  unwrap(
    await deps.catalogue.commit(
      ident,
      [],
      [
        { action: "add-snapshot", snapshot: foreign },
        { action: "set-snapshot-ref", "ref-name": "main", type: "branch", "snapshot-id": 77 },
        { action: "remove-snapshots", "snapshot-ids": [parent?.["snapshot-id"]] },
      ],
    ),
  );
  expect(unwrap(await flushToIceberg(batch, deps))).toEqual({ watermark: 1, rows: 0, deltas: 0 });
});

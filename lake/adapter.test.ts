import { beforeAll, expect, test } from "vitest";
import { type Column, deltasOf, type Seq, unwrap } from "../schemas/index.ts";
import { IcebergAdapter, identOf } from "./index.ts";
import { tableSchema, testLake } from "./testing/lake.ts";
import { initParquetInNode, ShardModel } from "./testing.ts";

beforeAll(initParquetInNode);

const COLUMNS: Column[] = [
  { id: 1, name: "title", type: "string", nullable: true },
  { id: 2, name: "votes", type: "integer", nullable: true },
];

async function adapterWithRows() {
  const { deps } = testLake();
  const adapter = new IcebergAdapter(deps);
  const shards = ["one", "two"].map((name) => new ShardModel(name, tableSchema(COLUMNS)));
  for (let round = 0; round < 3; round++)
    for (const shard of shards) {
      for (let at = 0; at < 10; at++) {
        const rowId = `${shard.name}-${String(round * 10 + at).padStart(2, "0")}`;
        shard.edit({ op: "INSERT", rowId, cells: { title: rowId, votes: at } });
      }
      if (round > 0) {
        shard.edit({ op: "UPDATE", rowId: `${shard.name}-00`, cells: { title: null } });
        shard.edit({ op: "DELETE", rowId: `${shard.name}-0${round}`, cells: {} });
      }
      unwrap(await adapter.insertDeltas(shard.lease()));
      shard.acknowledge(shard.head);
    }
  return { deps, adapter, shards, table: tableSchema(COLUMNS) };
}

test("[L1] the latest state comes back row by row in order of id, whatever the page's size", async () => {
  const { adapter, shards, table } = await adapterWithRows();
  const expected = shards.flatMap((shard) => [...shard.rowsAt(shard.head).values()]);
  for (const limit of [1, 7, 1000]) {
    const seen: unknown[] = [];
    let after: string | undefined;
    for (;;) {
      const page = unwrap(await adapter.getLatestState({ table, limit, ...(after === undefined ? {} : { after }) }));
      page.rowIds.forEach((rowId, at) => {
        const cells = Object.fromEntries(page.columns.map(({ name, values }) => [name, values[at]]));
        seen.push({ rowId, seq: page.seqs[at], hlc: page.stamps[at], cells });
      });
      if (page.rowIds.length < limit) break;
      after = page.rowIds.at(-1);
    }
    expect(seen).toEqual(expected);
  }
});

test("the history of a shard comes back edit by edit, NULLs told from columns that were not named", async () => {
  const { adapter, shards, table } = await adapterWithRows();
  const [shard] = shards as [ShardModel];
  for (const limit of [5, 1000]) {
    const seen: unknown[] = [];
    for (let afterSeq = 0 as Seq; ; ) {
      const page = unwrap(await adapter.queryDeltasSince({ table, shard: "one", afterSeq, limit }));
      [...deltasOf(page.batch)].forEach(({ op, rowId, hlc, clientId, columns }, at) => {
        seen.push({
          op,
          rowId,
          hlc,
          client: clientId,
          cells: columns,
          seq: page.seqs[at],
          receivedMs: page.receivedMs[at],
        });
      });
      if (page.seqs.length < limit) break;
      afterSeq = page.seqs.at(-1) as Seq;
    }
    expect(seen).toEqual(shard.log);
  }
});

test("[L4] a renamed column keeps its values, an added one is null, a dropped one is gone, in old and new files", async () => {
  const { adapter, shards } = await adapterWithRows();
  const [shard] = shards as [ShardModel];
  const table = tableSchema(
    [
      { id: 1, name: "headline", type: "string", nullable: true },
      { id: 3, name: "votes", type: "boolean", nullable: true },
    ],
    2,
  );
  unwrap(await adapter.ensureSchema(table));
  shard.table = table;
  shard.edit({ op: "INSERT", rowId: "one-99", cells: { headline: "new", votes: true } });
  unwrap(await adapter.insertDeltas(shard.lease()));
  const page = unwrap(await adapter.getLatestState({ table, limit: 1000 }));
  const cell = (rowId: string, column: number) => page.columns[column]?.values[page.rowIds.indexOf(rowId)];
  expect(page.columns.map((column) => column.name)).toEqual(["headline", "votes"]);
  expect([cell("one-05", 0), cell("one-05", 1)]).toEqual(["one-05", null]);
  expect([cell("one-99", 0), cell("one-99", 1)]).toEqual(["new", true]);
});

test("[L4] an older schema that comes late takes nothing away", async () => {
  const { deps } = testLake();
  const adapter = new IcebergAdapter(deps);
  unwrap(await adapter.ensureSchema(tableSchema(COLUMNS, 5)));
  unwrap(await adapter.ensureSchema(tableSchema(COLUMNS.slice(0, 1), 4)));
  const { metadata } = unwrap(await deps.catalogue.load(identOf(deps, "todos", "main")));
  expect(metadata.schemas).toHaveLength(1);
});

test("[L4] a column whose type changed is refused with its name", async () => {
  const { deps } = testLake();
  const adapter = new IcebergAdapter(deps);
  unwrap(await adapter.ensureSchema(tableSchema(COLUMNS)));
  const changed = tableSchema([{ id: 1, name: "title", type: "integer", nullable: true }], 2);
  expect(await adapter.ensureSchema(changed)).toMatchObject({
    ok: false,
    error: { code: "Conflict", details: { column: "title" } },
  });
});

test("a table that the lake does not have is empty", async () => {
  const adapter = new IcebergAdapter(testLake().deps);
  const table = tableSchema(COLUMNS);
  expect(unwrap(await adapter.getLatestState({ table, limit: 10 })).rowIds).toEqual([]);
  expect(unwrap(await adapter.queryDeltasSince({ table, shard: "s", afterSeq: 0 as Seq, limit: 10 })).seqs).toEqual([]);
  await adapter.close();
});

test("rows are asked for by id, and each shard's progress is told", async () => {
  const { adapter, shards, table } = await adapterWithRows();
  const ids = ["two-05", "one-00", "one-01", "nobody", "one-25"];
  const query = { table, limit: 10, ids };
  expect(unwrap(await adapter.getLatestState(query)).rowIds).toEqual(["one-00", "one-25", "two-05"]);
  expect(unwrap(await adapter.getLatestState({ ...query, after: "one-00", limit: 1 })).rowIds).toEqual(["one-25"]);
  expect(unwrap(await adapter.getLatestState({ ...query, ids: ["aaa", "zzz"] })).rowIds).toEqual([]);
  const expected = shards.map(({ name, head }) => ({ shard: name, watermark: head }));
  expect(unwrap(await adapter.progress(table))).toEqual(expected);
  expect(unwrap(await adapter.progress({ ...table, table: "unknown" }))).toEqual([]);
});

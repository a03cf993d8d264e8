/** Maintenance through the Worker's own doors: flushes that add up, Cron, an operator; over real queues and R2. */
import { createScheduledController, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import {
  currentSchema,
  currentSnapshot,
  fieldsOf,
  identOf,
  type KindReport,
  liveEntries,
  scanSnapshot,
} from "../lake/index.ts";
import { MAINTENANCE_FLUSHES, unwrap } from "../schemas/index.ts";
import { lakeOf } from "./destination.ts";
import worker from "./index.ts";
import { ALL, bindings, insert, type Json, type TestGateway, todos } from "./testing/gateway.ts";

/** What the lake holds of `todos`, and in how many files. */
async function lakeRows(gateway: TestGateway): Promise<{ ids: string[]; files: number; deletes: number }> {
  const deps = lakeOf(bindings, gateway.id);
  const { metadata } = unwrap(await deps.catalogue.load(identOf(deps, "todos", "main")));
  const snapshot = currentSnapshot(metadata);
  const ids: string[] = [];
  const [id] = fieldsOf(currentSchema(metadata), "main");
  for await (const { columns } of scanSnapshot(deps.store, snapshot, { columns: id ? [id] : [] }))
    ids.push(...(columns[0] as string[]));
  const count = async (content: "data" | "deletes") => (await liveEntries(deps.store, snapshot, content)).length;
  return { ids: ids.sort(), files: await count("data"), deletes: await count("deletes") };
}

/** Flushes of two new rows each and of one that changes every time. @returns the ids of all rows */
async function flush(gateway: TestGateway, count: number, from = 0): Promise<string[]> {
  const admin = await gateway.admin();
  const ids = (to: number) => Array.from({ length: to * 2 }, (_, at) => `row-${String(at).padStart(3, "0")}`);
  for (let at = from; at < from + count; at++) {
    const rows = [...ids(at + 1).slice(-2), "row-000"].map((id) => insert(id, "alice"));
    expect((await gateway.push("alice", "phone", rows)).status).toBe(200);
    const flushed = await gateway.request(admin, "POST", "/admin/flush");
    expect(flushed.body.shards).toMatchObject([{ state: "flushed" }]);
  }
  return ids(from + count);
}

type Maintained = Json & { report: Record<"main" | "changes", KindReport> };

/** Messages take a second to arrive, and a run its time. */
async function maintained(gateway: TestGateway, when = (_: Maintained) => true): Promise<Maintained> {
  for (let looks = 0; looks < 300; looks++) {
    const [table] = (await gateway.status()).lake.tables as Maintained[];
    if (table?.report && when(table)) return table;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error("no run has ended");
}

test("[L3] a table that was flushed often enough is compacted by itself, and its rows are the same", async () => {
  const gateway = await todos(ALL);
  const ids = await flush(gateway, MAINTENANCE_FLUSHES);
  const table = await maintained(gateway);
  expect(table).toMatchObject({ table: "todos", flushes: 0, running: false, report: { ok: true, more: false } });
  expect(table.report?.main).toMatchObject({ jobs: 1, rows: ids.length, filesOut: 1 });
  expect(table.report?.main.debt).toMatchObject({ dataFiles: 1, deleteFiles: 0, rows: ids.length });
  expect(table.report?.changes.debt.dataFiles).toBe(1);
  expect(await lakeRows(gateway)).toEqual({ ids, files: 1, deletes: 0 });
  // The next flush finds its old versions in the compacted file.
  await flush(gateway, 1);
  expect(await lakeRows(gateway)).toEqual({ ids, files: 2, deletes: 1 });
});

test("[L3] Cron finds tables that few flushes left waiting, of every gateway, and each in its turn", async () => {
  const gateways = [await todos(ALL), await todos(ALL)];
  const ids = await flush(gateways[0] as TestGateway, 3);
  await flush(gateways[1] as TestGateway, 1);
  await worker.scheduled(createScheduledController(), bindings, {} as ExecutionContext);
  for (const gateway of gateways) {
    const table = await maintained(gateway);
    expect(table).toMatchObject({ flushes: 0, report: { ok: true } });
    expect(table.lastExpiryMs).toBeGreaterThan(0);
  }
  expect((await lakeRows(gateways[0] as TestGateway)).ids).toEqual(ids);
  // Their turn comes again after a while, and only then.
  const [first] = gateways as [TestGateway];
  const { lastMs } = await maintained(first);
  await worker.scheduled(createScheduledController(), bindings, {} as ExecutionContext);
  await runInDurableObject(first.tenant, (_, { storage }) => storage.sql.exec("UPDATE maintenance SET expired_ms = 0"));
  await runInDurableObject(bindings.TENANT.getByName("~gateways"), (_, { storage }) =>
    storage.sql.exec("UPDATE gateways SET next_ms = 0 WHERE gateway = ?", first.id),
  );
  await worker.scheduled(createScheduledController(), bindings, {} as ExecutionContext);
  await maintained(first, (table) => table.lastMs !== lastMs);
});

test("[L3] an operator compacts now, and is told what was done; a run that goes on is not doubled", async () => {
  const gateway = await todos(ALL);
  await flush(gateway, 3);
  const admin = await gateway.admin();
  const compact = async () => (await gateway.request(admin, "POST", "/admin/compact")).body.tables;
  expect(await compact()).toMatchObject([{ table: "todos", ok: true, main: { debt: { dataFiles: 3, rows: 8 } } }]);
  const ids = await flush(gateway, 5, 3);
  expect(await compact()).toMatchObject([{ table: "todos", ok: true, main: { jobs: 1, debt: { dataFiles: 1 } } }]);
  await runInDurableObject(gateway.tenant, (_, { storage }) =>
    storage.sql.exec("UPDATE maintenance SET until_ms = ?", Date.now() + 60_000),
  );
  expect(await compact()).toEqual([{ table: "todos", busy: true }]);
  expect((await lakeRows(gateway)).ids).toEqual(ids);
});

test("[S1] maintenance of one gateway leaves the files of another alone", async () => {
  const [mine, other] = [await todos(ALL), await todos(ALL)];
  await flush(other, 3);
  const before = await bindings.LAKE.list({ prefix: `${other.id}/` });
  await flush(mine, MAINTENANCE_FLUSHES);
  await maintained(mine);
  const after = await bindings.LAKE.list({ prefix: `${other.id}/` });
  expect(after.objects.map((object) => [object.key, object.etag])).toEqual(
    before.objects.map((object) => [object.key, object.etag]),
  );
  expect(before.objects.length).toBeGreaterThan(10);
});

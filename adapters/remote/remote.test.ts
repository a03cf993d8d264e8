/** A destination in another process is like any: the contract, with a host and JSON between; and what only then can go wrong. */
import { expect, test } from "vitest";
import type { DatabaseAdapter, FlushBatch } from "../../core/index.ts";
import { databaseAdapterContract, FlushScript, NOW, NodeSqlStore, tableOf } from "../../core/testing.ts";
import { attempt, err, LakeSyncError, unwrap } from "../../schemas/index.ts";
import { AdapterHost, catchUp, FanOutAdapter, LifecycleAdapter, migrateToTier, RemoteAdapter } from "../index.ts";
import { lakeLike, readAll, rowsOfScript, SqliteAdapter } from "../testing.ts";

const TABLE = tableOf("items", { title: "string" });
const database = () => new SqliteAdapter(new NodeSqlStore());

/** As over a wire. @param silenceMs how long the host waits for a page */
function remoteOf(adapter: DatabaseAdapter, silenceMs?: number, gatewayId = "demo"): RemoteAdapter {
  const host = new AdapterHost({ adapter, gatewayId: "demo", ...(silenceMs !== undefined && { silenceMs }) });
  const send = async (message: object) =>
    JSON.parse(JSON.stringify(await host.answer(JSON.parse(JSON.stringify(message)))));
  return new RemoteAdapter({ gatewayId, send });
}

databaseAdapterContract("an adapter in another process", () => {
  const store = new NodeSqlStore();
  return { open: () => remoteOf(new SqliteAdapter(store)) };
});

test("secondaries catch up, and rows change their tier, within an adapter in another process", async () => {
  const [main, cold, copy] = [database(), database(), database()];
  const tiers = new LifecycleAdapter({ hot: { adapter: main, maxAgeMs: 60_000 }, cold: { adapter: lakeLike(cold) } });
  const remote = remoteOf(new FanOutAdapter({ primary: tiers, secondaries: [copy] }));
  const script = new FlushScript(TABLE).edit("INSERT", "a", { title: "one" }).edit("INSERT", "b", { title: "two" });
  unwrap(await remote.ensureSchema(TABLE));
  unwrap(await remote.insertDeltas(script.batch()));
  expect(await readAll(copy, TABLE)).toEqual({});
  expect(await catchUp(remote, { tables: [TABLE] })).toEqual([{ secondary: 0, table: "items", edits: 2 }]);
  expect(await readAll(copy, TABLE)).toEqual(rowsOfScript(script));
  const moves = unwrap(await migrateToTier(remote, { tables: [TABLE], nowMs: NOW + 3_600_000 }));
  expect(moves).toEqual([{ table: "items", moved: 2, kept: 0 }]);
  expect(await readAll(main, TABLE)).toEqual({});
  expect(await readAll(remote, TABLE)).toEqual(rowsOfScript(script));
  copy.ensureSchema = async () => err(new LakeSyncError("DestinationUnavailable", "It is away.", { since: 1 }));
  unwrap(await remote.insertDeltas(script.edit("INSERT", "c", { title: "three" }).batch(2)));
  const [report] = await catchUp(remote, { tables: [TABLE] });
  expect(report?.error).toMatchObject({
    code: "DestinationUnavailable",
    message: "It is away.",
    details: { since: 1 },
  });
});

test("[S1] another gateway is refused: in one adapter's tables tenants would meet", async () => {
  const adapter = database();
  const stranger = remoteOf(adapter, undefined, "other");
  const refused = { ok: false, error: { code: "DestinationUnavailable", details: { needs: "operator" } } };
  expect(await stranger.ensureSchema(TABLE)).toMatchObject(refused);
  const script = new FlushScript(TABLE).edit("INSERT", "a", { title: "one" });
  expect(await stranger.insertDeltas(script.batch())).toMatchObject(refused);
  expect(await stranger.progress(TABLE)).toMatchObject(refused);
});

test("what goes wrong on either side is told on the other, as it was", async () => {
  const script = new FlushScript(TABLE).edit("INSERT", "a", { title: "one" });
  const lost: FlushBatch = {
    ...script.batch(),
    // biome-ignore lint/correctness/useYield: it breaks before the first page
    async *history() {
      throw new LakeSyncError("LeaseLost", "Somebody else flushes.", { shard: "common" });
    },
  };
  const remote = remoteOf(database());
  unwrap(await remote.ensureSchema(TABLE));
  expect(await remote.insertDeltas(lost)).toMatchObject({
    ok: false,
    error: { code: "LeaseLost", message: "Somebody else flushes.", details: { shard: "common" } },
  });
  const broken = database();
  broken.insertDeltas = async () => {
    throw new TypeError("undefined is not a function");
  };
  await expect(remoteOf(broken).insertDeltas(script.batch())).rejects.toThrow("undefined is not a function");
  unwrap(await remote.insertDeltas(script.batch()));
  expect(await readAll(remote, TABLE)).toEqual(rowsOfScript(script));
});

test("[F1] a flush whose gateway died is given up, so that nothing waits for it; it lands when it comes again", async () => {
  const adapter = database();
  let ended: unknown;
  const watched = Object.assign(Object.create(adapter) as DatabaseAdapter, {
    ensureSchema: adapter.ensureSchema.bind(adapter),
    insertDeltas: async (batch: FlushBatch) => {
      const answer = await attempt(async () => unwrap(await adapter.insertDeltas(batch)));
      ended = answer;
      return answer;
    },
  });
  const host = new AdapterHost({ adapter: watched, gatewayId: "demo", silenceMs: 20 });
  const remote = new RemoteAdapter({ gatewayId: "demo", send: (message) => host.answer(message) });
  unwrap(await remote.ensureSchema(TABLE));
  const script = new FlushScript(TABLE).edit("INSERT", "a", { title: "one" });
  const { rows: _, history: __, ...argument } = script.batch();
  const reply = await host.answer({ gatewayId: "demo", call: "insertDeltas", argument });
  if (!("want" in reply)) throw new Error("no page was asked for");
  while (ended === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(ended).toMatchObject({ ok: false, error: { code: "DestinationUnavailable" } });
  // Late, it is told so.
  expect(await host.answer({ session: reply.session, reader: reply.want.reader, page: null })).toMatchObject({
    result: { error: { code: "DestinationUnavailable", message: expect.stringContaining("silent") } },
  });
  const again = remoteOf(adapter);
  unwrap(await again.insertDeltas(script.batch()));
  expect(await readAll(adapter, TABLE)).toEqual(rowsOfScript(script));
});

/** A shard whose Durable Object lost its storage, through the Worker's own doors. */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { ALL, Device, delta, insert, type TestGateway, TODOS, todos } from "./testing/gateway.ts";

/** Everything that the object had on disk is gone, and it starts anew. */
async function lose(gateway: TestGateway, shard: string): Promise<void> {
  const stub = gateway.shard(shard);
  await runInDurableObject(stub, async (_, ctx) => {
    await ctx.storage.deleteAll();
    ctx.abort("the machine is gone");
  }).catch(() => undefined);
}

const admin = async (gateway: TestGateway, path: string, body: object = {}) =>
  gateway.request(await gateway.admin(), "POST", `/admin/${path}`, body);

async function filled(more = {}): Promise<TestGateway> {
  const gateway = await todos(ALL, more);
  const rows = Array.from({ length: 60 }, (_, n) => insert(`r${n}`, "alice", { priority: n }));
  expect((await gateway.push("alice", "phone", rows)).body.rejected).toEqual([]);
  await gateway.push("alice", "phone", [delta("UPDATE", "r1", { title: "changed" }), delta("DELETE", "r2")]);
  return gateway;
}

const digests = async (gateway: TestGateway) => (await gateway.pull("alice")).body.digests;

test("[L7] a shard that lost its storage answers nobody, is rebuilt from checkpoint and history, and devices start over", async () => {
  const gateway = await filled();
  expect((await admin(gateway, "checkpoint")).status).toBe(200);
  await gateway.push("alice", "phone", [
    delta("UPDATE", "r3", { title: "after the checkpoint" }),
    delta("DELETE", "r4"),
  ]);
  await admin(gateway, "flush");
  const device = new Device(gateway, "alice");
  await device.pull();
  const before = await digests(gateway);
  const held = device.content;
  // Acknowledged, and not flushed: this is what is lost.
  await gateway.push("alice", "phone", [delta("UPDATE", "r5", { title: "lost" })]);
  await lose(gateway, "common");
  // No device is told that everything is gone.
  const refused = await gateway.pull("alice", device.cursor);
  expect([refused.status, refused.body.error.code]).toEqual([503, "Unavailable"]);
  expect((await gateway.push("alice", "phone", [insert("new", "alice")])).status).toBe(503);
  expect((await gateway.status()).shards).toMatchObject([{ shard: "common", head: 0, rebuild: { lost: true } }]);
  const { status, body } = await admin(gateway, "rebuild", { shard: "common" });
  expect([status, body.shards]).toMatchObject([
    200,
    [{ shard: "common", state: "rebuilt", rows: 60, edits: 2, verified: ["todos"] }],
  ]);
  expect(body.shards[0].checkpoint).toBeGreaterThan(0);
  expect(await digests(gateway)).toEqual(before);
  expect((await gateway.pull("alice", device.cursor)).body.error.code).toBe("CursorExpired");
  const fresh = new Device(gateway, "alice");
  await fresh.pull();
  expect(fresh.content).toEqual(held);
  // It goes on, and lake and shard are one.
  await gateway.push("alice", "phone", [insert("new", "alice"), delta("UPDATE", "r3", { title: "on" })]);
  await admin(gateway, "flush");
  expect((await admin(gateway, "verify")).body).toMatchObject({
    ok: true,
    tables: [{ lake: { ok: true, current: true } }],
  });
  expect((await gateway.status()).shards[0].rebuild).toBeUndefined();
  // A checkpoint from before is not offered; a new one is made.
  expect((await gateway.request(await gateway.admin(), "GET", "/checkpoint")).body.cursor).toBe("");
  expect((await admin(gateway, "checkpoint")).body.shards).toMatchObject([{ ok: true, state: "written" }]);
});

test("[L7] the shards of a table that was split are rebuilt each, from the history of those that had the rows before", async () => {
  const gateway = await filled();
  await admin(gateway, "flush");
  expect((await gateway.putTable("todos", TODOS, { shards: 2 })).status).toBe(200);
  for (let round = 0; (await gateway.status()).move && round < 20; round++) {
    await admin(gateway, "flush");
    await runDurableObjectAlarm(gateway.tenant);
  }
  await gateway.push("alice", "phone", [delta("UPDATE", "r9", { title: "in its new place" }), delta("DELETE", "r10")]);
  await admin(gateway, "flush");
  const before = await digests(gateway);
  const { map } = await gateway.status();
  for (const shard of map.tables.todos) await lose(gateway, shard);
  const { status, body } = await admin(gateway, "rebuild", { table: "todos" });
  expect(status).toBe(200);
  expect(body.shards).toMatchObject([{ state: "rebuilt" }, { state: "rebuilt" }]);
  expect(await digests(gateway)).toEqual(before);
});

test("[L7] a shard that is not empty is rebuilt only by force; who asks has to be an admin and to name one", async () => {
  const gateway = await filled();
  await admin(gateway, "flush");
  const before = await digests(gateway);
  const refused = await admin(gateway, "rebuild", { shard: "common" });
  expect([refused.status, refused.body.error.code]).toEqual([409, "Conflict"]);
  for (const body of [{}, { shard: "nowhere" }, { shard: "common", table: "todos" }, { table: "nothing" }])
    expect((await admin(gateway, "rebuild", body)).status).toBe(404);
  const user = await gateway.token("alice");
  expect((await gateway.request(user, "POST", "/admin/rebuild", { shard: "common" })).status).toBe(403);
  await gateway.push("alice", "phone", [delta("UPDATE", "r5", { title: "dropped" })]);
  expect((await admin(gateway, "rebuild", { shard: "common", force: true })).body.shards).toMatchObject([
    { state: "rebuilt", checkpoint: 0, verified: ["todos"] },
  ]);
  expect(await digests(gateway)).toEqual(before);
});

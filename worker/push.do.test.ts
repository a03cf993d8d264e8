/** What a push promises beyond its deltas: whose client ids are, full logs, repeated and scattered batches. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { LOG_BYTES_MAX, proto } from "../schemas/index.ts";
import { ALL, Device, delta, insert, type TestGateway, TestSocket, TODOS, todos } from "./testing/gateway.ts";

test("[S6] a client id belongs to the user that used it first: over HTTP, over a socket and in every shard", async () => {
  for (const shards of [0, 4]) {
    const gateway = await todos(ALL, { shards });
    await gateway.putTable("notes", TODOS, { shards });
    await gateway.putRules([{ name: "all", tables: ["todos", "notes"] }]);
    expect((await gateway.push("alice", "phone", [insert("r1", "alice")])).status).toBe(200);
    for (let i = 0; i < 8; i++) {
      const stolen = await gateway.push("bob", "phone", [
        insert(`x${i}`, "bob"),
        delta("INSERT", `y${i}`, {}, undefined, "notes"),
      ]);
      expect([stolen.status, stolen.body.error.code]).toEqual([403, "ClientIdTaken"]);
      expect(stolen.body.error.message).toMatch(/"phone" belongs to another user.*an id of its own/);
    }
    expect((await gateway.push("root", "phone", [insert("x", "bob")], { role: "admin" })).status).toBe(403);
    const socket = await TestSocket.open(gateway, await gateway.token("bob"));
    const answer = await socket.ask({
      case: "push",
      value: { clientId: "phone", deltas: [{ op: proto.Op.DELETE, table: "todos", rowId: "r1", hlc: 9n }] },
    });
    expect(answer).toMatchObject({ case: "error", value: { code: "ClientIdTaken" } });
    if (shards === 0)
      expect((await gateway.pull("bob", "", { clientId: "phone" })).body.error.code).toBe("ClientIdTaken");
    const device = new Device(gateway, "alice");
    await device.pull();
    expect([...device.rows.keys()]).toEqual(["todos/r1"]);
  }
});

test("[S6] two users who use a new client id at once: one gets it, in all shards", async () => {
  const gateway = await todos(ALL, { shards: 4 });
  const rows = (who: string) => Array.from({ length: 8 }, (_, i) => insert(`${who}${i}`, who));
  const answers = await Promise.all(["alice", "bob", "carol"].map((who) => gateway.push(who, "tablet", rows(who))));
  expect(answers.map((a) => a.status).sort()).toEqual([200, 403, 403]);
  expect((await gateway.pull("alice")).body.rows).toHaveLength(8);
});

test("[S6] without rules clients see nothing and write nothing; admins do", async () => {
  const gateway = await todos([]);
  expect((await gateway.push("alice", "a1", [insert("r1", "alice")])).body.rejected).toMatchObject([
    { code: "WriteForbidden" },
  ]);
  expect((await gateway.push("root", "r1", [insert("r1", "alice")], { role: "admin" })).body.acceptedCount).toBe(1);
  expect((await gateway.pull("alice")).body.rows).toEqual([]);
  expect((await gateway.pull("root", "", {}, { role: "admin" })).body.rows).toHaveLength(1);
});

/** A log entry that says that it is as large as the cap, as after hours without a destination. */
async function fill(gateway: TestGateway, shard: string): Promise<void> {
  await runInDurableObject(gateway.shard(shard), (_, { storage }) =>
    storage.sql.exec("UPDATE log SET bytes = ?", LOG_BYTES_MAX),
  );
  await evictDurableObject(gateway.shard(shard));
}

test("[PU5] a push to a full log is refused whole, with 429 and Retry-After, before anything is written", async () => {
  for (const shards of [0, 4]) {
    const gateway = await todos(ALL, { shards });
    await gateway.putTable("notes", TODOS);
    await gateway.push(
      "alice",
      "a1",
      Array.from({ length: 16 }, (_, i) => insert(`r${i}`, "alice")),
    );
    const [full] = (await gateway.status()).map.tables.todos;
    await fill(gateway, full);
    const heads = async () => (await gateway.status()).shards.map((s: { head: number }) => s.head);
    const before = await heads();
    const edits = Array.from({ length: 16 }, (_, i) => delta("UPDATE", `r${i}`, { title: "more" }));
    const { status, body, headers } = await gateway.push("alice", "a1", edits);
    expect([status, body.error.code, headers.get("retry-after")]).toEqual([429, "LogFull", "5"]);
    expect(body.error.details).toEqual({ retryAfterSeconds: 5 });
    expect(body.error.message).toMatch(/Keep the deltas and push again later/);
    expect(await heads()).toEqual(before);
    const socket = await TestSocket.open(gateway, await gateway.token("alice"));
    const hlc = BigInt(edits[0]?.hlc ?? 0);
    const deltas = Array.from({ length: 16 }, (_, i) => ({ op: proto.Op.DELETE, table: "todos", rowId: `r${i}`, hlc }));
    expect(await socket.ask({ case: "push", value: { clientId: "a1", deltas } })).toMatchObject({
      case: "error",
      value: { code: "LogFull", retryAfterSeconds: 5 },
    });
    expect((await gateway.pull("alice")).body.rows).toHaveLength(16);
    await gateway.settle();
    expect((await gateway.push("alice", "a1", edits)).body.acceptedCount).toBe(16);
  }
});

test("[PU3] a malformed batch beside a sound one refuses the push before either has landed, in every layout", async () => {
  for (const shards of [0, 1, 4]) {
    const gateway = await todos(ALL, { shards });
    await gateway.putTable("notes", TODOS, { shards: 1 });
    await gateway.putRules([{ name: "all", tables: ["todos", "notes"] }]);
    const good = { table: "todos", count: 1, ops: "I", rowIds: '["r"]', hlcs: "AAAAAAAAAAE=", columns: [] };
    const bad = { ...good, table: "notes", rowIds: "[1]" };
    const { status, body } = await gateway.request(await gateway.token("alice"), "POST", "/push", {
      clientId: "a1",
      batches: [good, bad],
    });
    expect([status, body.error.code]).toEqual([400, "BadRequest"]);
    expect(body.error.message).toContain("row_ids");
    expect((await gateway.pull("alice")).body.rows).toEqual([]);
  }
});

test("a push right after a table is made finds it, whatever the road remembered", async () => {
  const gateway = await todos(ALL);
  await gateway.push("alice", "a1", [insert("r", "alice")]);
  for (const shards of [0, 2]) {
    const table = `late${shards}`;
    await gateway.putTable(table, TODOS, { shards });
    expect(
      (await gateway.push("root", "root-1", [delta("INSERT", "r", {}, undefined, table)], { role: "admin" })).body
        .acceptedCount,
    ).toBe(1);
  }
  await gateway.putTable("todos", [...TODOS, { name: "more", type: "string" }]);
  expect((await gateway.push("alice", "a1", [delta("UPDATE", "r", { more: "x" })])).body.acceptedCount).toBe(1);
});

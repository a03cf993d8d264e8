/** What a device gets: cursors, filters that change, pages, tables, several shards. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { proto } from "../schemas/index.ts";
import { ALL, cells, Device, delta, hlc, insert, type Json, OWN, TestSocket, TODOS, todos } from "./testing/gateway.ts";

const rowIds = (device: Device) => [...device.rows.keys()].map((key) => key.split("/")[1]).sort();
const LAYOUTS = [0, 3];

test("[PL1, PL2] a late delta with an old clock reaches a device that has pulled past it", async () => {
  for (const shards of LAYOUTS) {
    const gateway = await todos(ALL, { shards });
    const device = new Device(gateway, "bob");
    await gateway.push("alice", "a1", [insert("r1", "alice")]);
    expect(await device.pull()).toEqual(["r1"]);
    const old = hlc(0, Date.now() - 90 * 24 * 3600_000);
    await gateway.push("carol", "c1", [insert("r2", "carol", {}, old), delta("UPDATE", "r1", { priority: 7 }, old)]);
    expect(await device.pull()).toEqual(["r1", "r2"]);
    expect(device.rows.get("todos/r1")).toMatchObject({ title: "r1", priority: 7 });
    expect(await device.pull()).toEqual([]);
  }
});

test("[PL3, PL4] a row that starts to match comes whole, one that stops is taken away, others stay unknown", async () => {
  for (const shards of LAYOUTS) {
    const gateway = await todos(OWN, { shards });
    const [alice, bob, carol] = [
      new Device(gateway, "alice"),
      new Device(gateway, "bob"),
      new Device(gateway, "carol"),
    ];
    const rows = [insert("r1", "alice", { priority: 1 }), insert("r2", "alice", { priority: 2 })];
    await gateway.push("root", "root-1", rows, { role: "admin" });
    await Promise.all([alice.pull(), bob.pull(), carol.pull()]);
    await gateway.push("root", "root-1", [delta("UPDATE", "r1", { owner: "bob" })], { role: "admin" });
    expect([await alice.pull(), await bob.pull(), await carol.pull()]).toEqual([["r1"], ["r1"], []]);
    expect([rowIds(alice), rowIds(bob), rowIds(carol)]).toEqual([["r2"], ["r1"], []]);
    expect(bob.rows.get("todos/r1")).toEqual({ title: "r1", done: false, owner: "bob", priority: 1 });
    await gateway.push("root", "root-1", [delta("DELETE", "r1"), delta("DELETE", "r2")], { role: "admin" });
    expect([await alice.pull(), await bob.pull(), await carol.pull()]).toEqual([["r2"], ["r1"], []]);
  }
});

test("a row whose late delete lost stays on the device, in JSON as in batches", async () => {
  const gateway = await todos(ALL);
  const device = new Device(gateway, "bob");
  await gateway.push("alice", "a1", [insert("r1", "alice")]);
  await device.pull();
  await gateway.push("carol", "c1", [delta("DELETE", "r1", {}, hlc(0, Date.now() - 60_000))]);
  await device.pull();
  expect(device.rows.get("todos/r1")).toMatchObject({ title: "r1" });
});

test("[PL5] new rules start a device over, and it ends with exactly what it may see", async () => {
  for (const shards of LAYOUTS) {
    const gateway = await todos(OWN, { shards });
    const device = new Device(gateway, "alice");
    await gateway.push(
      "root",
      "root-1",
      ["alice", "alice", "bob", "carol"].map((owner, i) => insert(`r${i}`, owner, { priority: i })),
      { role: "admin" },
    );
    await device.pull();
    expect([rowIds(device), device.resyncs]).toEqual([["r0", "r1"], 0]);
    await gateway.putRules([
      { name: "high", tables: ["todos"], filters: [{ column: "priority", op: "gte", value: "1" }] },
    ]);
    await device.pull({ maxBytes: 50 });
    expect([rowIds(device), device.resyncs]).toEqual([["r1", "r2", "r3"], 1]);
    expect(await device.pull()).toEqual([]);
    await gateway.putRules([]);
    await device.pull();
    expect([rowIds(device), device.resyncs]).toEqual([[], 2]);
  }
});

test("[PL5] other claims start a device over where rules look at them, and only there", async () => {
  for (const shards of LAYOUTS) {
    const gateway = await todos(
      [{ name: "org", tables: ["todos"], filters: [{ column: "owner", op: "in", value: "jwt:org.teams" }] }],
      { shards },
    );
    const device = new Device(gateway, "alice");
    await gateway.push(
      "root",
      "root-1",
      ["red", "blue", "green"].map((owner) => insert(owner, owner)),
      { role: "admin" },
    );
    await device.pull({}, { org: { teams: ["red", "blue"] } });
    expect(rowIds(device)).toEqual(["blue", "red"]);
    await device.pull({}, { org: { teams: ["red", "blue"], name: "x" }, theme: "dark 🌒" });
    expect(device.resyncs).toBe(0);
    await device.pull({}, { org: { teams: ["green"] } });
    expect([rowIds(device), device.resyncs]).toEqual([["green"], 1]);
    await device.pull({}, {});
    expect([rowIds(device), device.resyncs]).toEqual([[], 2]);
  }
});

test("[PL6] pages are small when asked for, and each row comes once", async () => {
  for (const shards of LAYOUTS) {
    const gateway = await todos(ALL, { shards });
    const rows = Array.from({ length: 30 }, (_, i) => insert(`r${i}`, "alice", { title: "t".repeat(100) }));
    await gateway.push("alice", "a1", rows);
    const device = new Device(gateway, "bob");
    const came = await device.pull({ maxBytes: 1000 });
    expect(came).toHaveLength(30);
    expect(new Set(came).size).toBe(30);
    expect(device.pages).toBeGreaterThan(3);
    const first = await gateway.pull("bob", "", { maxBytes: 1 });
    expect([first.body.rows.length, first.body.hasMore]).toEqual([Math.max(1, shards), true]);
  }
});

test("[PL6] rows that change between two pages arrive in their last state", async () => {
  const gateway = await todos(ALL);
  await gateway.push(
    "alice",
    "a1",
    Array.from({ length: 10 }, (_, i) => insert(`r${i}`, "alice")),
  );
  const first = await gateway.pull("bob", "", { maxBytes: 200 });
  expect(first.body.hasMore).toBe(true);
  await gateway.push("alice", "a1", [
    delta("UPDATE", "r0", { title: "new" }),
    delta("DELETE", "r9"),
    insert("s", "alice"),
  ]);
  const device = new Device(gateway, "bob");
  device.cursor = first.body.cursor;
  for (const row of first.body.rows) device.rows.set(`todos/${row.rowId}`, cells(row));
  await device.pull();
  expect(device.rows.size).toBe(10);
  expect(device.rows.get("todos/r0")).toMatchObject({ title: "new" });
  expect(rowIds(device)).not.toContain("r9");
});

test("[PL7] the same filter holds over HTTP in JSON and protobuf, in rows and batches, by GET and on a socket", async () => {
  const gateway = await todos(OWN, { shards: 2 });
  await gateway.push(
    "root",
    "root-1",
    ["alice", "bob", "bob"].map((owner, i) => insert(`r${i}`, owner)),
    { role: "admin" },
  );
  const token = await gateway.token("alice");
  const json = (await gateway.pull("alice")).body.rows as Json[];
  const get = (await gateway.request(token, "GET", "/pull?tables=todos&maxBytes=1000")).body.rows as Json[];
  const binary = await gateway.speak(token, "/pull", proto.PullRequestSchema, {}, proto.PullResponseSchema);
  const columnar = await gateway.speak(
    token,
    "/pull",
    proto.PullRequestSchema,
    { columnar: true },
    proto.PullResponseSchema,
  );
  const page = await (await TestSocket.open(gateway, token)).ask({ case: "pull", value: {} });
  expect(json.map((r) => r.rowId)).toEqual(["r0"]);
  expect(get).toEqual(json);
  expect(binary.rows.map((r) => r.rowId)).toEqual(["r0"]);
  expect(columnar.batches.map((b) => b.rowIds)).toEqual(['["r0"]']);
  expect(page.case === "page" && page.value.batches.map((b) => b.rowIds)).toEqual(['["r0"]']);
  const admin = await gateway.pull("root", "", {}, { role: "admin" });
  expect(admin.body.rows).toHaveLength(3);
});

test("[PL7] a cursor of an admin gives a client no more than its own rows", async () => {
  const gateway = await todos(OWN);
  await gateway.push("root", "root-1", [insert("r1", "bob")], { role: "admin" });
  const { cursor } = (await gateway.pull("root", "", {}, { role: "admin" })).body;
  await gateway.push("root", "root-1", [delta("UPDATE", "r1", { title: "x" }), delta("DELETE", "r1")], {
    role: "admin",
  });
  const { body } = await gateway.pull("alice", cursor);
  expect([body.rows, body.resync]).toEqual([[], true]);
});

test("[PL8] a cursor older than what is remembered is told to start again", async () => {
  const gateway = await todos(ALL);
  await gateway.push("alice", "a1", [insert("r1", "alice")]);
  const { cursor } = (await gateway.pull("bob")).body;
  await gateway.push("alice", "a1", [delta("DELETE", "r1"), insert("r2", "alice")]);
  await gateway.settle();
  await runInDurableObject(gateway.shard("common"), (_, { storage }) =>
    storage.sql.exec("DELETE FROM lists").toArray(),
  );
  await evictDurableObject(gateway.shard("common"));
  const { status, body } = await gateway.pull("bob", cursor);
  expect([status, body.error.code]).toEqual([410, "CursorExpired"]);
  expect(body.error.message).toMatch(/without a cursor, and keep the outbox/);
  expect((await gateway.pull("bob")).body.rows).toMatchObject([{ rowId: "r2" }]);
});

test("a table that is made later, with shards of its own, is in the next pull without starting over", async () => {
  const gateway = await todos(ALL);
  await gateway.push("alice", "a1", [insert("r1", "alice")]);
  const device = new Device(gateway, "root", { role: "admin" });
  await device.pull();
  await gateway.putTable("notes", TODOS, { shards: 2 });
  await gateway.push("root", "root-1", [delta("INSERT", "n1", { title: "x" }, undefined, "notes")], { role: "admin" });
  expect(await device.pull()).toEqual(["n1"]);
  expect(device.resyncs).toBe(0);
});

test("a device that asks for some tables gets those; asking for others starts it over", async () => {
  const gateway = await todos(ALL);
  await gateway.putTable("notes", TODOS, { shards: 2 });
  await gateway.putTable("tags", TODOS);
  await gateway.push(
    "root",
    "root-1",
    ["todos", "notes", "tags"].map((table) => delta("INSERT", `in-${table}`, { title: "x" }, undefined, table)),
    { role: "admin" },
  );
  const device = new Device(gateway, "root", { role: "admin" });
  expect(await device.pull({ tables: ["notes", "todos"] })).toEqual(["in-notes", "in-todos"]);
  expect(await device.pull({ tables: ["todos", "notes", "todos"] })).toEqual([]);
  expect(device.resyncs).toBe(0);
  expect(await device.pull({ tables: ["tags"] })).toEqual(["in-tags"]);
  expect(device.resyncs).toBe(1);
  expect(await device.pull({ tables: ["not_yet_there"] })).toEqual([]);
});

test("a column that was just added is shown by its type", async () => {
  const gateway = await todos(ALL);
  await gateway.push("alice", "a1", [insert("r1", "alice")]);
  await gateway.pull("bob");
  await gateway.putTable("todos", [
    ...TODOS,
    { name: "due", type: "timestamp" },
    { name: "raw", type: "bytes" },
    { name: "tags", type: "json" },
  ]);
  const more = { due: "2026-02-01T10:00:00+02:00", raw: { bytes: "AQI=" }, tags: ["a", { b: 1 }] };
  expect((await gateway.push("alice", "a1", [delta("UPDATE", "r1", more)])).body.acceptedCount).toBe(1);
  expect(cells((await gateway.pull("bob")).body.rows[0])).toMatchObject({
    due: { timestamp: "2026-02-01T08:00:00.000Z" },
    raw: { bytes: "AQI=" },
    tags: { json: ["a", { b: 1 }] },
  });
});

test("[PL5] where one shard starts over, all do: the device drops everything", async () => {
  const gateway = await todos(ALL, { shards: 3 });
  await gateway.push(
    "alice",
    "a1",
    Array.from({ length: 12 }, (_, i) => insert(`r${i}`, "alice")),
  );
  const { cursor } = (await gateway.pull("bob")).body;
  const inside = JSON.parse(atob(cursor.replace(/-/g, "+").replace(/_/g, "/")));
  const [first] = Object.keys(inside.s);
  inside.s[first as string][0] = "of older rules";
  const { body } = await gateway.pull("bob", btoa(JSON.stringify(inside)).replace(/=+$/, ""));
  expect([body.resync, body.rows.length]).toEqual([true, 12]);
});

test("[PU4] a road that remembers an old map finds new tables and moved rows: the shards say that it is old", async () => {
  const gateway = await todos(ALL);
  await gateway.push("alice", "a1", [insert("r1", "alice")]);
  // The hub has a road of its own, which no admin's request renews.
  const socket = await TestSocket.open(gateway, await gateway.token("root", { role: "admin" }));
  const pull = async (cursor: string) => {
    const page = await socket.ask({ case: "pull", value: { cursor } });
    if (page.case !== "page") throw new Error(`no page but ${page.case}`);
    const { batches, resync } = page.value;
    return { cursor: page.value.cursor, resync, ids: batches.flatMap((b) => JSON.parse(b.rowIds) as string[]).sort() };
  };
  const first = await pull("");
  expect(first.ids).toEqual(["r1"]);
  await gateway.putTable("notes", TODOS, { shards: 2 });
  await gateway.push("root", "root-1", [delta("INSERT", "n1", { title: "x" }, undefined, "notes")], { role: "admin" });
  const second = await pull(first.cursor);
  expect(second).toMatchObject({ ids: ["n1"], resync: false });
  await gateway.putTable("todos", TODOS, { shards: 2 });
  await gateway.finishMove();
  await gateway.push("alice", "a1", [insert("r2", "alice")]);
  expect(await pull(second.cursor)).toMatchObject({ ids: ["n1", "r1", "r2"], resync: true });
});

/** Pull: what reaches whom, what never does, and what a page costs. */
import { expect, test } from "vitest";
import { type ClientId, packHlc, type SyncRules } from "../../schemas/index.ts";
import { NodeSqlStore } from "../testing/node-sqlite.ts";
import { ADMIN, configOf, Device, edit, NOW, push, sentIn, shardOf, user } from "../testing/shard-kit.ts";
import type { ShardEngine } from "./engine.ts";
import type { PullPage } from "./pull.ts";

const alice = user("alice");
const bob = user("bob");
const mine = (rowId: string, ms: number, owner = "alice") =>
  edit("INSERT", rowId, ms, { user_id: owner, title: rowId });

function flushAll(shard: ShardEngine, nowMs = NOW): void {
  const taken = shard.lease(nowMs, "f");
  if (typeof taken !== "string")
    shard.settle(
      "f",
      taken.tables.map(({ table }) => ({ table })),
      nowMs,
    );
}

test("[PL2] a late delta from an offline device reaches everyone who already pulled past its clock", () => {
  const shard = shardOf();
  push(shard, alice, [mine("a", 1000)]);
  const device = new Device(alice);
  device.pullAll(shard);
  push(shard, alice, [mine("old", -5_000_000), edit("UPDATE", "a", -9, { priority: 3 })], "was-offline");
  device.pullAll(shard);
  expect([...device.alive.keys()]).toEqual(["todos/a", "todos/old"]);
  expect(device.cell("todos/a", "priority")).toBe(3);
});

test("[PL4] a row that starts to match arrives whole, one that stops is removed", () => {
  const shard = shardOf();
  const [hers, his] = [new Device(alice), new Device(bob)];
  push(shard, alice, [mine("a", 1), edit("UPDATE", "a", 2, { priority: 5 })]);
  hers.pullAll(shard);
  his.pullAll(shard);
  push(shard, ADMIN, [edit("UPDATE", "a", 3, { user_id: "bob" })]);
  expect(hers.pullAll(shard)).toEqual([{ letter: "R", table: "todos", rowId: "a", columns: {} }]);
  his.pullAll(shard);
  expect([his.cell("todos/a", "title"), his.cell("todos/a", "priority")]).toEqual(["a", 5]);
  push(shard, ADMIN, [edit("DELETE", "a", 4)]);
  expect(hers.pullAll(shard)).toEqual([]);
  expect(his.pullAll(shard).map((s) => s.letter)).toEqual(["D"]);
  expect([hers.alive.size, his.alive.size]).toEqual([0, 0]);
});

test("[PL4] of rows that a device never could see it hears nothing, whatever happens to them", () => {
  const shard = shardOf();
  push(shard, bob, [mine("b", 1, "bob")]);
  const device = new Device(alice);
  expect(device.pullAll(shard)).toEqual([]);
  for (const [at, change] of [
    edit("UPDATE", "b", 2, { title: "x" }),
    edit("UPDATE", "b", 3, { user_id: "carol" }),
    edit("DELETE", "b", 4),
    edit("UPDATE", "b", 5, { user_id: "alice" }), // a ghost: the row stays dead
    edit("INSERT", "b", 6, { user_id: "bob" }),
    edit("DELETE", "b", 7),
    edit("DELETE", "nothing", 8),
  ].entries()) {
    push(shard, ADMIN, [change], `admin-${at}`);
    for (const maxBytes of [1, 1 << 20]) expect(new Device(alice).pullAll(shard, maxBytes)).toEqual([]);
    expect(device.pullAll(shard)).toEqual([]);
  }
});

test("[PL4] seen and lost between two pulls: no cells of it travel", () => {
  const shard = shardOf();
  const device = new Device(alice);
  device.pullAll(shard);
  push(shard, ADMIN, [mine("x", 1, "alice"), edit("UPDATE", "x", 2, { user_id: "bob", title: "secret" })]);
  for (const sent of device.pullAll(shard)) expect(sent).toMatchObject({ letter: "R", columns: {} });
  expect(device.rows.size).toBe(0);
});

test("[PL4] a row that left and was changed again after a page's end is removed by that page", () => {
  const shard = shardOf();
  push(shard, ADMIN, [mine("x", 1), mine("y", 1)]);
  const device = new Device(alice);
  device.pullAll(shard);
  push(shard, ADMIN, [edit("UPDATE", "x", 2, { user_id: "bob" }), edit("UPDATE", "y", 2, { title: "seen" })]);
  push(shard, ADMIN, [edit("UPDATE", "x", 3, { title: "bob's" })]);
  device.pullAll(shard, 1);
  expect([...device.alive.keys()]).toEqual(["todos/y"]);
});

test("[PL5] when the rules change, the page says resync and the device ends with exactly what it may see", () => {
  const shard = shardOf();
  push(shard, ADMIN, [mine("a", 1), mine("b", 1, "bob")]);
  const device = new Device(alice);
  device.pullAll(shard);
  const rules: SyncRules = {
    buckets: [{ name: "bobs", tables: ["todos"], filters: [{ column: "user_id", op: "eq", value: "bob" }] }],
  };
  shard.configure(configOf({ rules, version: 2, rulesVersion: 2 }));
  expect(device.pullPage(shard)).toMatchObject({ resync: true });
  device.pullAll(shard);
  expect([...device.alive.keys()]).toEqual(["todos/b"]);
  // An older configuration that arrives late changes nothing.
  shard.configure(configOf({ version: 1 }));
  expect(device.pullPage(shard)).toMatchObject({ resync: false, hasMore: false });
});

test("[PL5] a cursor of one token does not pass for another's", () => {
  const shard = shardOf();
  push(shard, ADMIN, [mine("a", 1), mine("b", 1, "bob")]);
  const first = shard.pull({ claims: alice, fingerprint: "", tables: [], maxBytes: 1 << 20 });
  if (!first.ok) return expect.fail();
  const { position, fingerprint } = first.value;
  const other = shard.pull({ claims: bob, position, fingerprint, tables: [], maxBytes: 1 << 20 });
  expect(other).toMatchObject({ ok: true, value: { resync: true } });
  if (other.ok) expect(sentIn(other.value).map((s) => s.rowId)).toEqual(["b"]);
});

test("[PL6] a page is bounded by bytes, says whether there is more, and pages add up to everything once", () => {
  const shard = shardOf();
  const ids = Array.from({ length: 60 }, (_, n) => `row-${String(n).padStart(2, "0")}`);
  push(
    shard,
    ADMIN,
    ids.map((id, n) => edit("INSERT", id, n, { user_id: "alice", title: "x".repeat(100) })),
  );
  const device = new Device(alice);
  const scan: string[] = [];
  for (let page = device.pullPage(shard, 700); page !== "expired"; page = device.pullPage(shard, 700)) {
    expect(page.bytes).toBeLessThan(700 + 200);
    scan.push(...sentIn(page).map((s) => s.rowId));
    if (!page.hasMore) break;
    expect(sentIn(page).length).toBeGreaterThan(0);
  }
  expect(scan).toEqual(ids);
  push(
    shard,
    ADMIN,
    ids.map((id) => edit("UPDATE", id, 99, { title: "y".repeat(100) })),
  );
  const before = device.pullPage(shard, 700);
  expect(before).toMatchObject({ hasMore: true });
  const rest = device.pullAll(shard, 700).map((s) => s.rowId);
  expect(new Set(rest).size + new Set(sentIn(before as PullPage).map((s) => s.rowId)).size).toBe(ids.length);
  expect(ids.every((id) => device.cell(`todos/${id}`, "title") === "y".repeat(100))).toBe(true);
  expect(device.pullAll(shard, 0)).toEqual([]);
  expect(new Set(new Device(alice).pullAll(shard, 0).map((s) => s.rowId)).size).toBe(ids.length);
});

test("[PL6] a page is bounded in what it looks at, also when nothing of it may be seen", () => {
  const sql = new NodeSqlStore();
  const shard = shardOf({}, {}, sql);
  for (let at = 0; at < 12; at++)
    push(
      shard,
      ADMIN,
      Array.from({ length: 10_000 }, (_, n) => edit("INSERT", `r${at}-${n}`, at, { user_id: "bob" })),
    );
  const fresh = new Device(alice);
  const page = fresh.pullPage(shard);
  expect(page).toMatchObject({ hasMore: true, batches: [] });
  expect(fresh.pullAll(shard)).toEqual([]);
  const behind = new Device(alice);
  behind.position = { at: "tail", seq: 1, exact: true };
  behind.pullPage(shard); // learns the fingerprint
  behind.position = { at: "tail", seq: 1, exact: true };
  expect(behind.pullPage(shard)).toMatchObject({ hasMore: true, batches: [] });
  expect(behind.pullAll(shard)).toEqual([]);
});

test("[PL6] a pull of what changed reads what changed, not what exists", () => {
  const sql = new NodeSqlStore();
  const shard = shardOf({}, {}, sql);
  for (let at = 0; at < 5; at++)
    push(
      shard,
      ADMIN,
      Array.from({ length: 2000 }, (_, n) => edit("INSERT", `r${at}-${n}`, at, { user_id: "alice" })),
    );
  const device = new Device(alice);
  device.pullAll(shard);
  push(shard, ADMIN, [edit("UPDATE", "r3-77", 100, { title: "new" })]);
  const exec = sql.exec.bind(sql);
  let rows = 0;
  sql.exec = (text, ...bindings) => {
    const result = exec(text, ...bindings);
    rows += result.length;
    return result as never;
  };
  expect(device.pullAll(shard)).toEqual([{ letter: "U", table: "todos", rowId: "r3-77", columns: { title: "new" } }]);
  expect(rows).toBeLessThan(10);
});

test("[PL8] a cursor older than the change lists that are kept expires; one within them does not", () => {
  const shard = shardOf({}, { listDeltas: 2 });
  const [away, near] = [new Device(alice), new Device(alice)];
  push(shard, alice, [mine("a", 1)]);
  away.pullAll(shard);
  for (let at = 2; at < 8; at++) {
    if (at === 6) near.pullAll(shard);
    push(shard, alice, [mine(`r${at}`, at)]);
    flushAll(shard);
  }
  push(shard, alice, [edit("DELETE", "a", 9)]);
  expect(near.pullPage(shard)).toMatchObject({ hasMore: false });
  expect(away.pullPage(shard)).toBe("expired");
  away.pullAll(shard);
  expect([...away.alive]).toEqual([...near.alive]);
  expect(away.alive.has("todos/a")).toBe(false);
});

test("[PL8] a cursor from beyond the shard's head, as of one that was rebuilt, expires", () => {
  const shard = shardOf();
  push(shard, alice, [mine("a", 1)]);
  const device = new Device(alice);
  device.pullAll(shard);
  device.position = { at: "tail", seq: 99, exact: true };
  expect(device.pullPage(shard)).toBe("expired");
});

test("[PL7] columns that were dropped, tables that were not asked for and tables of other shards do not leave", () => {
  const shard = shardOf();
  push(shard, alice, [mine("a", 1), edit("INSERT", "n", 1, { user_id: "alice", body: "x" }, "notes")]);
  const config = configOf();
  const tables = config.tables.map((t) => ({ ...t, columns: t.columns.filter((c) => c.name !== "title") }));
  shard.configure({ ...config, version: 2, tables });
  const device = new Device(alice);
  device.pullPage(shard, 1 << 20, ["todos"]);
  expect([...device.alive]).toEqual([
    ["todos/a", { user_id: { value: "alice", stamp: `${packHlc(NOW + 1, 0)}c-alice` as ClientId } }],
  ]);
  shard.configure({ ...config, version: 3, owns: { notes: { index: 0, of: 1 } } });
  const other = new Device(alice);
  other.pullAll(shard);
  expect([...other.alive.keys()]).toEqual(["notes/n"]);
});

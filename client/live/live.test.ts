import { expect, test } from "vitest";
import { LocalDB, LocalTransport, SyncCoordinator } from "../index.ts";
import { settled, testGateway } from "../testing.ts";

const TABLES = { todos: { title: "string", list: "string" }, lists: { name: "string" } } as const;
const SCHEMA = {
  todos: { title: { type: "string" }, list: { type: "string" } },
  lists: { name: { type: "string" } },
} as const;

async function open() {
  const db = await LocalDB.open({ name: "live", backend: "memory", schema: SCHEMA });
  const gateway = testGateway(TABLES);
  return { db, gateway, sync: new SyncCoordinator(db, new LocalTransport(gateway.as())) };
}

/** Counts the calls of a live query, the first one left out. */
async function watch(db: LocalDB, sql: string) {
  const seen: unknown[][] = [];
  db.live(sql, [], (rows) => seen.push(rows));
  await settled();
  expect(seen).toHaveLength(1);
  return { calls: () => seen.length - 1, last: () => seen.at(-1) };
}

test("[C5] a query runs again once after each commit to its tables, and after no other", async () => {
  const { db, sync } = await open();
  const todos = await watch(db, "SELECT title FROM todos ORDER BY id");
  await sync.tracker.insert("todos", "1", { title: "milk" });
  await settled();
  expect([todos.calls(), todos.last()]).toEqual([1, [{ title: "milk" }]]);
  await sync.tracker.transaction(async (t) => {
    await t.insert("todos", "2", { title: "bread" });
    await t.insert("todos", "3", { title: "salt" });
    await t.insert("lists", "l", { name: "shop" });
  });
  await settled();
  expect(todos.calls()).toBe(2);
  await sync.tracker.insert("lists", "m", { name: "work" });
  await db.exec("UPDATE todos SET title = 'x' WHERE id = 'nobody'");
  await db.transaction(async (tx) => tx.exec("DELETE FROM todos")).catch(() => undefined);
  await settled();
  expect([todos.calls(), todos.last()]).toEqual([3, []]);
});

test("[C5] a transaction that is rolled back fires nothing", async () => {
  const { db, sync } = await open();
  const todos = await watch(db, "SELECT count(*) AS n FROM todos");
  const failing = sync.tracker.transaction(async (t) => {
    await t.insert("todos", "1", { title: "milk" });
    throw new Error("no");
  });
  await expect(failing).rejects.toThrow("no");
  await settled();
  expect(todos.calls()).toBe(0);
});

test("[C5] joins, views, subqueries and counts are seen through", async () => {
  const { db, sync } = await open();
  await db.exec("CREATE VIEW named AS SELECT t.title, l.name FROM todos t JOIN lists l ON l.id = t.list");
  const queries = await Promise.all(
    [
      "SELECT * FROM named",
      "SELECT count(*) FROM lists",
      "SELECT 1 WHERE EXISTS (SELECT 1 FROM lists)",
      "WITH w AS (SELECT name FROM lists) SELECT * FROM w",
    ].map((sql) => watch(db, sql)),
  );
  await sync.tracker.insert("lists", "l", { name: "shop" });
  await settled();
  expect(queries.map((q) => q.calls())).toEqual([1, 1, 1, 1]);
  await sync.tracker.insert("todos", "1", { title: "milk", list: "l" });
  await settled();
  expect(queries.map((q) => q.calls())).toEqual([2, 1, 1, 1]);
  expect(queries[0]?.last()).toEqual([{ title: "milk", name: "shop" }]);
});

test("[C5] full-text search that triggers keep fires with its source", async () => {
  const { db, sync } = await open();
  await db.exec("CREATE VIRTUAL TABLE search USING fts5(title)");
  await db.exec(`CREATE TRIGGER todos_search AFTER INSERT ON todos BEGIN
    INSERT INTO search (rowid, title) VALUES (NEW.rowid, NEW.title); END`);
  const found = await watch(db, "SELECT title FROM search WHERE search MATCH 'milk'");
  await sync.tracker.insert("todos", "1", { title: "oat milk" });
  await settled();
  expect([found.calls(), found.last()]).toEqual([1, [{ title: "oat milk" }]]);
});

test("[C5] a page from the gateway fires once, an empty round fires nothing", async () => {
  const { db, gateway, sync } = await open();
  const other = await LocalDB.open({ name: "other", backend: "memory", schema: SCHEMA });
  const writer = new SyncCoordinator(other, new LocalTransport(gateway.as()));
  await writer.tracker.insertMany("todos", [
    ["1", { title: "milk" }],
    ["2", { title: "bread" }],
  ]);
  await writer.syncOnce();
  const todos = await watch(db, "SELECT title FROM todos ORDER BY id");
  await sync.syncOnce();
  await sync.syncOnce();
  await settled();
  expect([todos.calls(), todos.last()]).toEqual([1, [{ title: "milk" }, { title: "bread" }]]);
});

test("[C5] an acknowledgement changes nothing that a query sees", async () => {
  const { db, sync } = await open();
  await sync.tracker.insert("todos", "1", { title: "milk" });
  await sync.tracker.update("todos", "1", { title: "oat milk" });
  const todos = await watch(db, "SELECT title FROM todos");
  await sync.syncOnce();
  await settled();
  expect(todos.calls()).toBe(0);
});

test("a query that is ended is not run again; one that fails says so", async () => {
  const { db, sync } = await open();
  let calls = 0;
  const end = db.live("SELECT * FROM todos", [], () => calls++);
  end();
  await sync.tracker.insert("todos", "1", {});
  await settled();
  expect(calls).toBe(0);
  const error = await new Promise((resolve) => db.live("SELECT * FROM nowhere", [], () => {}, { onError: resolve }));
  expect(error).toMatchObject({ code: "BadRequest" });
});

import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { LocalDB, LocalTransport, SyncCoordinator, SyncTracker } from "../index.ts";
import { TestWorld, testGateway } from "../testing.ts";

const SCHEMA = {
  todos: {
    title: { type: "string", nullable: false },
    done: { type: "boolean", initial: false },
    rank: { type: "number" },
    count: { type: "integer" },
    note: { type: "json" },
    at: { type: "timestamp" },
    icon: { type: "bytes" },
  },
} as const;

const folder = mkdtempSync(join(tmpdir(), "lakesync-client-"));
afterAll(() => rmSync(folder, { recursive: true }));

const memory = (schema = SCHEMA) => LocalDB.open({ name: "test", backend: "memory", schema });
const outbox = (db: LocalDB) =>
  db.query<{ op: string; row_id: string; cells: string | null }>(
    "SELECT op, row_id, cells FROM lakesync_outbox ORDER BY hlc",
  );

describe("tracking", () => {
  test("[C8] plain SQL is tracked like the tracker, edit by edit", async () => {
    const [bySql, byTracker] = [await memory(), await memory()];
    await bySql.exec("INSERT INTO todos (id, title, rank) VALUES ('1', 'milk', 0.1)");
    await bySql.exec("UPDATE todos SET title = 'oat milk', done = 1 WHERE id = '1'");
    await bySql.exec("UPDATE todos SET title = 'oat milk' WHERE id = '1'");
    await bySql.exec("DELETE FROM todos");
    const tracker = new SyncTracker(byTracker);
    await tracker.insert("todos", "1", { title: "milk", done: false, rank: 0.1 });
    await tracker.update("todos", "1", { title: "oat milk", done: true });
    await tracker.update("todos", "1", { title: "oat milk" });
    await tracker.delete("todos", "1");
    expect((await outbox(bySql)).map((e) => e.op)).toEqual(["I", "U", "D"]);
    expect(await outbox(bySql)).toEqual(await outbox(byTracker));
  });

  test("[C8] upserts, replaces, changes of the row id and multi-row statements are tracked", async () => {
    const db = await memory();
    await db.exec("INSERT INTO todos (id, title) VALUES ('1', 'a'), ('2', 'b')");
    await db.exec("INSERT INTO todos (id, title) VALUES ('1', 'c') ON CONFLICT DO UPDATE SET title = excluded.title");
    await db.exec("INSERT OR REPLACE INTO todos (id, title) VALUES ('2', 'd')");
    await db.exec("UPDATE todos SET id = '3' WHERE id = '1'");
    await db.exec("INSERT OR IGNORE INTO todos (id, title) VALUES ('3', 'x')");
    const edits = (await outbox(db)).map((e) => e.op + e.row_id);
    expect(edits).toEqual(["I1", "I2", "U1", "D2", "I2", "D1", "I3"]);
  });

  test("[C1] a write and its outbox entry commit together or not at all", async () => {
    const db = await memory();
    const failing = db.transaction(async (tx) => {
      await tx.exec("INSERT INTO todos (id, title) VALUES ('1', 'a')");
      await tx.exec("INSERT INTO todos (id, title) VALUES ('1', 'again')");
    });
    await expect(failing).rejects.toMatchObject({ code: "Conflict" });
    const statement = db.exec("INSERT INTO todos (id, title) VALUES ('2', 'a'), ('2', 'b')");
    await expect(statement).rejects.toMatchObject({ code: "Conflict" });
    expect([await outbox(db), await db.query("SELECT * FROM todos")]).toEqual([[], []]);
  });

  test("[C1] part of a transaction that is rolled back to a savepoint leaves no entry", async () => {
    const db = await memory();
    await db.transaction(async (tx) => {
      await tx.exec("INSERT INTO todos (id, title) VALUES ('1', 'a')");
      await tx.exec("SAVEPOINT s");
      await tx.exec("INSERT INTO todos (id, title) VALUES ('2', 'b')");
      await tx.exec("ROLLBACK TO s");
    });
    expect((await outbox(db)).map((e) => e.row_id)).toEqual(["1"]);
  });

  test("what a column cannot hold is refused at once", async () => {
    const db = await memory();
    const tracker = new SyncTracker(db);
    const refused = async (promise: Promise<unknown>, code: string) =>
      expect(await promise.then(String, (e) => e.code)).toBe(code);
    await refused(db.exec("INSERT INTO todos (id) VALUES ('1')"), "NotNull");
    await refused(db.exec("INSERT INTO todos (title, done) VALUES ('a', 2)"), "WrongType");
    await refused(db.exec("INSERT INTO todos (title, count) VALUES ('a', 'many')"), "WrongType");
    await refused(db.exec("INSERT INTO todos (title, note) VALUES ('a', '{')"), "WrongType");
    await refused(db.exec("INSERT INTO todos (title, rank) VALUES ('a', 9e999)"), "WrongType");
    await refused(tracker.insert("todos", "1", { title: 5 }), "WrongType");
    await refused(tracker.insert("todos", "", { title: "a" }), "BadRowId");
    await refused(tracker.insert("todos", "1", { title: "a", color: "red" }), "UnknownColumn");
    await refused(tracker.insert("Robert'); DROP TABLE todos", "1", { a: 1 }), "BadIdentifier");
    await refused(db.exec("BEGIN"), "BadRequest");
    await refused(db.exec("SELEC 1"), "BadRequest");
    expect(await outbox(db)).toEqual([]);
  });

  test("[M5] every type arrives elsewhere as it was written", async () => {
    const types = Object.fromEntries(Object.entries(SCHEMA.todos).map(([name, { type }]) => [name, type]));
    const gateway = testGateway({ todos: types });
    const open = async () => {
      const db = await memory();
      return { db, sync: new SyncCoordinator(db, new LocalTransport(gateway.as())) };
    };
    const [a, b] = [await open(), await open()];
    await a.sync.tracker.insert("todos", "1", {
      title: "zażółć \u{1f9c0} \ufeff\"'\\\n",
      done: true,
      rank: 0.1 + 0.2,
      count: 9007199254740993n,
      note: { b: [1, "x", null], a: 1e21 },
      at: "2026-01-31T08:00:00.123456Z",
      icon: new Uint8Array([0, 255, 7]),
    });
    await a.db.exec(
      "INSERT INTO todos (id, title, rank, count, note) VALUES ('2', '', 1e300, -9223372036854775807, '[ 1 ]')",
    );
    await a.sync.tracker.insert("todos", "3", { title: "only" });
    await a.sync.tracker.update("todos", "1", { icon: null, count: -1 });
    await a.sync.syncOnce();
    await b.sync.syncOnce();
    const rows = await a.db.query("SELECT * FROM todos ORDER BY id");
    expect(rows[0]).toMatchObject({ rank: 0.1 + 0.2, count: -1, icon: null, at: 1769846400123456, done: 1 });
    expect(rows[1]).toMatchObject({ count: -9223372036854775807n, note: "[1]", rank: 1e300 });
    expect(await b.db.query("SELECT * FROM todos ORDER BY id")).toEqual(rows);
  });
});

describe("opening", () => {
  test("[H1] stamps go on increasing after a restart and under a clock that steps back", async () => {
    const world = new TestWorld();
    const skew = { ms: 0 };
    const path = join(folder, "clock.sqlite");
    const open = () =>
      LocalDB.open({ name: "c", backend: "file", path, schema: SCHEMA, platform: world.platform(skew) });
    const gateway = testGateway({ todos: { title: "string", done: "boolean" } }, { nowMs: () => world.nowMs + 40_000 });
    const stamps: string[] = [];
    for (const ms of [0, -3_600_000, -7_200_000]) {
      skew.ms = ms;
      const db = await open();
      for (let n = 0; n < 3; n++) await db.exec("INSERT INTO todos (title) VALUES ('x')");
      const rows = await db.query<{ h: string }>(
        "SELECT printf('%016x', hlc) AS h FROM lakesync_outbox ORDER BY rowid",
      );
      stamps.push(...rows.map((r) => r.h).slice(-3));
      await new SyncCoordinator(db, new LocalTransport(gateway.as())).syncOnce();
      await db.close();
    }
    expect(stamps).toEqual([...new Set(stamps)].sort());
    expect(stamps).toHaveLength(9);
  });

  test("[C3] a copy of the file is another device; two processes do not share one", async () => {
    const [path, copy] = [join(folder, "one.sqlite"), join(folder, "two.sqlite")];
    const first = await LocalDB.open({ name: "one", backend: "file", path });
    const id = first.clientId;
    await expect(LocalDB.open({ name: "one", backend: "file", path })).rejects.toMatchObject({
      code: "StorageUnavailable",
    });
    await first.close();
    copyFileSync(path, copy);
    const [again, other] = [
      await LocalDB.open({ name: "one", backend: "file", path }),
      await LocalDB.open({ name: "two", backend: "file", path: copy }),
    ];
    expect(again.clientId).toBe(id);
    expect(other.clientId).not.toBe(id);
    await again.close();
    await other.close();
  });

  test("a new version of the app adds columns and tables to old data; an old app keeps new data", async () => {
    const path = join(folder, "versions.sqlite");
    const old = { todos: { title: { type: "string" } } } as const;
    const next = {
      todos: { title: { type: "string" }, id: { type: "integer" }, done: { type: "boolean", initial: true } },
      lists: { name: { type: "string" } },
    } as const;
    let db = await LocalDB.open({ name: "v", path, backend: "file", schema: old });
    await db.exec("INSERT INTO todos (id, title) VALUES ('1', 'a')");
    await db.close();
    db = await LocalDB.open({ name: "v", path, backend: "file", schema: next });
    await db.exec("INSERT INTO todos (_id, title, id) VALUES ('2', 'b', 7)");
    expect(await db.query("SELECT * FROM todos ORDER BY _id")).toEqual([
      { _id: "1", title: "a", id: null, done: null },
      { _id: "2", title: "b", id: 7, done: null },
    ]);
    await db.close();
    db = await LocalDB.open({ name: "v", path, backend: "file", schema: old });
    await db.exec("UPDATE todos SET title = 'c' WHERE _id = '2'");
    const ops = await outbox(db);
    expect(ops.map((e) => e.op)).toEqual(["I", "I", "U"]);
    expect([...db.tables.keys()]).toEqual(["todos", "lists"]);
    const changed = { todos: { title: { type: "integer" } } } as const;
    await expect(db.declare(changed)).rejects.toMatchObject({ code: "BadConfig" });
    await db.close();
  });

  test("tables that nobody declared are made when they are met, here and from the gateway", async () => {
    const gateway = testGateway({ notes: { text: "string", stars: "integer", open: "boolean" } });
    const a = await LocalDB.open({ name: "a", backend: "memory" });
    const b = await LocalDB.open({ name: "b", backend: "memory" });
    const [syncA, syncB] = [a, b].map((db) => new SyncCoordinator(db, new LocalTransport(gateway.as()))) as [
      SyncCoordinator,
      SyncCoordinator,
    ];
    await syncA.tracker.insert("notes", "1", { text: "hi", stars: 3 });
    await syncA.tracker.update("notes", "1", { open: true });
    await syncA.syncOnce();
    await syncB.syncOnce();
    await syncB.tracker.update("notes", "1", { open: false });
    await syncB.syncOnce();
    await syncA.syncOnce();
    const row = { id: "1", text: "hi", stars: 3, open: 0 };
    expect([await a.query("SELECT * FROM notes"), await b.query("SELECT * FROM notes")]).toEqual([[row], [row]]);
  });
});

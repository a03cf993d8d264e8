import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import factory from "wa-sqlite/dist/wa-sqlite.mjs";
import { LakeSyncError } from "../../../schemas/index.ts";
import { defaultPlatform, LocalDB, LocalTransport, type Platform, SyncCoordinator } from "../../index.ts";
import { testGateway } from "../../testing.ts";
import type { Driver } from "../driver.ts";
import { MEMORY, type SqliteModule, WasmDriver } from "./sqlite.ts";

const wasmBinary = readFileSync(createRequire(import.meta.url).resolve("wa-sqlite/dist/wa-sqlite.wasm"));
const clock = { now: () => Date.now() };
const openWasm = async (): Promise<Driver> =>
  WasmDriver.open((await factory({ wasmBinary })) as SqliteModule, MEMORY, "test", clock);
const openNode = (): Promise<Driver> => defaultPlatform().openDriver({ name: "test", backend: "memory", clock });

for (const [name, open] of [
  ["wa-sqlite", openWasm],
  ["node:sqlite", openNode],
] as const) {
  describe(`driver on ${name}`, () => {
    test("values come back as they went in", async () => {
      const db = await open();
      const values = [
        null,
        0,
        -1,
        2 ** 31,
        0.1,
        2 ** 53 - 1,
        2n ** 62n,
        -(2n ** 62n),
        "",
        "zażółć \u{1f9c0}\ufeff",
        "a\0b",
      ];
      for (const value of values) expect((await db.execute("SELECT ?", [value])).rows[0]?.[0]).toBe(value);
      const bytes = new Uint8Array([0, 1, 255]);
      const [row] = (await db.execute("SELECT ?, ?, ?", [bytes, true, new Uint8Array(0)])).rows;
      expect([new Uint8Array(row?.[0] as Uint8Array), row?.[1]]).toEqual([bytes, 1]);
      await db.close();
    });

    test("changes and tables are told, triggers and views looked through", async () => {
      const db = await open();
      await db.script("CREATE TABLE a (x); CREATE TABLE b (x); CREATE VIEW v AS SELECT * FROM a;");
      await db.execute("CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO b VALUES (NEW.x); END");
      const inserted = await db.execute("INSERT INTO a VALUES (1), (2)");
      expect([inserted.changes, [...inserted.writes].sort()]).toEqual([2, ["a", "b"]]);
      expect(await db.execute("UPDATE a SET x = 3 WHERE x = 9")).toMatchObject({ changes: 0, writes: [] });
      expect(await db.tablesOf("SELECT count(*) FROM v")).toMatchObject({ reads: ["a"], writes: [] });
      const many = await db.executeMany("INSERT INTO b VALUES (?)", [[1], [2], [3]]);
      expect([many.changes, many.writes]).toEqual([3, ["b"]]);
      const returned = await db.execute("DELETE FROM b RETURNING x");
      expect([returned.rows.length, returned.writes]).toEqual([5, ["b"]]);
      await db.close();
    });

    test("errors carry a code", async () => {
      const db = await open();
      await db.script("CREATE TABLE a (x INTEGER PRIMARY KEY, y TEXT NOT NULL) STRICT;");
      const code = (sql: string) => db.execute(sql).then(String, (error) => error.code);
      expect(await code("SELEC")).toBe("BadRequest");
      expect(await code("INSERT INTO a VALUES ('x', 'y')")).toBe("WrongType");
      expect(await code("INSERT INTO a VALUES (1, NULL)")).toBe("NotNull");
      expect(await code("INSERT INTO a VALUES (1, x'00')")).toBe("WrongType");
      await db.execute("INSERT INTO a VALUES (1, 'y')");
      expect(await code("INSERT INTO a VALUES (1, 'y')")).toBe("Conflict");
      await db.close();
    });

    test("[C8] a device syncs on it", async () => {
      const platform: Platform = { ...defaultPlatform(), openDriver: open };
      const types = { title: "string", rank: "number", count: "integer", done: "boolean", icon: "bytes" } as const;
      const schema = {
        todos: Object.fromEntries(Object.entries(types).map(([column, type]) => [column, { type }])),
      };
      const gateway = testGateway({ todos: types });
      const device = async () => {
        const db = await LocalDB.open({ name: "d", schema, platform });
        return { db, sync: new SyncCoordinator(db, new LocalTransport(gateway.as())) };
      };
      const [a, b] = [await device(), await device()];
      await a.sync.tracker.insertMany(
        "todos",
        Array.from({ length: 300 }, (_, n) => [
          `r${n}`,
          { title: `t${n}`, rank: n / 3, count: 2n ** 60n + BigInt(n), done: n % 2 === 0 },
        ]),
      );
      await a.db.exec("UPDATE todos SET icon = x'00ff', rank = 0.1 + 0.2 WHERE id = 'r7'");
      await a.sync.syncOnce();
      await b.sync.syncOnce();
      const rows = await a.db.query("SELECT * FROM todos ORDER BY id");
      expect(rows).toHaveLength(300);
      expect(await b.db.query("SELECT * FROM todos ORDER BY id")).toEqual(rows);
      await a.db.close();
      await b.db.close();
    });
  });
}

test("[C2] a SQLite that was cut off in the middle of a call answers nothing any more", async () => {
  const clock = { now: () => 1 };
  const db = await WasmDriver.open((await factory({ wasmBinary })) as SqliteModule, MEMORY, "test", clock);
  await db.script("CREATE TABLE a (x)");
  await expect(db.execute("no SQL")).rejects.toMatchObject({ code: "BadRequest" });
  await expect(db.execute("SELECT ?", [{} as never])).rejects.toMatchObject({ code: "WrongType" });
  expect(db.torn).toBe(false);
  clock.now = () => {
    throw new LakeSyncError("BadRequest", "no time");
  };
  await expect(db.execute("INSERT INTO a SELECT lakesync_hlc()")).rejects.toMatchObject({ code: "StorageUnavailable" });
  expect(db.torn).toBe(true);
  // Its statement is still open, so that SQLite would take this write and not commit it.
  await expect(db.execute("INSERT INTO a VALUES (2)")).rejects.toMatchObject({ code: "StorageUnavailable" });
  await expect(db.script("DELETE FROM a")).rejects.toMatchObject({ code: "StorageUnavailable" });
  await db.close();
});

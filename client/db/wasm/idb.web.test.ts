/** IndexedDB refuses to store a commit: the file in memory goes back to what is stored. */
/// <reference path="./wa-sqlite.d.ts" />
import { afterEach, expect, test } from "vitest";
import factory from "wa-sqlite/dist/wa-sqlite.mjs";
import { defaultPlatform, LocalDB, SyncTracker } from "../../index.ts";
import { openIdb } from "./idb.ts";
import { type SqliteModule, WasmDriver } from "./sqlite.ts";

const real = IDBDatabase.prototype.transaction;
afterEach(() => {
  IDBDatabase.prototype.transaction = real;
});

/** Every write to IndexedDB ends as it does when the quota is used up. */
function fill(): void {
  IDBDatabase.prototype.transaction = function (...args) {
    const stores = real.apply(this, args);
    if (args[1] === "readwrite") {
      Object.defineProperty(stores, "error", { value: new DOMException("no room", "QuotaExceededError") });
      setTimeout(() => stores.abort());
    }
    return stores;
  };
}

async function open(name: string) {
  const openDriver = async () =>
    WasmDriver.open((await factory()) as SqliteModule, await openIdb(name), name, { now: Date.now });
  const { tabs: _, ...platform } = { ...defaultPlatform(), openDriver };
  const db = await LocalDB.open({ name, schema: { todos: { title: { type: "string" } } }, platform });
  return { db, tracker: new SyncTracker(db) };
}

const idsOf = async (db: LocalDB, sql = "SELECT id FROM todos ORDER BY id"): Promise<string[]> =>
  (await db.query<{ id: string }>(sql)).map((row) => row.id);

test("[C1] a full disk is an error of its own code, takes back the write that did not fit, and no other", async () => {
  const name = `full-${Date.now()}`;
  const { db, tracker } = await open(name);
  let commits = 0;
  db.onCommit(() => commits++);
  await tracker.insert("todos", "1", { title: "a" });
  fill();
  await expect(tracker.insert("todos", "2", { title: "b" })).rejects.toMatchObject({ code: "StorageFull" });
  const many = tracker.transaction(async (t) => {
    for (let n = 0; n < 300; n++) await t.insert("todos", `m${n}`, { title: "x".repeat(1000) });
  });
  await expect(many).rejects.toMatchObject({ code: "StorageFull" });
  expect(await idsOf(db)).toEqual(["1"]);
  IDBDatabase.prototype.transaction = real;
  await tracker.insert("todos", "2", { title: "b" });
  expect(commits).toBe(2);
  await db.close();
  const { db: again } = await open(name);
  expect(await idsOf(again)).toEqual(["1", "2"]);
  expect(await idsOf(again, "SELECT row_id AS id FROM lakesync_outbox ORDER BY hlc")).toEqual(["1", "2"]);
  expect(await again.query("PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
  await again.close();
});

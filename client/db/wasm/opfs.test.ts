/** The OPFS file system on a disk that crashes at any write and gets full at any byte. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { expect, test } from "vitest";
import factory from "wa-sqlite/dist/wa-sqlite.mjs";
import { defaultPlatform, LocalDB, SyncTracker } from "../../index.ts";
import { MemoryOpfs, TestWorld } from "../../testing.ts";
import { openOpfs } from "./opfs.ts";
import { type SqliteModule, WasmDriver } from "./sqlite.ts";

const wasmBinary = readFileSync(createRequire(import.meta.url).resolve("wa-sqlite/dist/wa-sqlite.wasm"));
const SCHEMA = { todos: { title: { type: "string" } } } as const;

async function open(disk: MemoryOpfs, name = "db") {
  disk.mount();
  const openDriver = async () =>
    WasmDriver.open((await factory({ wasmBinary })) as SqliteModule, await openOpfs(name), name, { now: Date.now });
  const db = await LocalDB.open({ name, schema: SCHEMA, platform: { ...defaultPlatform(), openDriver } });
  return { db, tracker: new SyncTracker(db) };
}

const idsOf = async (db: LocalDB): Promise<string[]> =>
  (await db.query<{ id: string }>("SELECT id FROM todos ORDER BY id")).map((row) => row.id);
const pendingIdsOf = async (db: LocalDB): Promise<string[]> =>
  (await db.query<{ id: string }>("SELECT row_id AS id FROM lakesync_outbox ORDER BY row_id")).map((row) => row.id);

test("a commit is one write, however many pages it changed", async () => {
  const disk = new MemoryOpfs();
  const { db, tracker } = await open(disk);
  await tracker.insert("todos", "0", { title: "a" });
  const before = disk.writes;
  await tracker.insert("todos", "1", { title: "b" });
  expect(disk.writes).toBe(before + 1);
  await tracker.insertMany(
    "todos",
    Array.from({ length: 200 }, (_, n) => [`m${n}`, { title: "x".repeat(200) }]),
  );
  expect(disk.writes).toBe(before + 2);
  await db.close();
});

test("[C2] crash after crash, in the middle of any write, on a disk that is full at times: all that was committed is there, in whole transactions", async () => {
  const { random } = new TestWorld(7);
  const pick = (n: number) => Math.floor(random() * n);
  let disk = new MemoryOpfs();
  /** Rows of transactions that are known to be there. */
  let expected = new Set<string>();
  let torn = 0;
  let fulls = 0;
  for (let life = 0; life < 24; life++) {
    const { db, tracker } = await open(disk);
    await db.exec("PRAGMA cache_size = 10"); // large transactions spill into the log before they end
    const crashAt = disk.writes + 1 + pick(life % 4 === 3 ? 400 : 15);
    let left: MemoryOpfs | undefined;
    disk.onWrite = (file, data, at) => {
      if (disk.writes === crashAt && !left) left = disk.torn(file, data, at, pick(data.length + 1));
    };
    let whole = new Set(expected);
    for (let n = 0; !left; n++) {
      const rows = pick(6) === 0 ? 300 : 1 + pick(3);
      const ids = Array.from({ length: rows }, (_, k) => `${life}-${n}-${k}`);
      const takenBack = pick(8) === 0;
      whole = takenBack ? new Set(expected) : new Set([...expected, ...ids]);
      disk.free = pick(4) === 0 ? pick(20_000) : Number.POSITIVE_INFINITY;
      disk.throws = pick(2) === 0;
      const writing = tracker.transaction(async (t, tx) => {
        await t.insertMany(
          "todos",
          ids.map((id) => [id, { title: "x".repeat(300) }]),
        );
        if (rows > 100) await tx.exec("UPDATE todos SET title = 'y' WHERE id LIKE ?", [`${life}-${n}-%`]);
        if (takenBack) throw new Error("taken back");
      });
      const full = await writing.then(
        () => false,
        (error) => error.code === "StorageFull",
      );
      if (full) fulls++;
      if (!left) expected = full ? expected : whole;
    }
    disk.onWrite = () => undefined;
    disk.free = Number.POSITIVE_INFINITY;
    await db.close();
    disk = left;
    const { db: after } = await open(disk);
    const found = new Set(await idsOf(after));
    // The transaction under way at the crash is there, or not.
    expect([expected.size, whole.size], `life ${life}`).toContain(found.size);
    expect(found).toEqual(found.size === whole.size ? whole : expected);
    expect(new Set(await pendingIdsOf(after))).toEqual(found);
    expect(await after.query("PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
    if (found.size < whole.size) torn++;
    expected = found;
    await after.close();
  }
  expect(torn).toBeGreaterThan(4);
  expect(fulls).toBeGreaterThan(4);
});

test.each([true, false])(
  "[C1] a full disk (throws: %s) is an error of its own code, loses nothing, and writing goes on when there is room",
  async (throws) => {
    const disk = new MemoryOpfs();
    disk.throws = throws;
    let { db, tracker } = await open(disk);
    const committed: string[] = [];
    const fill = async (from: number, rows: number) => {
      for (let n = from; n < from + rows; n++) {
        const id = `r${String(n).padStart(5, "0")}`;
        await tracker.insertMany("todos", [[id, { title: "z".repeat(5000) }]]);
        committed.push(id);
      }
    };
    for (const [at, free] of [0, 1, 5000, 100_000].entries()) {
      disk.free = free;
      await expect(fill(at * 10_000, 5000)).rejects.toMatchObject({ code: "StorageFull" });
      expect(await idsOf(db)).toEqual(committed);
      disk.free = Number.POSITIVE_INFINITY;
      await fill(at * 10_000 + 5000, 20);
    }
    await db.close();
    ({ db, tracker } = await open(disk));
    expect(await idsOf(db)).toEqual(committed);
    expect(await pendingIdsOf(db)).toEqual(committed);
    expect(await db.query("PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
    await db.close();
  },
);

test("a database may have a long name", async () => {
  const disk = new MemoryOpfs();
  const name = "an-app-with-a-long-name".repeat(8);
  const { db, tracker } = await open(disk, name);
  await tracker.insert("todos", "1", { title: "a" });
  await db.close();
  expect(await idsOf((await open(disk, name)).db)).toEqual(["1"]);
});

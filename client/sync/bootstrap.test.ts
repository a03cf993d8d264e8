import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { type Claims, type ClientId, DeltaBatchBuilder, LakeSyncError, packHlc } from "../../schemas/index.ts";
import { type FirstSync, LocalDB, type LocalGateway, LocalTransport, SyncCoordinator } from "../index.ts";
import { flaky, type TestGateway, TestWorld, testGateway } from "../testing.ts";

const folder = mkdtempSync(join(tmpdir(), "lakesync-bootstrap-"));
afterAll(() => rmSync(folder, { recursive: true }));

const TABLES = { todos: { title: "string", rank: "integer" } } as const;
const SCHEMA = { todos: { title: { type: "string" }, rank: { type: "integer" } } } as const;
const ADMIN: Claims = { sub: "root", role: "admin" };
const T0 = Date.UTC(2026, 0, 1);
let files = 0;

/** Another device's edits. */
let ticks = 0;
async function edit(gateway: TestGateway, edits: readonly (readonly ["I" | "U" | "D", string, string?])[]) {
  const builder = new DeltaBatchBuilder("todos");
  const other = "other" as ClientId;
  for (const [letter, id, title] of edits)
    builder.add(
      letter,
      id,
      packHlc(T0 - 100_000, ++ticks),
      other,
      letter === "D" ? {} : { title: title ?? id, rank: ticks },
    );
  await gateway.as(ADMIN).push({ clientId: other, batches: [builder.build()] });
}

const id = (n: number) => `row-${String(n).padStart(4, "0")}`;
const fill = (gateway: TestGateway, from: number, to: number) =>
  edit(
    gateway,
    Array.from({ length: to - from }, (_, k) => ["I", id(from + k)] as const),
  );

function world(rows = 200) {
  const time = new TestWorld();
  time.nowMs = T0;
  const gateway = testGateway(TABLES, { nowMs: () => time.nowMs });
  const path = join(folder, `${++files}.sqlite`);
  const open = async (through: LocalGateway = gateway.as()) => {
    const db = await LocalDB.open({ name: "d", backend: "file", path, schema: SCHEMA, platform: time.platform() });
    return { db, sync: new SyncCoordinator(db, new LocalTransport(through)) };
  };
  return { time, gateway, open, filled: () => fill(gateway, 0, rows) };
}

const titles = async (db: LocalDB) =>
  Object.fromEntries(
    (await db.query<{ id: string; title: string }>("SELECT id, title FROM todos ORDER BY id")).map((r) => [
      r.id,
      r.title,
    ]),
  );
const expected = (gateway: TestGateway) =>
  Object.fromEntries([...gateway.rows("todos")].map(([key, { title }]) => [key, title]).sort());

test("[CK1] a first sync installs the checkpoint, tells how far it is, and pulls the tail", async () => {
  const { gateway, open, filled } = world();
  await filled();
  const { rows, chunks } = await gateway.makeCheckpoint(1000);
  await edit(gateway, [
    ["U", id(3), "since"],
    ["D", id(4)],
    ["I", "new"],
  ]);
  const { db, sync } = await open();
  const told: FirstSync[] = [];
  sync.on("firstSync", (step) => told.push(step));
  const report = await sync.syncOnce();
  expect(await titles(db)).toEqual(expected(gateway));
  expect(gateway.chunkCalls).toHaveLength(chunks.length);
  expect(chunks.length).toBeGreaterThan(5);
  expect(told).toHaveLength(chunks.length);
  expect(told.at(-1)).toEqual({ rows, bytes: chunks.reduce((sum, c) => sum + c.bytes, 0), total: rows });
  expect(report.pulled).toBeLessThan(rows + 10);
  expect(gateway.pulls).toBe(1);
  // No outbox entries, and nothing more to come.
  expect(await sync.status()).toMatchObject({ pending: 0 });
  expect(await sync.syncOnce()).toMatchObject({ pulled: 0 });
  await db.close();
});

test("[CK2] a download that breaks off goes on at the missing chunk, in a new process too", async () => {
  const { gateway, open, filled } = world();
  await filled();
  const { chunks } = await gateway.makeCheckpoint(1000);
  const through = gateway.as();
  let calls = 0;
  const breaking: LocalGateway = {
    ...through,
    chunk: async (name) => {
      if (++calls > 5) throw new LakeSyncError("Network", "gone");
      return (await through.chunk?.(name)) as Uint8Array;
    },
  };
  const first = await open(breaking);
  await expect(first.sync.syncOnce()).rejects.toThrow("gone");
  await first.db.close();
  expect(gateway.chunkCalls).toHaveLength(5);
  const second = await open();
  const told: FirstSync[] = [];
  second.sync.on("firstSync", (step) => told.push(step));
  await second.sync.syncOnce();
  expect(gateway.chunkCalls.slice(5)).toEqual(chunks.slice(5).map((c) => c.name));
  expect(told[0]?.rows).toBeGreaterThan(60);
  expect(await titles(second.db)).toEqual(expected(gateway));
  await second.db.close();
});

test("[CK2] a chunk that arrives damaged is fetched again; one that lies damaged makes the device pull", async () => {
  const { gateway, open, filled } = world();
  await filled();
  const { chunks } = await gateway.makeCheckpoint(1000);
  const { name = "" } = chunks[3] ?? {};
  const sound = gateway.chunks.get(name) as Uint8Array;
  const flipped = sound.map((byte, at) => (at === 100 ? byte ^ 1 : byte));
  const through = gateway.as();
  let damaged = 1;
  const noisy: LocalGateway = {
    ...through,
    chunk: async (wanted) =>
      wanted === name && damaged-- > 0 ? flipped : ((await through.chunk?.(wanted)) as Uint8Array),
  };
  const { db, sync } = await open(noisy);
  await sync.syncOnce();
  expect(gateway.pulls).toBe(1);
  expect(await titles(db)).toEqual(expected(gateway));
  await db.close();
  const other = world();
  await other.filled();
  const made = await other.gateway.makeCheckpoint(1000);
  other.gateway.chunks.set(made.chunks[3]?.name ?? "", flipped);
  const device = await other.open();
  await device.sync.syncOnce();
  expect(await titles(device.db)).toEqual(expected(other.gateway));
  await device.db.close();
});

test("[CK1] a plan whose chunks are gone is dropped for the next checkpoint; rows of the first that died are not kept", async () => {
  const { gateway, open, filled } = world();
  await filled();
  await gateway.makeCheckpoint(1000);
  const through = gateway.as();
  let calls = 0;
  const { db, sync } = await open({
    ...through,
    chunk: async (name) => {
      if (++calls === 8) {
        await edit(gateway, [
          ["D", id(1)],
          ["D", id(2)],
          ["U", id(3), "changed"],
        ]);
        await gateway.makeCheckpoint(900);
        throw new LakeSyncError("CursorExpired", "gone");
      }
      return (await through.chunk?.(name)) as Uint8Array;
    },
  });
  await sync.syncOnce();
  expect(await titles(db)).toEqual(expected(gateway));
  expect(await titles(db)).not.toHaveProperty(id(1));
  await db.close();
});

test("[PL8] an expired cursor makes the device install a checkpoint again; its outbox and its own rows stay on top", async () => {
  const { gateway, open, filled } = world(60);
  await filled();
  const { db, sync } = await open();
  await sync.syncOnce();
  await edit(gateway, [
    ["D", id(5)],
    ["U", id(6), "theirs"],
  ]);
  await gateway.makeCheckpoint(500);
  const expired = { ...gateway.as() };
  let expire = true;
  await db.exec("UPDATE todos SET title = 'mine' WHERE id = ?", [id(7)]);
  await db.exec("INSERT INTO todos (id, title) VALUES ('own', 'own')");
  const seen: Record<string, string>[] = [];
  const stop = db.onCommit(() => void titles(db).then((now) => seen.push(now)));
  const pull: LocalGateway["pull"] = (call) => {
    if (!expire) return expired.pull(call);
    expire = false;
    throw new LakeSyncError("CursorExpired", "too old");
  };
  const working = new SyncCoordinator(db, new LocalTransport({ ...expired, pull }));
  await working.syncOnce();
  stop();
  expect(gateway.chunkCalls.length).toBeGreaterThan(3);
  for (const now of seen) expect(now).toMatchObject({ [id(7)]: "mine", own: "own" });
  expect(await titles(db)).toEqual(expected(gateway));
  expect(expected(gateway)).toMatchObject({ [id(7)]: "mine", own: "own", [id(6)]: "theirs" });
  expect(await titles(db)).not.toHaveProperty(id(5));
  await db.close();
});

test("[PL8] [C9] a checkpoint that is too old itself is installed once; then the device pulls", async () => {
  const { gateway, open, filled } = world(60);
  await filled();
  const stale = await gateway.makeCheckpoint(500);
  const through = gateway.as();
  const { db, sync } = await open({
    ...through,
    pull: (call) => {
      if (call.cursor === stale.cursor) throw new LakeSyncError("CursorExpired", "too old");
      return through.pull(call);
    },
  });
  await sync.syncOnce();
  expect(gateway.chunkCalls).toHaveLength(stale.chunks.length);
  expect(await titles(db)).toEqual(expected(gateway));
  await db.close();
});

test("[C4] edits of rows before they are installed, and rows with the ids of rows that come, merge as ever", async () => {
  const { gateway, open, filled } = world();
  await filled();
  await gateway.makeCheckpoint(1000);
  const through = gateway.as();
  const { db, sync } = await open({
    ...through,
    push: () => Promise.reject(new LakeSyncError("Unavailable", "later")),
  });
  await db.exec("INSERT INTO todos (id, title) VALUES (?, 'mine'), ('own', 'own')", [id(150)]);
  await expect(sync.syncOnce()).rejects.toThrow("later");
  const writing = new SyncCoordinator(
    db,
    new LocalTransport({
      ...through,
      chunk: async (name) => {
        await db.exec("UPDATE todos SET title = title || '!' WHERE id IN ('own', ?)", [id(0)]);
        await db.exec("INSERT INTO todos (id, title) VALUES (?, 'mine too') ON CONFLICT DO NOTHING", [id(190)]);
        return (await through.chunk?.(name)) as Uint8Array;
      },
    }),
  );
  await writing.syncOnce();
  await writing.syncOnce();
  expect(await titles(db)).toEqual(expected(gateway));
  expect(expected(gateway)).toMatchObject({ [id(150)]: "mine", [id(190)]: "mine too" });
  expect((await db.query("SELECT * FROM lakesync_outbox")).length).toBe(0);
  await db.close();
});

test("[CK1] [C4] [C9] any edits on both sides, any losses on the way: the device ends with the gateway's rows", async () => {
  const row = fc.integer({ min: 0, max: 30 });
  const step = fc.oneof(
    fc.record({
      do: fc.constant("theirs" as const),
      op: fc.constantFrom("I" as const, "U" as const, "D" as const),
      row,
    }),
    fc.record({ do: fc.constant("mine" as const), op: fc.constantFrom("I" as const, "U" as const, "D" as const), row }),
    fc.record({ do: fc.constant("sync" as const), op: fc.constant("I" as const), row }),
    fc.record({ do: fc.constant("checkpoint" as const), op: fc.constant("I" as const), row }),
    fc.record({ do: fc.constant("restart" as const), op: fc.constant("I" as const), row }),
    fc.record({ do: fc.constant("expire" as const), op: fc.constant("I" as const), row }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.nat(1e6), async (steps, seed) => {
      const { gateway, open, filled } = world(20);
      const { random } = new TestWorld(seed);
      await filled();
      await gateway.makeCheckpoint(300);
      const network = flaky(gateway.as(), random, { request: 0.15, answer: 0.15, twice: 0.1 });
      const lossy: LocalGateway = {
        ...network,
        chunk: async (name) => {
          if (random() < 0.2) throw new LakeSyncError("Network", "lost");
          return (await network.chunk?.(name)) as Uint8Array;
        },
      };
      let { db, sync } = await open(lossy);
      for (const { do: what, op, row: n } of steps) {
        if (what === "theirs") await edit(gateway, [[op, id(n), `t${n}`]]);
        else if (what === "mine" && op === "I")
          await db.exec("INSERT INTO todos (id, title) VALUES (?, 'm') ON CONFLICT DO NOTHING", [id(n)]);
        else if (what === "mine" && op === "U")
          await db.exec("UPDATE todos SET title = title || 'm' WHERE id = ?", [id(n)]);
        else if (what === "mine") await db.exec("DELETE FROM todos WHERE id = ?", [id(n)]);
        else if (what === "sync") await sync.syncOnce().catch(() => undefined);
        else if (what === "checkpoint") await gateway.makeCheckpoint(200 + n * 20);
        else if (what === "expire") await db.transaction((tx) => tx.setMeta("cursor", ""));
        else {
          await db.close();
          ({ db, sync } = await open(lossy));
        }
      }
      const final = new SyncCoordinator(db, new LocalTransport(gateway.as()));
      await final.syncOnce();
      expect(await titles(db)).toEqual(expected(gateway));
      await db.close();
    }),
    { numRuns: 60 },
  );
});

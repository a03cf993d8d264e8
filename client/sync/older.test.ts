/** Devices that ask for rows that have left a hot window (HW3). */
import { expect, test } from "vitest";
import {
  type Claims,
  type ClientId,
  cellsAt,
  type DeltaBatch,
  DeltaBatchBuilder,
  LakeSyncError,
  packHlc,
} from "../../schemas/index.ts";
import { LocalDB, type LocalGateway, LocalTransport, SyncCoordinator, type SyncOptions } from "../index.ts";
import { TestWorld, testGateway } from "../testing.ts";

const SCHEMA = { todos: { title: { type: "string" } } } as const;
const ADMIN: Claims = { sub: "root", role: "admin" };
const T0 = Date.UTC(2026, 0, 1);
const ids = Array.from({ length: 40 }, (_, n) => `row-${String(n).padStart(2, "0")}`);
const LEFT = 30;
const other = "other" as ClientId;
const NOTHING = { cursor: "", chunks: [], rows: 0 };

/** A page as a shard gives it from which the first rows have left. */
function withoutLeft(batch: DeltaBatch): DeltaBatch {
  const builder = new DeltaBatchBuilder(batch.table);
  for (const [at, id] of batch.rowIds.entries())
    if (ids.indexOf(id) < 0 || ids.indexOf(id) >= LEFT || batch.ops[at] !== "I")
      builder.add(batch.ops[at] as "I", id, batch.hlcs[at] as never, other, cellsAt(batch, at));
  return builder.build();
}

async function world() {
  const time = new TestWorld();
  time.nowMs = T0;
  const gateway = testGateway({ todos: { title: "string" } }, { nowMs: () => time.nowMs });
  let ticks = 0;
  const edit = async (letter: "I" | "U" | "D", some: readonly string[], title?: string) => {
    const builder = new DeltaBatchBuilder("todos");
    for (const id of some)
      builder.add(letter, id, packHlc(T0, ++ticks), other, letter === "D" ? {} : { title: title ?? id });
    await gateway.as(ADMIN).push({ clientId: other, batches: [builder.build()] });
  };
  await edit("I", ids);
  await gateway.makeCheckpoint(300);
  const real = gateway.as();
  const asked: boolean[] = [];
  const windowed: LocalGateway = {
    ...real,
    checkpoint: async (_, older = false) => {
      asked.push(older);
      return older ? gateway.checkpoint : NOTHING;
    },
    pull: async (call) => {
      const page = await real.pull(call);
      return call.cursor === "" || page.resync ? { ...page, batches: page.batches.map(withoutLeft) } : page;
    },
  };
  const db = await LocalDB.open({ name: "d", backend: "memory", schema: SCHEMA, platform: time.platform() });
  const device = (options: SyncOptions, through = windowed) =>
    new SyncCoordinator(db, new LocalTransport(through), options);
  const titles = async () =>
    Object.fromEntries(
      (await db.query<{ id: string; title: string }>("SELECT id, title FROM todos ORDER BY id")).map((r) => [
        r.id,
        r.title,
      ]),
    );
  const all = () => Object.fromEntries([...gateway.rows("todos")].map(([key, { title }]) => [key, title]).sort());
  return { time, gateway, edit, windowed, asked, db, device, titles, all };
}

test("[HW3] a device has the window; once it asks for older rows it has all, and keeps them when it asks no more", async () => {
  const { edit, db, device, titles, all, asked, gateway } = await world();
  await device({}).syncOnce();
  expect(Object.keys(await titles())).toEqual(ids.slice(LEFT));
  await db.exec("UPDATE todos SET title = 'mine' WHERE id = ?", [ids[35] as string]);
  await db.exec("INSERT INTO todos (id, title) VALUES ('new', 'waits')");
  await edit("D", [ids[2] as string]);
  await edit("U", [ids[3] as string], "late");
  await device({ older: true }).syncOnce();
  expect(await titles()).toEqual(all());
  expect(await titles()).toMatchObject({ [ids[35] as string]: "mine", new: "waits", [ids[3] as string]: "late" });
  expect(asked).toEqual([false, true]);
  const fetched = gateway.chunkCalls.length;
  expect(fetched).toBe(gateway.checkpoint.chunks.length);
  await device({ older: true }).syncOnce();
  await device({}).syncOnce();
  expect(await titles()).toEqual(all());
  expect([asked.length, gateway.chunkCalls.length]).toEqual([2, fetched]);
  await db.close();
});

test("[HW3] [PL5] new rules, and a cursor that has expired, leave it all rows", async () => {
  const { gateway, edit, db, device, titles, all, asked } = await world();
  const sync = device({ older: true });
  await sync.syncOnce();
  for (const byPage of [true, false]) {
    gateway.resyncByPage = byPage;
    gateway.setRules({ buckets: [{ name: `all-${byPage}`, tables: ["todos"], filters: [], write: [] }] });
    await edit("D", [ids[byPage ? 4 : 5] as string]);
    await gateway.makeCheckpoint(300);
    await edit("U", [ids[6] as string], `again ${byPage}`);
    await sync.syncOnce();
    expect(await titles()).toEqual(all());
  }
  expect(asked).toEqual([true, true, true]);
  await db.close();
});

test("[HW3] [V2] a device that differs is repaired with all rows, without losing those that left", async () => {
  const { time, db, device, titles, all } = await world();
  const sync = device({ older: true, verifyMs: 1000 });
  const diverged: unknown[] = [];
  sync.on("diverged", (event) => diverged.push(event));
  await sync.syncOnce();
  await db.query("SELECT 1");
  // A value changes on disk, under the tracker.
  await db.applyRemote(async (tx) => {
    await tx.run("UPDATE todos SET title = 'damaged' WHERE id IN (?, ?)", [ids[1] as string, ids[33] as string]);
  });
  for (let round = 0; round < 3; round++) {
    time.nowMs += 3_600_000;
    await sync.syncOnce();
  }
  expect(diverged).toEqual([{ tables: ["todos"], persists: false }]);
  expect(await titles()).toEqual(all());
  await db.close();
});

test("[HW3] [C9] while the gateway cannot say where older rows are, the device waits for them", async () => {
  const { windowed, db, device, titles, all } = await world();
  const notYet: LocalGateway = {
    ...windowed,
    checkpoint: async () => {
      throw new LakeSyncError("Unavailable", "not made yet");
    },
  };
  await db.exec("INSERT INTO todos (id, title) VALUES ('new', 'goes out all the same')");
  await expect(device({ older: true }, notYet).syncOnce()).rejects.toMatchObject({ code: "Unavailable" });
  expect(all()).toHaveProperty("new");
  expect(Object.keys(await titles())).toEqual(["new"]);
  await device({ older: true }).syncOnce();
  expect(await titles()).toEqual(all());
  await db.close();
});

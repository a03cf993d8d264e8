import { afterEach, expect, test } from "vitest";
import type { Claims, SyncRules } from "../../schemas/index.ts";
import { rowsTable } from "../db/schema.ts";
import { LocalDB, type LocalGateway, LocalTransport, SyncCoordinator, type SyncEvents } from "../index.ts";
import { OPEN_RULES, TestWorld, testGateway } from "../testing.ts";

const TABLES = { todos: { title: "string", rank: "integer", done: "boolean" }, notes: { text: "string" } } as const;
const SCHEMA = {
  todos: { title: { type: "string" }, rank: { type: "integer" }, done: { type: "boolean" } },
  notes: { text: { type: "string" } },
} as const;
const HOUR = 3_600_000;
const opened: LocalDB[] = [];
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close();
});

function setup(rules: SyncRules = OPEN_RULES(TABLES)) {
  const world = new TestWorld();
  const gateway = testGateway(TABLES, { nowMs: () => world.nowMs, rules });
  const device = async (claims?: Claims, verifyMs?: number, through: LocalGateway = gateway.as(claims)) => {
    const db = await LocalDB.open({ name: "d", backend: "memory", schema: SCHEMA, platform: world.platform() });
    opened.push(db);
    const sync = new SyncCoordinator(db, new LocalTransport(through), verifyMs === undefined ? {} : { verifyMs });
    const told: SyncEvents["diverged"][] = [];
    sync.on("diverged", (event) => told.push(event));
    /** Behind the back of triggers and bookkeeping, as a disk would do it. */
    const damage = (sql: string) =>
      db.applyRemote(async (tx) => {
        await tx.run(sql);
      });
    const rows = () => db.query("SELECT id, title, rank, done FROM todos ORDER BY id");
    return { db, sync, told, damage, rows };
  };
  return { world, gateway, device };
}

/** Two devices that hold the same 1,200 rows, of which some were edited, deleted and made again. */
async function pair(verifyMs?: number) {
  const { world, gateway, device } = setup();
  const [a, b] = [await device(undefined, verifyMs), await device(undefined, verifyMs)];
  await a.sync.tracker.insertMany(
    "todos",
    Array.from({ length: 1200 }, (_, n) => [`r${n}`, { title: `t${n}`, rank: n, done: n % 2 === 0 }] as const),
  );
  await a.sync.syncOnce();
  await b.sync.syncOnce();
  await b.sync.tracker.update("todos", "r7", { rank: null });
  await b.sync.tracker.delete("todos", "r8");
  await b.sync.tracker.delete("todos", "r9");
  await b.sync.tracker.insert("todos", "r9", { title: "again" });
  await b.sync.syncOnce();
  await a.sync.syncOnce();
  return { world, gateway, a, b };
}

const DAMAGE = {
  "a flipped cell": "UPDATE todos SET title = 'T42' WHERE id = 'r42'",
  "a flipped cell of a row that was edited": "UPDATE todos SET done = 1 WHERE id = 'r7'",
  "a stamp": `UPDATE ${rowsTable("todos")} SET ins = replace(ins, '0', '1') WHERE id = 'r3'`,
  "a row that is gone": "DELETE FROM todos WHERE id = 'r1'",
  "a row whose bookkeeping is gone": `DELETE FROM ${rowsTable("todos")} WHERE id = 'r1'`,
  "a row that there is not": `INSERT INTO ${rowsTable("todos")} (id, ins) VALUES ('x', '019b76db174e0000abcdefgh')`,
};

for (const [what, sql] of Object.entries(DAMAGE))
  test(`[V2] ${what} is found, the app is told, and the device holds the gateway's rows again, with its outbox`, async () => {
    const { world, gateway, a, b } = await pair();
    const sound = await a.rows();
    await a.damage(sql);
    await a.sync.tracker.update("todos", "r100", { title: "mine" });
    // What is due now and then is not done at each pull.
    await a.sync.syncOnce();
    expect(a.told).toEqual([]);
    world.nowMs += HOUR;
    const pushed = gateway.pushes;
    await a.sync.tracker.update("todos", "r101", { title: "mine, too" });
    await a.sync.syncOnce();
    expect(a.told).toEqual([{ tables: ["todos"], persists: false }]);
    expect(gateway.pushes).toBe(pushed + 1);
    const mine: Record<string, string> = { r100: "mine", r101: "mine, too" };
    expect(await a.rows()).toEqual(sound.map((row) => ({ ...row, title: mine[row.id as string] ?? row.title })));
    await b.sync.syncOnce();
    expect(await b.rows()).toEqual(await a.rows());
    world.nowMs += HOUR;
    for (const { sync } of [a, b]) await sync.syncOnce();
    expect([a.told.length, b.told.length]).toEqual([1, 0]);
  });

test("[V2] edits that wait are no difference, nor are they lost by the resync", async () => {
  const { world, gateway, a } = await pair();
  // Written while the comparison goes on, and so in the outbox.
  let writing = 0;
  a.sync.on("progress", () => {
    if (writing++ < 5) void a.sync.tracker.update("todos", `r${writing * 200}`, { title: `late ${writing}` });
  });
  world.nowMs += HOUR;
  await a.damage("UPDATE todos SET rank = -1 WHERE id = 'r500'");
  await a.sync.syncOnce();
  expect(a.told).toHaveLength(1);
  await a.sync.syncOnce();
  world.nowMs += HOUR;
  await a.sync.syncOnce();
  expect(a.told).toHaveLength(1);
  const shown = new Map((await a.rows()).map((row) => [row.id, row]));
  expect(shown.get("r500")?.rank).toBe(500);
  for (const [id, row] of gateway.rows("todos")) expect(shown.get(id)?.title ?? null).toBe(row.title ?? null);
  expect(shown.get("r400")?.title).toBe("late 2");
});

test("[V2] a device that sees a part of a table compares nothing of it; refused edits are no difference", async () => {
  const rules: SyncRules = {
    buckets: [
      { name: "own", tables: ["todos"], filters: [{ column: "title", op: "eq", value: "jwt:sub" }] },
      { name: "all", tables: ["notes"], filters: [], write: [{ column: "text", op: "neq", value: "no" }] },
    ],
  };
  const { gateway, device } = setup(rules);
  const [alice, bob] = [
    await device({ sub: "alice", role: "client" }, 0),
    await device({ sub: "bob", role: "client" }, 0),
  ];
  for (const { sync, name } of [
    { ...alice, name: "alice" },
    { ...bob, name: "bob" },
  ]) {
    await sync.tracker.insert("todos", `of ${name}`, { title: name });
    await sync.tracker.insert("notes", `of ${name}`, { text: name });
    await sync.syncOnce();
  }
  await alice.sync.syncOnce();
  await alice.sync.tracker.update("notes", "of bob", { text: "no" });
  await alice.sync.tracker.insert("notes", "refused", { text: "no" });
  await alice.sync.tracker.update("todos", "of alice", { title: "bob" });
  for (let round = 0; round < 2; round++) for (const { sync } of [alice, bob]) await sync.syncOnce();
  expect(await alice.sync.rejections()).toHaveLength(3);
  await alice.damage("UPDATE todos SET rank = 9");
  await alice.sync.syncOnce();
  expect([alice.told, bob.told]).toEqual([[], []]);
  expect(gateway.rows("notes").size).toBe(2);
  await alice.damage("UPDATE notes SET text = 'flipped' WHERE id = 'of bob'");
  await alice.sync.syncOnce();
  expect(alice.told).toEqual([{ tables: ["notes"], persists: false }]);
  expect(await alice.db.query("SELECT text FROM notes ORDER BY id")).toEqual([{ text: "alice" }, { text: "bob" }]);
});

test("[V2] where a resync does not help, the app is told so, and there is none for a day", async () => {
  const { world, gateway, device } = setup();
  const through = gateway.as();
  let lies = true;
  const lying: LocalGateway = {
    ...through,
    pull: async (call) => {
      const page = await through.pull(call);
      return lies && page.digests ? { ...page, digests: { ...page.digests, todos: "1-0-0" } } : page;
    },
  };
  const { sync, told } = await device(undefined, 60_000, lying);
  await sync.tracker.insert("todos", "a", { title: "a" });
  await sync.syncOnce();
  world.nowMs += 60_000;
  await sync.syncOnce();
  const twice = [
    { tables: ["todos"], persists: false },
    { tables: ["todos"], persists: true },
  ];
  expect(told).toEqual(twice);
  world.nowMs += 20 * HOUR;
  const pulls = gateway.pulls;
  await sync.syncOnce();
  expect([told, gateway.pulls]).toEqual([twice, pulls + 1]);
  world.nowMs += 5 * HOUR;
  lies = false;
  await sync.syncOnce();
  expect(told).toEqual(twice);
});

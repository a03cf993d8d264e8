import { expect, test } from "vitest";
import { LakeSyncError, type SyncRules } from "../../schemas/index.ts";
import {
  LocalDB,
  type LocalGateway,
  LocalTransport,
  type RejectedEdit,
  SyncCoordinator,
  type SyncOptions,
} from "../index.ts";
import { settled, TestWorld, testGateway } from "../testing.ts";
import { MACHINE } from "./machine.ts";

const TABLES = { todos: { title: "string", done: "boolean" } } as const;
const SCHEMA = { todos: { title: { type: "string" }, done: { type: "boolean" } } } as const;

function world() {
  const time = new TestWorld();
  const gateway = testGateway(TABLES, { nowMs: () => time.nowMs });
  const device = async (through: LocalGateway = gateway.as(), options: SyncOptions = {}, skew = { ms: 0 }) => {
    const db = await LocalDB.open({ name: "d", backend: "memory", schema: SCHEMA, platform: time.platform(skew) });
    const sync = new SyncCoordinator(db, new LocalTransport(through), options);
    return { db, sync, tracker: sync.tracker, titles: () => titlesOf(db) };
  };
  return { time, gateway, device };
}

const titlesOf = async (db: LocalDB) =>
  (await db.query<{ title: string }>("SELECT title FROM todos ORDER BY id")).map((r) => r.title);

const ONLY_MILK: SyncRules = {
  buckets: [{ name: "all", tables: ["todos"], filters: [], write: [{ column: "title", op: "eq", value: "milk" }] }],
};

test("[C6] a refused edit is taken back to the gateway's value, the app is told, the rest lands", async () => {
  const { gateway, device } = world();
  gateway.setRules(ONLY_MILK);
  const { db, sync, tracker } = await device();
  const told: RejectedEdit[] = [];
  sync.on("rejected", (edit) => told.push(edit));
  await tracker.insert("todos", "1", { title: "milk", done: false });
  await sync.syncOnce();
  await tracker.update("todos", "1", { title: "gin" });
  await tracker.update("todos", "1", { done: true });
  await tracker.insert("todos", "2", { title: "rum" });
  await tracker.insert("todos", "3", { title: "milk" });
  await sync.syncOnce();
  await settled();
  expect(await db.query("SELECT id, title, done FROM todos ORDER BY id")).toEqual([
    { id: "1", title: "milk", done: 1 },
    { id: "3", title: "milk", done: null },
  ]);
  expect(told.map((e) => [e.op, e.rowId, e.code, e.columns])).toEqual([
    ["UPDATE", "1", "WriteForbidden", { title: "gin" }],
    ["INSERT", "2", "WriteForbidden", { title: "rum" }],
  ]);
  expect(await sync.rejections()).toEqual(told);
  await sync.dismiss((told[0] as RejectedEdit).id);
  expect((await sync.rejections()).map((e) => e.rowId)).toEqual(["2"]);
});

test("[C6] taking an edit back respects newer edits and what others wrote meanwhile", async () => {
  const { gateway, device } = world();
  const a = await device();
  const b = await device();
  await a.tracker.insert("todos", "1", { title: "milk", done: false });
  await a.sync.syncOnce();
  await b.sync.syncOnce();
  gateway.setRules(ONLY_MILK);
  await a.tracker.delete("todos", "1");
  await a.tracker.insert("todos", "1", { title: "gin" });
  await b.tracker.update("todos", "1", { done: true });
  await b.sync.syncOnce();
  await a.sync.syncOnce();
  expect(await a.titles()).toEqual([]); // the delete was allowed, the insert was not
  expect((await a.sync.rejections()).map((e) => e.op)).toEqual(["INSERT"]);
});

test("[C9] an edit that spoils its whole push is found, set aside, and the others go on", async () => {
  const { gateway, device } = world();
  const real = gateway.as();
  const picky: LocalGateway = {
    ...real,
    push: (call) => {
      if (call.batches.some((batch) => batch.rowIds.includes("bad"))) throw new LakeSyncError("BadRequest", "I choke.");
      return real.push(call);
    },
  };
  const { sync, tracker } = await device(picky);
  await tracker.insertMany(
    "todos",
    [1, 2, "bad", 4, 5].map((id) => [String(id), { title: `t${id}` }]),
  );
  await sync.syncOnce();
  expect([...gateway.rows("todos").keys()].sort()).toEqual(["1", "2", "4", "5"]);
  expect((await sync.rejections()).map((e) => [e.rowId, e.code])).toEqual([["bad", "BadRequest"]]);
});

test("[H3] a device whose clock is a day ahead restamps what was never acknowledged, and loses nothing", async () => {
  const { time, gateway, device } = world();
  const skew = { ms: 86_400_000 };
  const late = await device(undefined, {}, skew);
  const right = await device();
  await late.tracker.insert("todos", "1", { title: "a" });
  await late.tracker.update("todos", "1", { title: "b" });
  await late.tracker.update("todos", "1", { title: "c" });
  await late.sync.syncOnce();
  expect(await late.sync.rejections()).toEqual([]);
  time.nowMs += 5;
  await right.sync.syncOnce();
  await right.tracker.update("todos", "1", { title: "newest" });
  await right.sync.syncOnce();
  await late.sync.syncOnce();
  expect([await late.titles(), await right.titles(), gateway.rows("todos").get("1")?.title]).toEqual([
    ["newest"],
    ["newest"],
    "newest",
  ]);
  await late.tracker.update("todos", "1", { title: "after" });
  await late.sync.syncOnce();
  await right.sync.syncOnce();
  expect(await right.titles()).toEqual(["after"]);
});

test("[H3] a device whose clock is a day behind learns the time, and its edits win when they are the latest", async () => {
  const { time, device } = world();
  const slow = await device(undefined, {}, { ms: -86_400_000 });
  const right = await device();
  await right.tracker.insert("todos", "1", { title: "first" });
  await right.sync.syncOnce();
  await slow.sync.syncOnce();
  time.nowMs += 1000;
  await right.tracker.update("todos", "1", { title: "second" });
  time.nowMs += 1000;
  await slow.tracker.update("todos", "1", { title: "third" });
  await slow.sync.syncOnce();
  await right.sync.syncOnce();
  expect([await slow.titles(), await right.titles()]).toEqual([["third"], ["third"]]);
});

test("[PL5] [PL4] when the rules change, a device ends with the rows it may see, and with its outbox", async () => {
  for (const byPage of [true, false]) {
    const { gateway, device } = world();
    gateway.resyncByPage = byPage;
    const { sync, tracker, titles } = await device();
    await tracker.insertMany(
      "todos",
      ["milk", "gin", "rum"].map((title) => [title, { title }]),
    );
    await sync.syncOnce();
    gateway.setRules({
      buckets: [{ name: "x", tables: ["todos"], filters: [{ column: "title", op: "neq", value: "gin" }], write: [] }],
    });
    await tracker.update("todos", "milk", { title: "oat milk" });
    await tracker.insert("todos", "tea", { title: "tea" });
    await sync.syncOnce();
    expect(await titles()).toEqual(["oat milk", "rum", "tea"]);
  }
});

test("[PL5] rows stay in sight while a resync of many pages is under way, and it survives being broken off", async () => {
  const { gateway, device } = world();
  const real = gateway.as();
  let pagesLeft = 100;
  const cut: LocalGateway = {
    ...real,
    pull: (call) => {
      if (pagesLeft-- <= 0) throw new LakeSyncError("Network", "gone");
      return real.pull({ ...call, maxBytes: 200 });
    },
  };
  const { db, sync, tracker, titles } = await device(cut);
  const ids = Array.from({ length: 40 }, (_, n) => `r${n}`);
  await tracker.insertMany(
    "todos",
    ids.map((id) => [id, { title: id }]),
  );
  await sync.syncOnce();
  gateway.setRules({
    buckets: [{ name: "x", tables: ["todos"], filters: [{ column: "title", op: "neq", value: "r7" }], write: [] }],
  });
  pagesLeft = 3;
  await expect(sync.syncOnce()).rejects.toMatchObject({ code: "Network" });
  expect(await titles()).toHaveLength(40);
  pagesLeft = 100;
  await sync.syncOnce();
  expect(await titles()).toHaveLength(39);
  expect(await db.query("SELECT * FROM lakesync_seen")).toEqual([]);
});

test("[S6] another user on the same device: the edits go out under a new client id", async () => {
  const { gateway, device } = world();
  const { db, sync, tracker } = await device(gateway.as({ sub: "alice", role: "client" }));
  await tracker.insert("todos", "1", { title: "hers" });
  await sync.syncOnce();
  const before = db.clientId;
  const bob = new SyncCoordinator(db, new LocalTransport(gateway.as({ sub: "bob", role: "client" })));
  await bob.tracker.insert("todos", "2", { title: "his" });
  await bob.syncOnce();
  expect(db.clientId).not.toBe(before);
  expect([...gateway.rows("todos").keys()].sort()).toEqual(["1", "2"]);
});

test("automatic sync: local commits go out, pokes bring changes in, nothing is polled in between", async () => {
  const { time, gateway, device } = world();
  const [a, b] = [await device(), await device()];
  a.sync.startAutoSync();
  b.sync.startAutoSync();
  await time.pass(10);
  await a.tracker.insert("todos", "1", { title: "milk" });
  await time.pass(10);
  expect(await b.titles()).toEqual(["milk"]);
  const pulls = gateway.pulls;
  await time.pass(20_000);
  expect(gateway.pulls).toBe(pulls);
  await time.pass(20_000);
  expect(gateway.pulls).toBeGreaterThan(pulls); // a poke may have been lost
  a.sync.stopAutoSync();
  b.sync.stopAutoSync();
  await time.pass(200_000);
  expect(await a.sync.status()).toMatchObject({ state: "stopped", pending: 0 });
});

test("[C9] failures are retried with growing waits, as long as the gateway asks, and never given up", async () => {
  const { time, gateway, device } = world();
  const real = gateway.as();
  let answer: (() => never) | undefined;
  const tries: number[] = [];
  const moody: LocalGateway = {
    pull: (call) => real.pull(call),
    push: (call) => {
      tries.push(time.nowMs);
      answer?.();
      return real.push(call);
    },
  };
  const { sync, tracker } = await device(moody);
  const errors: string[] = [];
  sync.on("error", (error) => errors.push(error.code));
  answer = () => {
    throw new LakeSyncError("LogFull", "full", { retryAfterMs: 5000 });
  };
  sync.startAutoSync();
  await time.pass(1);
  await tracker.insert("todos", "1", { title: "milk" });
  await time.pass(300_000);
  const waits = tries.slice(1).map((at, n) => at - (tries[n] as number));
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(5000);
  expect(Math.max(...waits)).toBeLessThanOrEqual(60_000);
  expect(new Set(errors)).toEqual(new Set(["LogFull"]));
  expect(await sync.status()).toMatchObject({ state: "waiting", pending: 1, error: { code: "LogFull" } });
  answer = undefined;
  await time.pass(60_000);
  expect(await sync.status()).toMatchObject({ state: "idle", pending: 0, error: undefined });
  sync.stopAutoSync();
});

test("[C9] a request that is never answered does not stop sync; neither does stop and start at any moment", async () => {
  const { time, gateway, device } = world();
  const real = gateway.as();
  let deaf = true;
  const dead: LocalGateway = {
    push: (call) => (deaf ? new Promise(() => {}) : real.push(call)),
    pull: (call) => (deaf ? new Promise(() => {}) : real.pull(call)),
  };
  const { sync, tracker } = await device(dead);
  sync.startAutoSync();
  await tracker.insert("todos", "1", { title: "milk" });
  await time.pass(46_000);
  expect((await sync.status()).error?.code).toBe("Timeout");
  for (let n = 0; n < 10; n++) {
    sync.stopAutoSync();
    sync.startAutoSync();
    await time.pass(n * 100);
  }
  deaf = false;
  await time.pass(120_000);
  expect(await sync.status()).toMatchObject({ state: "idle", pending: 0 });
  expect(gateway.rows("todos").size).toBe(1);
  sync.stopAutoSync();
});

test("[C9] from every state and after every event, something is running or scheduled, unless sync is stopped", () => {
  for (const [state, answers] of Object.entries(MACHINE)) {
    for (const [event, { to, effect }] of Object.entries(answers)) {
      const name = `${state} on ${event}`;
      if (to === "stopped") expect(["nothing", "halt"], name).toContain(effect);
      else if (to === "syncing" && state !== "syncing") expect(effect, name).toBe("run");
      else if (state === "syncing" && to === "idle") expect(effect, name).toBe("rest");
      else if (state === "syncing" && to === "waiting") expect(effect, name).toBe("backOff");
      else expect(to, name).toBe(state);
    }
  }
});

test("[C9] a device that waits tries at once when the platform says that it is online again", async () => {
  const { time, gateway } = world();
  let online: () => void = () => undefined;
  let broken = true;
  const through: LocalGateway = {
    ...gateway.as(),
    pull: (call) => {
      if (broken) throw new LakeSyncError("Network", "no");
      return gateway.as().pull(call);
    },
  };
  const platform = {
    ...time.platform(),
    onOnline: (run: () => void) => {
      online = run;
      return () => {
        online = () => undefined;
      };
    },
  };
  const db = await LocalDB.open({ name: "d", backend: "memory", schema: SCHEMA, platform });
  const sync = new SyncCoordinator(db, new LocalTransport(through));
  sync.startAutoSync();
  await settled();
  expect((await sync.status()).state).toBe("waiting");
  broken = false;
  online();
  await settled();
  expect((await sync.status()).state).toBe("idle");
  sync.stopAutoSync();
  online();
  await settled();
  expect((await sync.status()).state).toBe("stopped");
  await db.close();
});

test("[C9] a watchdog cuts off a round that stands still, says so, and sync goes on", async () => {
  const { time, gateway, device } = world();
  const real = gateway.as();
  let hangs = true;
  const through: LocalGateway = {
    push: (call) => real.push(call),
    pull: (call) => (hangs ? new Promise(() => undefined) : real.pull(call)),
  };
  const { sync } = await device(through, { requestMs: 1e9, stallMs: 30_000 }); // no other bound is in the way
  const errors: LakeSyncError[] = [];
  sync.on("error", (error) => errors.push(error));
  sync.startAutoSync();
  await time.pass(29_000);
  expect([errors, (await sync.status()).state]).toEqual([[], "syncing"]);
  await time.pass(15_000);
  expect(errors.map((error) => [error.code, error.message])).toContainEqual([
    "Timeout",
    "Sync made no progress and is tried again.",
  ]);
  hangs = false;
  await time.pass(60_000);
  expect(await sync.status()).toMatchObject({ state: "idle", error: undefined });
  sync.stopAutoSync();
});

test("an app hears of changes, of rounds that ended, of refusals and failures, and of each state", async () => {
  const { time, gateway, device } = world();
  gateway.setRules(ONLY_MILK);
  const real = gateway.as();
  let weather: "fair" | "foul" = "fair";
  const through: LocalGateway = {
    push: (call) => {
      if (weather === "foul") throw new LakeSyncError("Network", "no network");
      return real.push(call);
    },
    pull: (call) => real.pull(call),
  };
  const [here, there] = [await device(through), await device()];
  const heard: string[] = [];
  here.sync.on("change", ({ tables, origin }) => heard.push(`change ${[...tables]} ${origin}`));
  here.sync.on("synced", ({ pushed, pulled, rejected }) => heard.push(`synced ${pushed} ${pulled} ${rejected}`));
  here.sync.on("rejected", ({ rowId }) => heard.push(`rejected ${rowId}`));
  here.sync.on("error", ({ code }) => heard.push(`error ${code}`));
  const states: string[] = [];
  const end = here.sync.on("status", ({ state, pending }) => states.push(`${state} ${pending}`));
  const since = () => heard.splice(0);

  await here.tracker.insert("todos", "1", { title: "milk" });
  expect(since()).toEqual(["change todos local"]);
  await here.sync.syncOnce();
  expect(since()).toEqual(["synced 1 1 0"]);
  await there.tracker.insert("todos", "2", { title: "milk" });
  await there.sync.syncOnce();
  await here.sync.syncOnce();
  expect(since()).toEqual(["change todos remote", "synced 0 1 0"]);
  await here.tracker.insert("todos", "3", { title: "gin" });
  await here.sync.syncOnce();
  await settled();
  expect(since()).toEqual(["change todos local", "change todos remote", "rejected 3", "synced 0 0 1"]);
  weather = "foul";
  await here.tracker.update("todos", "1", { done: true });
  await expect(here.sync.syncOnce()).rejects.toMatchObject({ code: "Network" });
  expect(since()).toEqual(["change todos local", "error Network"]);
  states.length = 0;
  here.sync.startAutoSync();
  await time.pass(10);
  weather = "fair";
  await time.pass(3000);
  here.sync.stopAutoSync();
  await settled();
  expect(states.filter((state, at) => state !== states[at - 1])).toEqual([
    "syncing 1",
    "waiting 1",
    "syncing 1",
    "idle 0",
    "stopped 0",
  ]);
  end();
  here.sync.startAutoSync();
  await time.pass(10);
  here.sync.stopAutoSync();
  expect(states.at(-1)).toBe("stopped 0");
});

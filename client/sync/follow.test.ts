/** Pages that come unasked, on the device's side. */
import { expect, test } from "vitest";
import { LakeSyncError } from "../../schemas/index.ts";
import { LocalDB, LocalTransport, type Page, SyncCoordinator } from "../index.ts";
import { settled, TestWorld, testGateway } from "../testing.ts";
import type { TransportEvents } from "../transport/port.ts";

/** A device that follows, and another one's edits as pages for it. */
async function following() {
  const time = new TestWorld();
  const gateway = testGateway({ todos: { title: "string" } }, { nowMs: () => time.nowMs });
  const platform = time.platform();
  const open = (name: string) =>
    LocalDB.open({ name, backend: "memory", schema: { todos: { title: { type: "string" } } }, platform });
  const [db, other] = [await open("device"), await open("other")];
  const through = new LocalTransport(gateway.as());
  let events: TransportEvents | undefined;
  let sent: (() => Promise<void>) | undefined;
  const sync = new SyncCoordinator(db, {
    pull: (call) => through.pull(call),
    checkpoint: (tables) => through.checkpoint(tables),
    chunk: (name) => through.chunk(name),
    push: async (call) => {
      const answer = await through.push(call);
      await sent?.();
      return answer;
    },
    listen: (heard) => {
      events = heard;
      heard.live(true);
      return () => undefined;
    },
  });
  sync.startAutoSync();
  await settled();
  const cursor = async () =>
    (await db.query<{ value: string }>("SELECT value FROM lakesync_meta WHERE key = 'cursor'"))[0]?.value ?? "";
  let reached = await cursor();
  /** The page after the last one. */
  const next = async (): Promise<Page> => {
    const page = await through.pull({ clientId: db.clientId, cursor: reached });
    const follows = reached;
    reached = page.cursor;
    return { ...page, follows };
  };
  const others = new SyncCoordinator(other, new LocalTransport(gateway.as()));
  const write = async (id: string, title: string): Promise<Page> => {
    await others.tracker.insert("todos", id, { title });
    await others.syncOnce();
    return next();
  };
  const titles = async () =>
    (await db.query<{ title: string }>("SELECT title FROM todos ORDER BY id")).map((row) => row.title);
  const give = async (...pages: Page[]) => {
    for (const page of pages) events?.page?.(page);
    await settled();
  };
  const atPush = (run: () => Promise<void>) => {
    sent = run;
  };
  return { db, sync, gateway, write, next, give, titles, atPush };
}

test("[PL2] [C5] pages that go on from the cursor are merged without a pull, those that wait in one commit", async () => {
  const { db, sync, gateway, write, give, titles } = await following();
  const pages = [await write("1", "a"), await write("2", "b"), await write("3", "c"), await write("4", "d")];
  let commits = 0;
  db.onCommit(() => commits++);
  const { pulls } = gateway;
  await give(...pages);
  expect(await titles()).toEqual(["a", "b", "c", "d"]);
  expect(gateway.pulls).toBe(pulls);
  expect(commits).toBeLessThanOrEqual(2);
  expect(await sync.status()).toMatchObject({ state: "idle", error: undefined });
});

test("[C9] a page that goes on from elsewhere makes the device pull; one that came twice changes nothing", async () => {
  const { gateway, write, give, titles } = await following();
  const [missed, second] = [await write("1", "a"), await write("2", "b")];
  const { pulls } = gateway;
  await give(second);
  expect(await titles()).toEqual(["a", "b"]);
  expect(gateway.pulls).toBe(pulls + 1);
  await give(missed, second);
  expect(await titles()).toEqual(["a", "b"]);
  const third = await write("3", "c");
  await give(third, third);
  expect(await titles()).toEqual(["a", "b", "c"]);
});

test("[C9] after a push the device pulls, unless a page of it has come", async () => {
  const { sync, gateway, next, give, titles, atPush } = await following();
  let pulls = gateway.pulls;
  await sync.tracker.insert("todos", "1", { title: "alone" });
  await settled();
  expect(gateway.pulls).toBe(pulls + 1);
  await next(); // where that pull got to
  const pages: Page[] = [];
  atPush(async () => {
    pages.push(await next());
    pulls = gateway.pulls;
    void give(...pages);
  });
  await sync.tracker.insert("todos", "2", { title: "with its page" });
  await settled();
  expect(pages[0]?.batches.map((batch) => batch.rowIds)).toEqual([["2"]]);
  expect(gateway.pulls).toBe(pulls);
  expect(await titles()).toEqual(["alone", "with its page"]);
  expect(await sync.status()).toMatchObject({ state: "idle", pending: 0 });
});

test("[C4] [C2] a page hides no edit that waits; those that may tell of it before its answer are left to a pull", async () => {
  const { db, sync, write, next, give, titles, atPush } = await following();
  await give(await write("1", "theirs"));
  atPush(async () => {
    throw new LakeSyncError("Network", "The answer was lost.");
  });
  await db.exec("UPDATE todos SET title = 'mine' WHERE id = '1'");
  await settled();
  const echo = await next();
  await db.exec("UPDATE todos SET title = 'mine again' WHERE id = '1'");
  expect(echo.batches.map((batch) => batch.rowIds)).toEqual([["1"]]);
  await give(echo);
  await give(await write("2", "new"));
  // Whether the first edit landed nobody knows: a page could tell that it is not for this device, and would tell it once.
  expect(await titles()).toEqual(["mine again"]);
  expect(await sync.status()).toMatchObject({ pending: 2 });
  atPush(async () => undefined);
  await sync.syncOnce();
  expect(await titles()).toEqual(["mine again", "new"]);
  expect(await sync.status()).toMatchObject({ pending: 0 });
});

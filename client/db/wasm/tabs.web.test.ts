/**
 * Several tabs of one database. Each `LocalDB.open` has a worker of its own, as each tab has; ending a worker is what the
 * browser does when a tab is killed.
 */
import { describe, expect, test } from "vitest";
import { LocalDB, type LocalGateway, LocalTransport, SyncCoordinator, SyncTracker } from "../../index.ts";
import { recordWorkers } from "../../testing/workers.ts";

const SCHEMA = { todos: { title: { type: "string" } } } as const;
let names = 0;
const fresh = () => `tabs-${Date.now()}-${names++}`;

const workers = recordWorkers();

async function openTab(name: string, backend: "opfs" | "idb") {
  const db = await LocalDB.open({ name, backend, schema: SCHEMA });
  const worker = workers.at(-1);
  return { db, tracker: new SyncTracker(db), kill: () => worker?.terminate() };
}

async function until(what: () => boolean | Promise<boolean>, ms = 8000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await what())) {
    if (performance.now() > end) throw new Error("it did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A gateway that takes everything, and says what. */
function recorder() {
  const pushed: { id: string; cells: Record<string, unknown> }[] = [];
  let at = 0;
  const serverHlc = "0000000000000000" as never;
  const gateway: LocalGateway = {
    push: ({ batches }) => {
      for (const { rowIds, columns } of batches)
        pushed.push(
          ...rowIds.map((id, n) => ({ id, cells: Object.fromEntries(columns.map((c) => [c.name, c.values[n]])) })),
        );
      return { rejected: [], serverHlc, cursorHint: "" };
    },
    pull: () => ({ batches: [], cursor: String(++at), hasMore: false, resync: false, serverHlc }),
  };
  return { gateway, pushed };
}

describe.each(["opfs", "idb"] as const)("tabs on %s", (backend) => {
  test("[C3] [C5] all read and write one database, and hear of each other's commits", async () => {
    const name = fresh();
    const tabs = [await openTab(name, backend), await openTab(name, backend), await openTab(name, backend)] as const;
    expect(tabs.map((t) => t.db.leads)).toEqual([true, false, false]);
    expect(new Set(tabs.map((t) => t.db.clientId)).size).toBe(1);
    let rows = 0;
    tabs[2].db.live<{ n: number }>("SELECT count(*) AS n FROM todos", [], ([row]) => {
      rows = row?.n ?? 0;
    });
    await Promise.all(
      tabs.map(async ({ tracker }, tab) => {
        for (let n = 0; n < 20; n++)
          await tracker.transaction(async (t) => {
            await t.insert("todos", `${tab}-${n}`, { title: "a" });
            await t.update("todos", `${tab}-${n}`, { title: `b${n}` });
          });
      }),
    );
    await until(() => rows === 60);
    const stamps = await tabs[1].db.query<{ h: string }>("SELECT printf('%016x', hlc) AS h FROM lakesync_outbox");
    expect(new Set(stamps.map((s) => s.h)).size).toBe(120);
    for (const { db } of [...tabs].reverse()) await db.close();
  });

  test("[C3] [C2] the leader is killed again and again while all write: nothing that was committed is lost", async () => {
    const name = fresh();
    const tabs: Awaited<ReturnType<typeof openTab>>[] = [];
    for (let tab = 0; tab < 5; tab++) tabs.push(await openTab(name, backend));
    const killed = new Set<number>();
    const committed: string[] = [];
    const failures = new Set<string>();
    let stop = false;
    const writers = tabs.map(async ({ tracker }, tab) => {
      for (let n = 0; !stop; n++) {
        const id = `${tab}-${n}`;
        await tracker.insert("todos", id, { title: id }).then(
          () => committed.push(id),
          (error) => failures.add(error.code),
        );
      }
    });
    const leads = (tab: number) => tabs[tab]?.db.leads === true && !killed.has(tab);
    const leading = () => [0, 1, 2, 3, 4].find(leads);
    for (let kills = 0; kills < 4; kills++) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      const victim = leading() as number;
      killed.add(victim);
      tabs[victim]?.kill();
      const started = performance.now();
      await until(() => leading() !== undefined);
      const before = committed.length;
      await until(() => committed.length > before + 5);
      console.info(`${backend}: taken over and writing ${Math.round(performance.now() - started)} ms after the kill`);
    }
    stop = true;
    const last = tabs[leading() as number] as (typeof tabs)[number];
    const live = writers.filter((_, tab) => !killed.has(tab));
    await Promise.all(live);
    const ids = new Set((await last.db.query<{ id: string }>("SELECT id FROM todos")).map((r) => r.id));
    expect(committed.filter((id) => !ids.has(id))).toEqual([]);
    // What was under way at a kill is there, or was told.
    expect([...failures].filter((code) => code !== "StorageUnavailable")).toEqual([]);
    const waiting = await last.db.query<{ id: string }>("SELECT row_id AS id FROM lakesync_outbox");
    expect(waiting.length).toBe(ids.size);
    expect(new Set(waiting.map((row) => row.id))).toEqual(ids);
    expect(await last.db.query("PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
    await last.db.close();
  });

  test("[C9] [C2] a worker that breaks down in a transaction is replaced: what was committed is there, and nothing of the rest runs by itself", async () => {
    const name = fresh();
    const tabs = [await openTab(name, backend), await openTab(name, backend)] as const;
    const [{ db, tracker }] = tabs;
    await tracker.insert("todos", "1", { title: "a" });
    const broken = tracker.transaction(async (t, tx) => {
      await t.insert("todos", "2", { title: "b" });
      await tx.query("SELECT lakesync_clock('no stamp', 0)").catch(() => undefined); // throws, through SQLite
      await t.insert("todos", "3", { title: "c" }).catch(() => undefined);
    });
    await expect(broken).rejects.toMatchObject({ code: "StorageUnavailable" });
    for (const tab of tabs) {
      await tab.tracker.insert("todos", `later-${tabs.indexOf(tab)}`, { title: "d" });
      expect(await tab.db.query("SELECT id FROM todos ORDER BY id")).toContainEqual({ id: "1" });
    }
    expect(await db.query("SELECT id FROM todos ORDER BY id")).toEqual(
      ["1", "later-0", "later-1"].map((id) => ({ id })),
    );
    for (const tab of tabs) await tab.db.close();
  });

  test("[H1] [H3] who takes over goes on with the clock of the one before", async () => {
    const name = fresh();
    const tabs = [await openTab(name, backend), await openTab(name, backend)] as const;
    const aheadMs = 7_200_000;
    await tabs[0].db.transaction((tx) => tx.setMeta("offset", String(aheadMs)));
    tabs[0].kill();
    await until(() => tabs[1].db.leads);
    await tabs[1].tracker.insert("todos", "1", { title: "a" });
    const [entry] = await tabs[1].db.query<{ ms: number }>("SELECT hlc >> 16 AS ms FROM lakesync_outbox");
    expect(entry?.ms).toBeGreaterThan(Date.now() + aheadMs - 60_000);
    await tabs[1].db.close();
  });

  test("[C3] one tab syncs for all, and another goes on when it is killed", async () => {
    const name = fresh();
    const { gateway, pushed } = recorder();
    const ids = () => pushed.map(({ id }) => id);
    const tabs = [await openTab(name, backend), await openTab(name, backend)] as const;
    const syncs = tabs.map(({ db }) => new SyncCoordinator(db, new LocalTransport(gateway)));
    for (const sync of syncs) sync.startAutoSync();
    await tabs[1].tracker.insert("todos", "1", { title: "a" });
    await until(() => ids().includes("1"));
    expect(tabs[1].db.leads).toBe(false);
    await until(async () => (await syncs[1]?.status())?.state === "idle"); // as the tab that leads says
    syncs[0]?.stopAutoSync(); // its page is gone with its worker
    tabs[0].kill();
    await until(() => tabs[1].db.leads);
    await tabs[1].tracker.insert("todos", "2", { title: "b" });
    await until(() => ids().includes("2"));
    // The killed tab may have died before it noted the answer: then "1" goes out twice, and lands once (PU2).
    expect([...new Set(ids())]).toEqual(["1", "2"]);
    syncs[1]?.stopAutoSync();
    await tabs[1].db.close();
  });

  test("[C9] the tab that leads pushes what another tab's newer app writes, its columns too", async () => {
    const name = fresh();
    const { gateway, pushed } = recorder();
    const tabs = [await openTab(name, backend), await openTab(name, backend)] as const;
    const sync = new SyncCoordinator(tabs[0].db, new LocalTransport(gateway));
    sync.startAutoSync();
    const errors: unknown[] = [];
    sync.on("error", (error) => errors.push(error));
    await tabs[1].db.declare({ todos: { title: { type: "string" }, photo: { type: "bytes" } } });
    await tabs[1].tracker.insert("todos", "1", { title: "a", photo: new Uint8Array([1, 2]) });
    await until(() => pushed.length > 0);
    expect(pushed).toEqual([{ id: "1", cells: { title: "a", photo: "AQI=" } }]);
    await until(() => tabs[0].db.tables.get("todos")?.columns.length === 2);
    expect(errors).toEqual([]);
    sync.stopAutoSync();
    for (const { db } of [...tabs].reverse()) await db.close();
  });

  test("[C5] what a tab committed and told nobody before it was killed, the others show", async () => {
    const name = fresh();
    const tabs = [await openTab(name, backend), await openTab(name, backend), await openTab(name, backend)] as const;
    const shown: (string[] | undefined)[] = [undefined, undefined];
    [tabs[0], tabs[1]].forEach(({ db }, at) => {
      db.live<{ id: string }>("SELECT id FROM todos", [], (rows) => {
        shown[at] = rows.map(({ id }) => id);
      });
    });
    await until(() => shown.every((rows) => rows !== undefined));
    const channel = BroadcastChannel.prototype.postMessage;
    BroadcastChannel.prototype.postMessage = () => undefined; // of this page: the killed one's
    await tabs[2].tracker.insert("todos", "1", { title: "a" });
    BroadcastChannel.prototype.postMessage = channel;
    expect(shown).toEqual([[], []]);
    tabs[2].kill();
    await until(() => shown.every((ids) => ids?.length === 1));
    for (const { db } of [tabs[1], tabs[0]]) await db.close();
  });
});

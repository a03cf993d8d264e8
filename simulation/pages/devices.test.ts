/** Pages in a real Chromium and a device in Node, against a real gateway: tabs that share a device, and devices that converge. */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { boolean, type Client, defineTable, integer, text } from "../../client/index.ts";
import { Field, GATEWAY_ID, inPage, type PageGlobals, until } from "./testing.ts";

const schema = defineTable({
  todos: { title: text(), count: integer(), done: boolean() },
  tabbed: { title: text() },
  many: { title: text(), at: integer() },
});
const spec = JSON.parse(JSON.stringify(schema)) as typeof schema;

let field: Field;
beforeAll(async () => {
  field = await Field.start(schema);
}, 120_000);
afterAll(() => field?.stop(), 60_000);

type Sdk = PageGlobals["lakesync"];
type Backend = "opfs" | "idb";
type Device = Client<typeof schema>;
type Held = { client: Device };

/** Runs in the page: opens the device, over a WebSocket, and leaves it there. */
async function openDevice(
  sdk: Sdk,
  spec: typeof schema,
  backend: Backend,
  table: string,
  gatewayId: string,
  token: string,
) {
  const page = globalThis as unknown as Held & { location: { origin: string } };
  page.client = await sdk.createClient({
    name: table,
    backend,
    schema: spec,
    url: page.location.origin,
    gatewayId,
    token,
    sync: { tables: [table], backoffFirstMs: 100, backoffMaxMs: 1000 },
  });
}

const open = async (page: Page, backend: Backend, table: string): Promise<void> =>
  inPage(page, openDevice, spec, backend, table, GATEWAY_ID, await field.token());

const pendingOf = (page: Page) =>
  inPage(page, async () => (await (globalThis as unknown as Held).client.sync.status()).pending);

test.each(["opfs", "idb"] as const)(
  "[C3] [C2] five tabs on %s: all write, the leader's page is killed again and again, nothing is lost, one connection",
  async (backend) => {
    const browser = await field.browser();
    const committed = new Set<string>();
    const refused = new Set<string>();
    const before = await field.head();
    const taken = (await field.rows("tabbed")).size;
    const openTab = async (): Promise<Page> => {
      const page = await field.page(browser);
      await page.exposeFunction("committed", (id: string) => void committed.add(id));
      await page.exposeFunction("refused", (code: string) => void refused.add(code));
      await open(page, backend, "tabbed");
      return page;
    };
    /** Runs in the page: writes until it is told to stop. */
    const write = async (_sdk: Sdk, tab: string) => {
      const page = globalThis as unknown as Held & {
        enough?: boolean;
        done?: boolean;
        committed(id: string): Promise<void>;
        refused(code: string): void;
      };
      const writing = async () => {
        for (let n = 0; !page.enough; n++) {
          const id = `${tab}-${n}`;
          await page.client.tabbed.insert({ id, title: id }).then(
            () => page.committed(id),
            (error) => page.refused(error.code),
          );
        }
        page.done = true;
      };
      void writing();
    };
    const leads = (page: Page) => inPage(page, async () => (globalThis as unknown as Held).client.db.leads);
    const leaderOf = async (pages: readonly Page[]): Promise<Page | undefined> => {
      for (const page of pages) if (await leads(page)) return page;
    };
    let pages: Page[] = [];
    let names = 0;
    const name = () => `${backend}-${names++}`;
    for (let tab = 0; tab < 5; tab++) pages.push(await openTab());
    for (const page of pages) await inPage(page, write, name());
    for (let kill = 0; kill < 6; kill++) {
      const sofar = committed.size;
      await until(() => committed.size > sofar + 40);
      const leader = (await leaderOf(pages)) as Page;
      expect((await field.admin("GET", "status")).sockets).toBe(1);
      const devtools = await browser.context.newCDPSession(leader);
      const crashed = new Promise((resolve) => leader.once("crash", resolve));
      void devtools.send("Page.crash").catch(() => undefined);
      await crashed;
      const started = performance.now();
      pages = pages.filter((page) => page !== leader);
      let next: Page | undefined;
      await until(async () => {
        next = await leaderOf(pages);
        return next !== undefined;
      });
      const ledAfter = performance.now() - started;
      const soon = committed.size;
      await until(() => committed.size > soon + 5);
      console.info(
        `${backend}: leads ${Math.round(ledAfter)} ms and writes ${Math.round(performance.now() - started)} ms after the kill`,
      );
      await leader.close();
      const fresh = await openTab();
      pages.push(fresh);
      await inPage(fresh, write, name());
    }
    for (const page of pages)
      await inPage(page, async () => {
        (globalThis as unknown as { enough: boolean }).enough = true;
      });
    for (const page of pages) await page.waitForFunction("globalThis.done");
    const last = pages[0] as Page;
    await until(async () => (await pendingOf(last)) === 0);
    const onDevice = await inPage(last, async () =>
      (globalThis as unknown as Held).client.db.query<{ id: string; title: string }>("SELECT id, title FROM tabbed"),
    );
    const ids = new Set(onDevice.map((row) => row.id));
    expect([...committed].filter((id) => !ids.has(id))).toEqual([]);
    // What was under way at a kill may be there, or was told as such.
    expect([...refused].filter((code) => code !== "StorageUnavailable")).toEqual([]);
    const mine = [...(await field.rows("tabbed"))].filter(([id]) => id.startsWith(backend));
    expect(new Map(mine)).toEqual(
      new Map(onDevice.filter(({ id }) => id.startsWith(backend)).map(({ id, title }) => [id, { title }])),
    );
    expect((await field.head()) - before).toBe(mine.length);
    expect((await field.rows("tabbed")).size).toBe(taken + mine.length);
    expect((await field.admin("GET", "status")).sockets).toBe(1);
    await browser.context.close();
  },
  300_000,
);

/** Runs in the page or here: edits as a user would, and what is on the device. */
interface Plan {
  readonly updates: readonly (readonly [id: string, values: Record<string, unknown>])[];
  readonly deletes: readonly string[];
  readonly inserts: readonly { id: string; title: string }[];
}

async function edit(client: Device, { updates, deletes, inserts }: Plan): Promise<void> {
  for (const [id, values] of updates) await client.todos.update(id, values);
  for (const id of deletes) await client.todos.delete(id);
  for (const row of inserts) await client.todos.insert(row);
}

const SELECT = "SELECT id, title, count, done FROM todos ORDER BY id";

test("[C9] [M2] [M3] two browsers and a device in Node edit offline, the same and other columns, and delete: all end up equal, cell by cell, and equal to the shard", async () => {
  const node = await field.device(schema);
  const rows = Array.from({ length: 40 }, (_, n) => ({
    id: `r${String(n).padStart(2, "0")}`,
    title: `t${n}`,
    count: n,
    done: false,
  }));
  await node.todos.insertMany(rows);
  const pages: Page[] = [];
  for (const backend of ["opfs", "idb"] as const) {
    const page = await field.page(await field.browser());
    await open(page, backend, "todos");
    pages.push(page);
  }
  const [a, b] = pages as [Page, Page];
  const shown = (page: Page) =>
    inPage(page, async (_sdk, sql: string) => (globalThis as unknown as Held).client.db.query(sql), SELECT);
  for (const page of pages) await until(async () => (await shown(page)).length === rows.length);

  const restore = await field.cut();
  const id = (n: number) => `r${String(n).padStart(2, "0")}`;
  const plan = (who: string, at: number): Plan => ({
    updates: [
      ...[0, 1, 2, 3, 4, 5].map((n) => [id(n), { title: `${who} says` }] as const), // all of them, the same column
      ...[6, 7, 8].map(
        (n) => [id(n + at * 3), at === 0 ? { title: who } : at === 1 ? { count: 1000 + n } : { done: true }] as const,
      ),
      ...[20, 21, 22].map(
        (n) => [id(n), at === 0 ? { title: who } : at === 1 ? { count: n * 2 } : { done: true }] as const,
      ), // one row, other columns
      [id(30 + at), { title: `${who} edits what another deletes`, count: null }],
    ],
    deletes: [id(30 + ((at + 1) % 3)), id(33), id(34 + at)],
    inserts: [
      { id: `new-${who}`, title: who },
      { id: "new-by-all", title: who },
    ],
  });
  const inBrowser = (page: Page, edits: Plan) =>
    page.evaluate(`(${edit})(globalThis.client, ${JSON.stringify(edits)})`);
  // Interleaved, so that each wins some; twice, so that there are edits of edits.
  for (let turn = 0; turn < 2; turn++) {
    await inBrowser(a, turn === 0 ? plan("A", 0) : { ...plan("A again", 0), inserts: [], deletes: [] });
    await edit(node, turn === 0 ? plan("N", 2) : { ...plan("N again", 2), inserts: [], deletes: [id(36)] });
    await inBrowser(
      b,
      turn === 0
        ? plan("B", 1)
        : { ...plan("B again", 1), inserts: [{ id: id(33), title: "inserted anew" }], deletes: [] },
    );
  }
  expect(await pendingOf(a)).toBeGreaterThan(10);
  await restore();

  const pending = async () => [await pendingOf(a), await pendingOf(b), (await node.sync.status()).pending];
  await until(async () => (await pending()).every((n) => n === 0));
  const everywhere = async () => [await node.db.query(SELECT), await shown(a), await shown(b)];
  await until(async () => new Set((await everywhere()).map((seen) => JSON.stringify(seen))).size === 1);
  const [seen] = (await everywhere()) as [Record<string, unknown>[]];
  const shard = [...(await field.rows("todos"))]
    .map(([rowId, { title = null, count = null, done = null }]) => ({
      id: rowId,
      title,
      count,
      done: done === null ? null : Number(done),
    }))
    .sort((x, y) => (x.id < y.id ? -1 : 1));
  expect(seen).toEqual(shard);
  // And it is what was meant: nobody's edit of another column is gone, deletes stand, a later insert does.
  const byId = new Map(seen.map((row) => [row.id, row]));
  expect(byId.get(id(20))).toEqual({ id: id(20), title: "A again", count: 40, done: 1 });
  expect(byId.get(id(0))?.title).toBe("B again says");
  expect(byId.get(id(33))).toMatchObject({ title: "inserted anew" });
  expect([30, 31, 32, 34, 35, 36].filter((n) => byId.has(id(n)))).toEqual([]);
  expect(["new-A", "new-B", "new-N", "new-by-all"].filter((name) => !byId.has(name))).toEqual([]);
  await node.close();
}, 180_000);

const MANY = 100_000;

test(`[PL6] [V2] ${MANY} rows are pulled into OPFS, and compared, while the page goes on answering; a flipped cell is found`, async () => {
  const node = await field.device(schema);
  await node.sync.stopAutoSync();
  await node.many.insertMany(
    Array.from({ length: MANY }, (_, n) => ({ id: `m${n}`, title: `row number ${n}`, at: n })),
  );
  await node.sync.syncOnce();
  await node.close();
  const page = await field.page(await field.browser());
  await page.evaluate(`
    globalThis.longest = 0;
    globalThis.beats = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) globalThis.longest = Math.max(globalThis.longest, duration);
    }).observe({ type: "longtask" });
    (function beat() { globalThis.beats++; requestAnimationFrame(beat); })();
  `);
  const started = performance.now();
  await open(page, "opfs", "many");
  const countOf = () =>
    inPage(page, async () => {
      const [row] = await (globalThis as unknown as Held).client.db.query<{ n: number }>(
        "SELECT count(*) AS n FROM many",
      );
      return row?.n ?? 0;
    });
  let seenInBetween = 0;
  await until(async () => {
    const n = await countOf();
    if (n > 0 && n < MANY) seenInBetween++;
    return n === MANY;
  }, 120_000);
  const [row] = await inPage(page, async () =>
    (globalThis as unknown as Held).client.db.query("SELECT count(*) AS n, sum(at) AS at FROM many"),
  );
  expect(row).toEqual({ n: MANY, at: (MANY * (MANY - 1)) / 2 });
  expect(seenInBetween).toBeGreaterThan(0);
  const { longest, beats } = (await page.evaluate("({ longest: globalThis.longest, beats: globalThis.beats })")) as {
    longest: number;
    beats: number;
  };
  console.info(
    `${MANY} rows in ${Math.round(performance.now() - started)} ms; ${beats} frames; longest task of the page: ${longest} ms`,
  );
  expect(beats).toBeGreaterThan(0);
  const compared = await inPage(page, compareAndRepair, GATEWAY_ID, await field.token());
  console.info(
    `${MANY} rows are compared in ${compared.soundMs} ms; longest task of the page: ${compared.longest} ms; repaired in ${compared.repairMs} ms`,
  );
  expect(compared.told).toEqual([[], ["many"], ["many"]]);
  expect(compared.title).toBe("row number 4711");
  expect(compared.waiting).toBe(0);
  expect(compared.longest).toBeLessThan(100);
  expect((await field.rows("many")).get("m1")).toEqual({ title: "mine", at: 1 });
}, 240_000);

/** Runs in the page: a device whose database comes to differ from the gateway's in one cell, with an edit in its outbox. */
async function compareAndRepair(sdk: Sdk, gatewayId: string, token: string) {
  const page = globalThis as unknown as Held & { location: { origin: string }; longest: number };
  const { db, sync: auto } = page.client;
  auto.stopAutoSync();
  const transport = new sdk.HttpTransport({ baseUrl: page.location.origin, gatewayId, token });
  const told: string[] = [];
  const tellings: string[][] = [];
  const timed = async () => {
    await db.exec("DELETE FROM lakesync_meta WHERE key = 'verify'"); // it is due at once
    const sync = new sdk.SyncCoordinator(db, transport, { tables: ["many"], verifyMs: 0 });
    sync.on("diverged", ({ tables }) => told.push(...tables));
    const started = performance.now();
    await sync.syncOnce();
    tellings.push([...told]);
    return Math.round(performance.now() - started);
  };
  page.longest = 0;
  const soundMs = await timed();
  const { longest } = page;
  await db.applyRemote((tx) => tx.exec("UPDATE many SET title = 'flipped' WHERE id = 'm4711'"));
  await page.client.many.update("m1", { title: "mine" });
  const repairMs = await timed();
  await timed();
  const [row] = await db.query<{ title: string }>("SELECT title FROM many WHERE id = 'm4711'");
  const { pending: waiting } = await auto.status();
  return { soundMs, longest, repairMs, told: tellings, title: row?.title, waiting };
}

/** Pages in a real Chromium that are killed, not closed, while they write: a renderer crashes, or the whole browser is shot. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Field, GATEWAY_ID, inPage, type PageGlobals } from "./testing.ts";

const WRITES = 1000;
const KILLS = 20;

let field: Field;
beforeAll(async () => {
  field = await Field.start({ opfs: { title: { type: "string" } }, idb: { title: { type: "string" } } });
}, 120_000);
afterAll(() => field?.stop(), 60_000);

type Backend = "opfs" | "idb";
type Sdk = PageGlobals["lakesync"];

/** Runs in the page: writes row after row, and says which are committed. Sync goes on meanwhile. */
async function write(sdk: Sdk, table: Backend, life: number, writes: number, gatewayId: string, token: string) {
  const { location, committed } = globalThis as unknown as {
    location: { origin: string };
    committed: (id: string) => Promise<void>;
  };
  const db = await sdk.LocalDB.open({
    name: table,
    backend: table,
    schema: { [table]: { title: { type: "string" } } },
  });
  const transport = new sdk.HttpTransport({ baseUrl: location.origin, gatewayId, token });
  const sync = new sdk.SyncCoordinator(db, transport, { tables: [table] });
  sync.startAutoSync();
  for (let n = 0; n < writes; n++) {
    const id = `${String(life).padStart(2, "0")}-${n}`;
    await sync.tracker.insert(table, id, { title: `written in life ${life}` });
    const heard = committed(id);
    if (n % 20 === 0) await heard; // so that the one who kills is not far behind
  }
}

/** Runs in the page: what is on the device; the last time it syncs, too. */
async function look(sdk: Sdk, table: Backend, gatewayId: string, token: string, syncs: boolean) {
  const { location } = globalThis as unknown as { location: { origin: string } };
  const db = await sdk.LocalDB.open({
    name: table,
    backend: table,
    schema: { [table]: { title: { type: "string" } } },
  });
  const transport = new sdk.HttpTransport({ baseUrl: location.origin, gatewayId, token });
  if (syncs) await new sdk.SyncCoordinator(db, transport, { tables: [table] }).syncOnce();
  const rows = await db.query<{ id: string; title: string }>(`SELECT id, title FROM ${table}`);
  const [{ integrity_check }] = (await db.query("PRAGMA integrity_check")) as [{ integrity_check: string }];
  await db.close();
  return { rows, integrity_check };
}

test.each(["opfs", "idb"] as const)(
  `[C2] [C1] on %s, killed ${KILLS} times in the middle of ${WRITES} writes: every commit is there, and arrives once`,
  async (backend) => {
    const token = await field.token();
    const committed = new Set<string>();
    const before = await field.head();
    let browser = await field.browser();
    for (let life = 0; life < KILLS; life++) {
      const page = await field.page(browser);
      const devtools = await page.context().newCDPSession(page);
      const killAt = 20 + ((life * 137) % 600);
      let killing: Promise<void> | undefined;
      let heard = 0;
      await page.exposeFunction("committed", (id: string) => {
        committed.add(id);
        heard++;
        if (heard !== killAt) return;
        if (life % 5 === 4) killing = browser.kill();
        else {
          killing = new Promise((resolve) => page.once("crash", () => resolve()));
          void devtools.send("Page.crash").catch(() => undefined);
        }
      });
      const writing = inPage(page, write, backend, life, WRITES, GATEWAY_ID, token);
      await expect(writing, "it was killed").rejects.toThrow();
      await killing;
      if (life % 5 === 4) browser = await field.browser(browser.profile);
      const after = await field.page(browser);
      const { rows, integrity_check } = await inPage(after, look, backend, GATEWAY_ID, token, false);
      const there = new Set(rows.map((row) => row.id));
      expect([...committed].filter((id) => !there.has(id))).toEqual([]);
      expect(integrity_check).toBe("ok");
      for (const open of browser.context.pages()) await open.close();
    }
    const { rows } = await inPage(await field.page(browser), look, backend, GATEWAY_ID, token, true);
    const onDevice = new Map(rows.map(({ id, title }) => [id, { title }]));
    expect(await field.rows(backend)).toEqual(onDevice);
    // One edit a row, each once in the gateway's history.
    expect((await field.head()) - before).toBe(rows.length);
    expect(rows.length).toBeGreaterThanOrEqual(committed.size);
    console.info(`${backend}: ${committed.size} commits told before ${KILLS} kills, ${rows.length} rows`);
    await browser.context.close();
  },
  300_000,
);

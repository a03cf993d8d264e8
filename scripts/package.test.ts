/**
 * The package as npm would publish it, as its users meet it: unpacked beside nothing but the dependencies that it names, in
 * a fresh Vite project and in a page without a bundler, opened in Chromium.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { publint } from "publint";
import { build, createServer, preview } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { chromiumLaunchOptions, unpackChromium } from "./testing/chromium.ts";

const REPOSITORY = join(import.meta.dirname, "..");
let folder: string;
let tarball: string;
let installed: string;
let browser: Browser;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lakesync-package-"));
  const npm = (...args: string[]) => execFileSync("npm", args, { cwd: REPOSITORY, encoding: "utf8" });
  npm("run", "build");
  const [packed] = JSON.parse(npm("pack", "--json", "--pack-destination", folder)) as [{ filename: string }];
  tarball = join(folder, packed.filename);
  const modules = join(folder, "vite", "node_modules");
  installed = join(modules, "lakesync");
  mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["xzf", tarball, "-C", installed, "--strip-components=1"]);
  const { dependencies } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  for (const name of Object.keys(dependencies))
    cpSync(join(REPOSITORY, "node_modules", name), join(modules, name), { recursive: true });
  unpackChromium();
  browser = await chromium.launch(chromiumLaunchOptions());
}, 120_000);

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

/** An app that counts its own starts in a database without any settings. @param from where it imports the client from */
function writeApp(root: string, from: string): void {
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, "package.json"), '{ "private": true, "type": "module" }');
  writeFileSync(join(root, "index.html"), '<!doctype html><pre></pre><script type="module" src="./main.js"></script>');
  writeFileSync(
    join(root, "main.js"),
    `import { LocalDB, SyncTracker } from ${JSON.stringify(from)};
     const db = await LocalDB.open({ name: "app", schema: { starts: { note: { type: "string" } } } });
     await new SyncTracker(db).insert("starts", crypto.randomUUID(), { note: "é" });
     const [{ n }] = await db.query("SELECT count(*) AS n FROM starts");
     document.querySelector("pre").textContent = db.backend + " " + n;`,
  );
}

/** What the app shows at its first and its second start. */
async function startTwice(url: string): Promise<string[]> {
  const context = await browser.newContext();
  const shown: string[] = [];
  for (let start = 0; start < 2; start++) {
    const page = await context.newPage();
    page.on("pageerror", (error) => shown.push(String(error)));
    await page.goto(url);
    shown.push((await page.locator("pre:not(:empty)").textContent()) ?? "");
    await page.close();
  }
  await context.close();
  return shown;
}

const addressOf = (server: { resolvedUrls: { local: string[] } | null }): string =>
  server.resolvedUrls?.local[0] ?? "nowhere";

test("a fresh Vite project, served as in development and built, has LocalDB on OPFS without any configuration", async () => {
  const root = join(folder, "vite");
  writeApp(root, "lakesync/client");
  const quiet = { root, configFile: false, logLevel: "error" } as const;
  const server = await createServer({ ...quiet, server: { port: 0 } });
  await server.listen();
  expect(await startTwice(addressOf(server))).toEqual(["opfs 1", "opfs 2"]);
  await server.close();
  await build(quiet);
  const built = await preview({ ...quiet, preview: { port: 0 } });
  expect(await startTwice(addressOf(built))).toEqual(["opfs 1", "opfs 2"]);
  await built.close();
});

/** Nothing but a server of files: `preview` transforms nothing. */
const serveFiles = (root: string) =>
  preview({ root, configFile: false, logLevel: "error", build: { outDir: "." }, preview: { port: 0 } });

test("a page without a bundler imports one file of the package, and has the same", async () => {
  const root = join(folder, "plain");
  writeApp(root, "./lakesync/lakesync.js");
  cpSync(join(installed, "dist", "browser"), join(root, "lakesync"), { recursive: true });
  const files = await serveFiles(root);
  expect(await startTwice(addressOf(files))).toEqual(["opfs 1", "opfs 2"]);
  await files.close();
});

/** Runs in the page: inserts until it fails or `rows` are there. @returns ids that were committed, and how it ended */
async function fill(rows: number, quota: boolean) {
  const { LocalDB, SyncTracker } = await (
    globalThis as unknown as { client: Promise<typeof import("../client/index.ts")> }
  ).client;
  const db = await LocalDB.open({ name: "db", backend: "opfs", schema: { blobs: { text: { type: "string" } } } });
  const tracker = new SyncTracker(db);
  const committed: string[] = [];
  let ended = "all";
  for (let n = 0; n < rows && ended === "all"; n++) {
    const id = `${quota ? "full" : "room"}-${n}`;
    await tracker.insert("blobs", id, { text: "z".repeat(100_000) }).then(
      () => committed.push(id),
      (error) => {
        ended = error.code;
      },
    );
  }
  const shown = await db.query<{ id: string }>("SELECT id FROM blobs");
  const waiting = await db.query<{ id: string }>("SELECT row_id AS id FROM lakesync_outbox ORDER BY hlc");
  return { committed, ended, shown: shown.map((r) => r.id).sort(), waiting: waiting.map((r) => r.id) };
}

test("[C1] [C2] a browser whose storage is full: nothing that was committed is lost, by a kill either, and writing goes on when there is room", async () => {
  const root = join(folder, "full");
  mkdirSync(root, { recursive: true });
  writeFileSync(
    join(root, "index.html"),
    '<script type="module">globalThis.client = import("./lakesync/lakesync.js")</script>',
  );
  cpSync(join(installed, "dist", "browser"), join(root, "lakesync"), { recursive: true });
  const files = await serveFiles(root);
  const profile = join(folder, "profile");
  const context = await chromium.launchPersistentContext(profile, chromiumLaunchOptions());
  const visit = async (rows: number, quotaSize?: number) => {
    const page = await context.newPage();
    await page.goto(addressOf(files));
    const devtools = await context.newCDPSession(page);
    const origin = new URL(addressOf(files)).origin;
    if (quotaSize !== undefined) await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize });
    const args = `${rows}, ${quotaSize !== undefined}`;
    await page.waitForFunction("globalThis.client");
    const seen = (await page.evaluate(`(${fill})(${args})`)) as Awaited<ReturnType<typeof fill>>;
    if (quotaSize !== undefined) await devtools.send("Storage.overrideQuotaForOrigin", { origin });
    await page.close(); // its worker dies with the database open
    return seen;
  };
  const roomy = await visit(5);
  const full = await visit(500, 5_000_000);
  expect([roomy.ended, full.ended]).toEqual(["all", "StorageFull"]);
  const committed = [...roomy.committed, ...full.committed];
  expect(full.shown).toEqual([...committed].sort());
  const after = await visit(0);
  expect(after.shown).toEqual([...committed].sort());
  expect(after.waiting).toEqual(committed);
  await context.close();
  await files.close();
});

test("the self-hosted gateway runs from the package, with the adapter that it is given", async () => {
  const root = join(folder, "server");
  const modules = join(root, "node_modules");
  mkdirSync(modules, { recursive: true });
  cpSync(installed, join(modules, "lakesync"), { recursive: true });
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  for (const name of Object.keys({ ...dependencies, ...peerDependencies })) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(REPOSITORY, "node_modules", name), join(modules, name));
  }
  writeFileSync(join(root, "package.json"), '{ "private": true, "type": "module" }');
  writeFileSync(
    join(root, "main.js"),
    `import { GatewayServer } from "lakesync/gateway-server";
     const flushed = [];
     const ok = (value) => ({ ok: true, value });
     const adapter = {
       ensureSchema: async () => ok(undefined),
       async insertDeltas(batch) {
         for await (const { rowIds } of batch.rows()) flushed.push(...rowIds);
         return ok({ watermark: batch.toSeq, rows: 1, deltas: 1 });
       },
       queryDeltasSince: async () => ok({ seqs: [], receivedMs: [], batch: {} }),
       getLatestState: async () => ok({ rowIds: [] }),
       progress: async () => ok([]),
       async close() {},
     };
     const jwtSecret = "a secret for tests only, 32 bytes and more";
     const server = new GatewayServer({ port: 0, gatewayId: "my-gateway", adapter, jwtSecret, persistence: "sqlite" });
     const url = await server.start();
     const authorization = "Bearer " + (await server.token({ sub: "root", role: "admin" }));
     const ask = async (method, path, body) => {
       const headers = { authorization, "content-type": "application/json" };
       const answer = await fetch(new URL("/v1/my-gateway/" + path, url), { method, headers, body: JSON.stringify(body) });
       if (!answer.ok) throw new Error(await answer.text());
     };
     await ask("PUT", "admin/tables/todos", { columns: [{ name: "title", type: "string" }] });
     const hlc = (BigInt(Date.now()) << 16n).toString();
     const columns = [{ column: "title", value: "Milk" }];
     await ask("POST", "push", { clientId: "phone", deltas: [{ op: "INSERT", table: "todos", rowId: "a", hlc, columns }] });
     await ask("POST", "admin/flush");
     console.log("flushed " + flushed);
     await server.stop();`,
  );
  expect(execFileSync(process.execPath, ["main.js"], { cwd: root, encoding: "utf8" })).toContain("flushed a\n");
});

test("publint finds nothing but the one thing that is meant", async () => {
  const { messages } = await publint({ pkgDir: installed, strict: true });
  // `browser` keeps node:sqlite out of bundles; its successor, `imports`, cannot name a source and a compiled file both.
  expect(messages.map((m) => m.code)).toEqual(["USE_EXPORTS_OR_IMPORTS_BROWSER"]);
});

test("types resolve from every subpath, for ES modules by Node and by bundlers", () => {
  const attw = join(dirname(fileURLToPath(import.meta.resolve("@arethetypeswrong/cli/package.json"))), "dist/index.js");
  const report = execFileSync(process.execPath, [attw, tarball, "--profile", "esm-only"], { encoding: "utf8" });
  expect(report).toContain("lakesync/client");
});

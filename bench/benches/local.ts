/**
 * local: insert, update and query of one row by the client, with outbox: in Chromium on OPFS, IndexedDB and memory, in Node on
 * a file and in memory. Beside it the same statements on bare wa-sqlite, in a worker as ours is, or on bare `node:sqlite`, on
 * the same file system with the same settings. The names without a backend are those on OPFS.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { chromium } from "playwright-core";
import { createServer } from "vite";
import { LocalDB, type SchemaSpec } from "../../client/index.ts";
import { chromiumLaunchOptions, unpackChromium } from "../../scripts/testing/chromium.ts";
import { type Bench, type Sheet, sheet } from "../bench.ts";
import { ROOT } from "../harness.ts";
import { OPERATIONS, type Round, type Turns, takeTurns, workOf } from "../local/work.ts";
import { measure, progress, ratioOf } from "../stats.ts";

const ROUNDS = 7;
const TURN = 50;
/** Of each operation in a round. */
const ROWS = { opfs: 500, idb: 150, memory: 1000, file: 2000, nodeMemory: 4000 };

const SUFFIXES = { opfs: "", idb: "Idb", memory: "Memory", file: "Node", nodeMemory: "NodeMemory" };
type Place = keyof typeof SUFFIXES;

async function inRounds(out: Sheet, place: Place, run: (turns: Turns) => Promise<Round>): Promise<void> {
  const rounds: Round[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    progress(`local: ${place}, round ${round} of ${ROUNDS}`);
    const measured = await run({ from: round * ROWS[place], rows: ROWS[place], turn: TURN });
    if (round > 0) rounds.push(measured); // the first warms up
  }
  for (const operation of OPERATIONS) {
    const ours = rounds.map((r) => r[operation].ours);
    const bare = rounds.map((r) => r[operation].bare);
    const name = operation + SUFFIXES[place];
    out.ratio(name, ratioOf(bare, ours));
    out.figure(`${name}Us`, measure(ours), "µs");
    out.figure(`${name}BareUs`, measure(bare), "µs");
  }
}

async function inChromium(out: Sheet): Promise<void> {
  unpackChromium();
  const cacheDir = ".cache/vite-bench";
  const optimizeDeps = { exclude: ["wa-sqlite"] };
  const server = await createServer({
    root: ROOT,
    configFile: false,
    logLevel: "error",
    cacheDir,
    optimizeDeps,
    server: { hmr: false, watch: null },
  });
  await server.listen(0);
  // A profile on disk: what has none, keeps its files in another process, and each write is a call to that.
  const profile = mkdtempSync(join(tmpdir(), "lakesync-profile-"));
  const browser = await chromium.launchPersistentContext(profile, chromiumLaunchOptions());
  try {
    for (const place of ["opfs", "idb", "memory"] as const) {
      const page = await browser.newPage();
      await page.goto(new URL("bench/local/", server.resolvedUrls?.local[0]).href);
      await page.waitForFunction("globalThis.local");
      await page.evaluate(`globalThis.local.open("${place}")`);
      await inRounds(out, place, (turns) => page.evaluate(`globalThis.local.round(${JSON.stringify(turns)})`));
      await page.close();
    }
  } finally {
    await browser.close();
    await server.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

async function inNode(out: Sheet, place: "file" | "nodeMemory"): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "lakesync-local-"));
  const bare = new DatabaseSync(place === "file" ? join(folder, "bare.sqlite") : ":memory:");
  bare.exec(
    `PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16000;
     CREATE TABLE orders (id TEXT PRIMARY KEY NOT NULL, owner TEXT, name TEXT, amount REAL, count INTEGER, at INTEGER) STRICT`,
  );
  const prepared = new Map<string, StatementSync>();
  const run = async (sql: string, params: readonly unknown[]) => {
    const statement = prepared.get(sql) ?? bare.prepare(sql);
    prepared.set(sql, statement);
    return statement.all(...(params as SQLInputValue[]));
  };
  const backend = place === "file" ? "file" : "memory";
  const path = join(folder, "ours.sqlite");
  let db: LocalDB | undefined;
  const open = async (schema: SchemaSpec) => {
    db = await LocalDB.open({ name: "bench", backend, schema, ...(backend === "file" ? { path } : {}) });
    return db;
  };
  try {
    const statements = await workOf(open, { run });
    await inRounds(out, place, (turns) => takeTurns(statements, turns));
  } finally {
    await db?.close();
    bare.close();
    rmSync(folder, { recursive: true });
  }
}

export const local: Bench = {
  name: "local",
  async run() {
    const out = sheet();
    await inChromium(out);
    await inNode(out, "file");
    await inNode(out, "nodeMemory");
    return out;
  },
};

/**
 * local: insert, update and query of one row by the client in Chromium, with outbox, on OPFS. Beside it the same statements
 * on bare wa-sqlite, on the same file system with the same settings, likewise in a worker.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { createServer } from "vite";
import { chromiumLaunchOptions, unpackChromium } from "../../scripts/testing/chromium.ts";
import { type Bench, sheet } from "../bench.ts";
import { ROOT } from "../harness.ts";
import type { Round } from "../local/page.ts";
import { measure, progress, ratioOf } from "../stats.ts";

const ROUNDS = 7;
const ROWS = 500;
const TURN = 50;

export const local: Bench = {
  name: "local",
  async run() {
    const out = sheet();
    unpackChromium();
    const cacheDir = ".cache/vite-bench";
    const optimizeDeps = { exclude: ["wa-sqlite"] };
    const server = await createServer({ root: ROOT, configFile: false, logLevel: "error", cacheDir, optimizeDeps });
    await server.listen(0);
    // A profile on disk: what has none, keeps its files in another process, and each write is a call to that.
    const profile = mkdtempSync(join(tmpdir(), "lakesync-profile-"));
    const browser = await chromium.launchPersistentContext(profile, chromiumLaunchOptions());
    try {
      const page = await browser.newPage();
      await page.goto(new URL("bench/local/", server.resolvedUrls?.local[0]).href);
      await page.waitForFunction("globalThis.local");
      await page.evaluate("globalThis.local.open()");
      const rounds: Round[] = [];
      for (let round = 0; round <= ROUNDS; round++) {
        progress(`local: round ${round} of ${ROUNDS}`);
        const args = `${round * ROWS}, ${ROWS}, ${TURN}`;
        const measured = (await page.evaluate(`globalThis.local.round(${args})`)) as Round;
        if (round > 0) rounds.push(measured); // the first warms up
      }
      for (const operation of ["insert", "update", "query"] as const) {
        const ours = rounds.map((r) => r[operation].ours);
        const bare = rounds.map((r) => r[operation].bare);
        out.ratio(operation, ratioOf(bare, ours));
        out.figure(`${operation}Us`, measure(ours), "µs");
        out.figure(`${operation}BareUs`, measure(bare), "µs");
      }
    } finally {
      await browser.close();
      await server.close();
      rmSync(profile, { recursive: true, force: true });
    }
    return out;
  },
};

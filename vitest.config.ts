/**
 * The file name says where a test runs. One project per kind of file (scripts/testing/kinds.ts).
 *
 *   *.test.ts          node     Node 24
 *   *.do.test.ts       workerd  Durable Objects, Queues, R2 through Miniflare
 *   *.web.test.ts      web      the Chromium that @sparticuz/chromium carries
 *   *.pg.test.ts       pg       PostgreSQL 18, started once for the run
 *   *.interop.test.ts  interop  PyIceberg, DuckDB, Spark; runs only through `npm run test:interop`
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { playwright } from "@vitest/browser-playwright";
import { configDefaults, defineConfig, type TestProjectInlineConfiguration } from "vitest/config";
import { chromiumLaunchOptions } from "./scripts/testing/chromium.ts";
import { filesOf, INTEROP_KIND, otherKinds, TEST_KINDS, type TestKind } from "./scripts/testing/kinds.ts";

const exclude = [...configDefaults.exclude, "**/.cache/**", "**/.wrangler/**", "**/dist/**", "**/fixtures/**"];

/** Until the Worker has a configuration of its own, a fixture stands in for it. */
const wranglerConfig = existsSync(join(import.meta.dirname, "wrangler.toml"))
  ? "./wrangler.toml"
  : "./scripts/testing/workerd/wrangler.toml";

const projects: Record<TestKind, TestProjectInlineConfiguration> = {
  node: {
    test: {
      include: [filesOf("node")],
      exclude: [...exclude, ...otherKinds("node").map(filesOf)],
      testTimeout: 120_000,
      hookTimeout: 120_000,
    },
  },
  workerd: {
    plugins: [
      cloudflareTest({
        wrangler: { configPath: wranglerConfig },
        miniflare: {
          bindings: {
            JWT_SECRET: "a secret for tests only, 32 bytes and more",
            LOG_LEVEL: "error",
            HOT_LEAVE_EDITS: "10",
          },
        },
      }),
    ],
    test: { include: [filesOf("workerd")], exclude, testTimeout: 120_000, hookTimeout: 120_000 },
  },
  web: {
    cacheDir: ".cache/vite-web",
    // SQLite's wasm is found by URL next to its module; pre-bundling would move the module away from it.
    optimizeDeps: { exclude: ["wa-sqlite"] },
    test: {
      include: [filesOf("web")],
      exclude,
      testTimeout: 120_000,
      hookTimeout: 120_000,
      globalSetup: "./scripts/testing/chromium.ts",
      browser: {
        enabled: true,
        headless: true,
        screenshotFailures: false,
        provider: playwright({ launchOptions: chromiumLaunchOptions() }),
        instances: [{ browser: "chromium" }],
      },
    },
  },
  pg: {
    test: {
      include: [filesOf("pg")],
      exclude,
      testTimeout: 120_000,
      hookTimeout: 120_000,
      globalSetup: "./scripts/testing/postgres.ts",
    },
  },
  interop: {
    test: {
      include: [filesOf("interop")],
      exclude,
      testTimeout: 15 * 60_000,
      hookTimeout: 15 * 60_000,
      fileParallelism: false,
    },
  },
};

const kinds = process.env.LAKESYNC_INTEROP === "1" ? ([INTEROP_KIND] as const) : TEST_KINDS;

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: kinds.map((name) => ({ ...projects[name], test: { ...projects[name].test, name } })),
  },
});

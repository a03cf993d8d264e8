/** `lakesync.config.ts` in a Worker: what is always there, what is refused before it is deployed, and which table goes where. */
import { expect, test } from "vitest";
import { tableOf } from "../core/testing.ts";
import { defineConfig, LakeSyncError, parseGatewayConfig } from "../schemas/index.ts";
import { backendOf, configOf, upkeepOf } from "./config.ts";

const wrong = (config: unknown): string => {
  try {
    parseGatewayConfig(config);
  } catch (error) {
    if (error instanceof LakeSyncError && error.code === "Misconfigured") return error.message;
    throw error;
  }
  throw new Error("it was taken");
};

const MAIN = { type: "postgres", binding: "HYPERDRIVE" } as const;
const HOUR = 3_600_000;

test("the lake is there without a word, and has what nothing names", () => {
  const config = parseGatewayConfig({ backends: { main: MAIN }, tables: { orders: "main", notes: "lake" } });
  const where = (name: string, backend?: string) => backendOf(config, { table: name, ...(backend && { backend }) });
  expect([where("orders"), where("notes"), where("other"), where("toString")]).toEqual([
    "main",
    "lake",
    "lake",
    "lake",
  ]);
  expect(where("orders", "lake")).toBe("lake");
  expect(backendOf(parseGatewayConfig({ backends: { main: MAIN }, default: "main" }), { table: "other" })).toBe("main");
  expect(backendOf(configOf({}), { table: "other" })).toBe("lake");
});

test("what is wrong is named with its key and the remedy", () => {
  expect(wrong(undefined)).toContain("lakesync.config.ts");
  expect(wrong({ backends: { main: MAIN }, tables: { orders: "mian" } })).toBe(
    'lakesync.config.ts, tables.orders: There is no backend "mian"; there are lake, main.',
  );
  expect(wrong({ backends: { lake: MAIN } })).toContain("backends.lake: That is the gateway's Iceberg tables");
  const bigquery = (dataset: string) => ({ type: "bigquery", env: "KEY", dataset });
  expect(wrong({ backends: { a: bigquery("app"), b: bigquery("app_x") } })).toContain(
    "backends.b.dataset: app_x begins as app",
  );
  expect(wrong({ backends: { a: bigquery("app"), b: bigquery("app") } })).toContain("begins as app");
  parseGatewayConfig({ backends: { a: bigquery("app"), b: bigquery("apps") } });
  expect(() => configOf({ LAKESYNC_CONFIG: "{ backends" })).toThrow("LAKESYNC_CONFIG is not JSON");
});

test("tiers that would lose rows are refused: one place in both, or a hot tier that keeps everything", () => {
  const tiers = (hot: string, cold: string, more: object = {}) =>
    wrong({
      backends: {
        main: MAIN,
        again: MAIN,
        ...{ both: { type: "fan-out", primary: "main", secondaries: ["lake"] } },
        aged: { type: "lifecycle", hot: { backend: hot, maxAgeMs: HOUR }, cold: { backend: cold } },
        ...more,
      },
    });
  expect(tiers("main", "main")).toContain("backends.aged: main would be in both tiers");
  expect(tiers("main", "again")).toContain("backends.aged: again would be in both tiers");
  expect(tiers("both", "lake")).toContain("backends.aged: lake would be in both tiers");
  expect(tiers("lake", "main")).toContain("backends.aged: Its hot tier, lake, cannot let rows go");
});

test("a table's backend says what it needs beside flushes", () => {
  const config = parseGatewayConfig(
    defineConfig({
      backends: {
        main: MAIN,
        reports: { type: "mysql", env: "REPORTS_URL" },
        warehouse: { type: "bigquery", env: "KEY", dataset: "app" },
        both: { type: "fan-out", primary: "main", secondaries: ["reports"] },
        aged: { type: "lifecycle", hot: { backend: "both", maxAgeMs: HOUR }, cold: { backend: "lake" } },
        all: { type: "fan-out", primary: "aged", secondaries: ["warehouse"] },
      },
      tables: { orders: "main", events: "all" },
    }),
  );
  expect(upkeepOf(config, tableOf("events", {}))).toEqual({
    ...{ lakeFirst: false, lake: true, tiers: true, follows: true, hosted: false },
    secondaries: ["warehouse", "reports"],
  });
  expect(upkeepOf(config, tableOf("orders", {}))).toMatchObject({ lake: false, tiers: false, secondaries: [] });
  expect(upkeepOf(config, tableOf("other", {}))).toMatchObject({ lakeFirst: true, tiers: false, secondaries: [] });
  expect(upkeepOf(config, { table: "orders", backend: "gone" })).toMatchObject({ lakeFirst: false, lake: false });
});

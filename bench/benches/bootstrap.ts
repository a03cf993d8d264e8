/**
 * bootstrap: an empty device becomes current by a checkpoint of real flights, beside the same rows put in bulk into a bare
 * table of the same SQLite, on the same backend, with the same settings.
 *
 *   memory200k, opfs200k, idb200k   in Chromium          node3m   in Node, into a file, with what memory grows by
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { chromium } from "playwright-core";
import { createServer } from "vite";
import { encodeBatch, proto } from "../../schemas/index.ts";
import { chromiumLaunchOptions, unpackChromium } from "../../scripts/testing/chromium.ts";
import { type Bench, type Sheet, sheet } from "../bench.ts";
import {
  FLIGHT_COLUMNS,
  FLIGHT_RULES,
  FLIGHTS,
  type Flight,
  flightBatch,
  parquetBytes,
  readFlights,
} from "../bootstrap/flights.ts";
import { bare } from "../bootstrap/page.ts";
import { Gateway } from "../gateway.ts";
import { ROOT, startWorld, type World } from "../harness.ts";
import { measure, progress, ratioOf, timed } from "../stats.ts";

const ROUNDS = 5;
const PUSH_ROWS = 5000;
const FLUSH_ROWS = 250_000;
const PARQUET_ROWS = 25_000;

/** @returns bytes of the same rows as Parquet */
async function fill(gateway: Gateway, rows: number): Promise<number> {
  await gateway.admin("PUT", `tables/${FLIGHTS}`, { columns: FLIGHT_COLUMNS });
  await gateway.admin("PUT", "sync-rules", FLIGHT_RULES);
  let parquet = 0;
  for (let at = 0; at < rows; at += FLUSH_ROWS) {
    progress(`bootstrap: ${at} of ${rows} flights are there`);
    const flights = await readFlights(at, Math.min(rows, at + FLUSH_ROWS));
    for (let from = 0; from < flights.length; from += PUSH_ROWS) {
      const batch = encodeBatch(flightBatch(flights.slice(from, from + PUSH_ROWS), at + from));
      const request = create(proto.PushRequestSchema, { clientId: "loader", batches: [batch] });
      await gateway.push(toBinary(proto.PushRequestSchema, request), batch.count);
    }
    for (let from = 0; from < flights.length; from += PARQUET_ROWS)
      parquet += parquetBytes(flights.slice(from, from + PARQUET_ROWS), at + from);
    const { shards } = await gateway.admin("POST", "flush");
    if (shards[0]?.state !== "flushed") throw new Error(`The flush ended with ${JSON.stringify(shards)}`);
  }
  return parquet;
}

async function makeCheckpoint(gateway: Gateway, rows: number): Promise<number> {
  progress("bootstrap: the checkpoint is made");
  let made = 0;
  const ms = await timed(async () => {
    const { shards } = await gateway.admin("POST", "checkpoint");
    made = shards[0]?.rows;
  });
  if (made !== rows) throw new Error(`The checkpoint has ${made} rows of ${rows}`);
  return (rows * 1000) / ms;
}

const slicesOf = (flights: readonly Flight[]): string[] =>
  Array.from({ length: Math.ceil(flights.length / PUSH_ROWS) }, (_, at) =>
    JSON.stringify(flights.slice(at * PUSH_ROWS, (at + 1) * PUSH_ROWS)),
  );

async function inChromium(world: World, out: Sheet, rows: number): Promise<void> {
  const gateway = await Gateway.open(world, "bootstrap-200k");
  const parquet = await fill(gateway, rows);
  out.figure("checkpoint200kPerSecond", await makeCheckpoint(gateway, rows), "rows/s");
  unpackChromium();
  const server = await createServer({
    root: ROOT,
    configFile: false,
    logLevel: "error",
    cacheDir: ".cache/vite-bench",
    optimizeDeps: { exclude: ["wa-sqlite"] },
    server: { proxy: { "/v1": world.gateway.origin }, hmr: false, watch: null },
  });
  await server.listen(0);
  const profile = mkdtempSync(join(tmpdir(), "lakesync-profile-"));
  const browser = await chromium.launchPersistentContext(profile, chromiumLaunchOptions());
  try {
    const page = await browser.newPage();
    const url = new URL(server.resolvedUrls?.local[0] as string);
    await page.goto(new URL("bench/bootstrap/", url).href);
    await page.waitForFunction("globalThis.bootstrap");
    const slices = slicesOf(await readFlights(0, rows));
    await page.evaluate((given) => Object.assign(globalThis, { slices: given }), slices);
    const from = JSON.stringify({ baseUrl: url.origin, gatewayId: gateway.id, token: gateway.token });
    for (const backend of ["memory", "opfs", "idb"] as const) {
      const rates: Record<"ours" | "bare", number[]> = { ours: [], bare: [] };
      let wire = 0;
      for (let round = 0; round <= ROUNDS; round++) {
        progress(`bootstrap: ${backend}200k, round ${round} of ${ROUNDS}`);
        const place = (side: string) => JSON.stringify({ name: `${side}-${backend}-${round}`, backend });
        const theirs = (await page.evaluate(
          `globalThis.bootstrap.bare(${place("bare")}, globalThis.slices, ${rows})`,
        )) as number;
        const { ms, bytes } = (await page.evaluate(
          `globalThis.bootstrap.ours(${place("ours")}, ${from}, ${rows})`,
        )) as { ms: number; bytes: number };
        wire = bytes;
        progress(`bootstrap: ${Math.round(ms)} ms beside ${Math.round(theirs)} ms`);
        if (round === 0) continue; // to warm up
        rates.ours.push((rows * 1000) / ms);
        rates.bare.push((rows * 1000) / theirs);
      }
      out.ratio(`${backend}200k`, ratioOf(rates.ours, rates.bare));
      out.figure(`${backend}200kPerSecond`, measure(rates.ours), "rows/s");
      out.figure(`${backend}200kBarePerSecond`, measure(rates.bare), "rows/s");
      out.figure("bytesPerRow", wire / rows, "bytes");
      out.figure("bytesOverParquet", wire / parquet, "times");
    }
  } finally {
    await browser.close();
    await server.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

async function inNode(world: World, out: Sheet, rows: number): Promise<void> {
  const gateway = await Gateway.open(world, "bootstrap-3m");
  await fill(gateway, rows);
  out.figure("checkpoint3mPerSecond", await makeCheckpoint(gateway, rows), "rows/s");
  const folder = mkdtempSync(join(tmpdir(), "lakesync-device-"));
  try {
    progress("bootstrap: node3m");
    const slices = slicesOf(await readFlights(0, rows));
    const bareMs = await bare({ name: "bare", backend: "file", path: join(folder, "bare.sqlite") }, slices, rows);
    const from = { baseUrl: world.gateway.origin, gatewayId: gateway.id, token: gateway.token };
    const device = join(ROOT, "bench/bootstrap/device.ts");
    const args = [device, join(folder, "ours.sqlite"), String(rows), JSON.stringify(from)];
    const told = JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })) as {
      ms: number;
      growthMb: number;
    };
    out.ratio("node3m", bareMs / told.ms);
    out.figure("node3mPerSecond", (rows * 1000) / told.ms, "rows/s");
    out.figure("node3mBarePerSecond", (rows * 1000) / bareMs, "rows/s");
    out.figure("node3mGrowthMb", told.growthMb, "MB");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const bootstrap: Bench = {
  name: "bootstrap",
  async run() {
    const out = sheet();
    const world = await startWorld();
    try {
      await inChromium(world, out, Number(process.env.BOOTSTRAP_ROWS ?? 200_000));
      if (!process.env.BOOTSTRAP_ROWS) await inNode(world, out, 3_000_000);
    } finally {
      await world.stop();
    }
    return out;
  },
};

/**
 * All rows of a large table pass through a shard with a hot window, some are edited long after they left, and the shard stays small.
 * `HOT_ROWS=3000000` for the real thing (docs/lake.md).
 */
import { expect, test } from "vitest";
import { TableDigest } from "../../core/index.ts";
import { ADMIN, NOW, NodeSqlStore, shardOf, tableOf } from "../../core/testing.ts";
import { type ClientId, DeltaBatchBuilder, ok, packHlc, type Scalar, unwrap } from "../../schemas/index.ts";
import { testLake } from "../testing/lake.ts";
import { leaveShard, mergeRuns, readCold } from "./index.ts";

const ROWS = Number(process.env.HOT_ROWS ?? 100_000);
const LARGE = ROWS > 1_000_000;
/** The database's, at its largest. */
const BYTES_MAX = (LARGE ? 50 : 8) * 1024 * 1024;
/** Rows of a push; a second passes with each. */
const BATCH = LARGE ? 2000 : 1000;
const WINDOW_MS = 10_000;
const FLUSH_EDITS = LARGE ? 20_000 : 5000;
const CLIENT = "device" as ClientId;
const FLIGHTS = {
  ...tableOf("flights", { date: "string", delay: "integer", distance: "integer", origin: "string", to: "string" }),
  shards: 1,
  hot: { ageMs: WINDOW_MS },
};

/** Ids of half of the rows are in the order of time, those of the others in none. */
const idOf = (n: number): string =>
  n % 2 === 0
    ? `f-${String(n).padStart(9, "0")}`
    : `${Math.imul(n, 0x9e3779b1) >>> 0}-${Math.imul(n, 0x85ebca6b) >>> 0}`;
const cellsOf = (n: number): Record<string, Scalar> => ({
  date: `2001-01-${String((n % 28) + 1).padStart(2, "0")}T12:00`,
  delay: (n % 300) - 60,
  distance: n % 2500,
  origin: `A${n % 200}`,
  to: `B${n % 190}`,
});

test(`[HW1] [HW2] ${ROWS} rows pass through a shard that stays below ${BYTES_MAX / 1024 / 1024} MB, late edits included`, async () => {
  const lake = testLake();
  const sql = new NodeSqlStore();
  const config = { tables: [FLIGHTS], owns: { flights: { index: 0, of: 1 } } };
  const open = () => shardOf(config, { leaveEdits: FLUSH_EDITS }, sql);
  let engine = open();
  const place = { gatewayId: "demo", shard: "main" };
  const late = new Map<number, string>();
  let now = NOW;
  let largest = 0;
  let most = 0;
  let chunks = 0;
  let fresh = 0;
  const push = async (op: "I" | "U", rows: readonly number[], cells: (n: number) => Record<string, Scalar>) => {
    const builder = new DeltaBatchBuilder("flights");
    for (const [k, n] of rows.entries()) builder.add(op, idOf(n), packHlc(now, k), CLIENT, cells(n));
    const batches = [builder.build()];
    for (;;) {
      const { version, asks } = engine.coldAsks({ batches, deltas: [] });
      if (asks.length === 0) break;
      const found = await readCold(lake.deps.store, place, FLIGHTS, asks, 64);
      chunks += found.chunks;
      if (op === "I") fresh += found.chunks;
      engine.thaw(version, "flights", found.asked, found.rows);
    }
    const { acceptedCount } = unwrap(engine.push({ clientId: CLIENT, claims: ADMIN, nowMs: now, batches, deltas: [] }));
    expect(acceptedCount).toBe(rows.length);
    largest = Math.max(largest, sql.sizeBytes);
  };
  const flush = () => {
    const leased = engine.lease(now, "t");
    if (typeof leased !== "string") engine.settle("t", [{ table: "flights" }], now);
  };
  const answer = async <T>(body: () => T) => ok(body());
  const leave = async () => {
    most = Math.max(most, engine.status().tables[0]?.rows ?? 0);
    unwrap(
      await leaveShard(lake.deps, {
        ...place,
        begin: (token) =>
          answer(() => {
            const schema = engine.leaveBegin(token, now);
            return schema && { schema, indexed: [] };
          }),
        rows: (token, after) => answer(() => engine.leavingRows(token, after)),
        leave: (...args) => answer(() => engine.leave(...args)),
        end: (token) => answer(() => engine.leaveEnd(token)),
      }),
    );
  };
  let merged = 0;
  const merge = async () => {
    const done = unwrap(
      await mergeRuns(lake.deps, {
        ...place,
        begin: () =>
          answer(() => {
            const found = engine.runsToMerge();
            return found && { ...found, indexed: [] };
          }),
        merged: (...args) => answer(() => engine.mergeRuns(...args, now)),
      }),
    );
    merged += done.merged;
  };
  const started = performance.now();
  for (let from = 0; from < ROWS; from += BATCH) {
    now += 1000;
    await push(
      "I",
      Array.from({ length: BATCH }, (_, k) => from + k),
      cellsOf,
    );
    if (from > 0 && from % (BATCH * (LARGE ? 20 : 4)) === 0) {
      // One edit of a row from anywhere, and of one that came long ago.
      const rows = [(from * 7919) % from, from >> 1].filter((n, at, all) => all.indexOf(n) === at);
      await push("U", rows, (n) => ({ origin: `late ${n} ${from}` }));
      for (const n of rows) late.set(n, `late ${n} ${from}`);
    }
    if (engine.unflushed.deltas >= FLUSH_EDITS) {
      flush();
      await leave();
      await merge();
    }
  }
  flush();
  now += WINDOW_MS + 1000;
  await push("I", [ROWS], cellsOf);
  flush();
  await leave();
  const seconds = (performance.now() - started) / 1000;
  engine = open();
  const [{ rows, left } = { rows: 0, left: 0 }] = engine.status().tables;
  console.log(
    `${ROWS} rows in ${seconds.toFixed(0)} s: at most ${(largest / 1024 / 1024).toFixed(1)} MB and ${most} rows in the shard; ${late.size} rows edited late, ${chunks - fresh} chunks read for them, ${fresh} for ${ROWS} new rows; ${engine.coldRuns("flights").length} runs, ${merged} merged`,
  );
  expect(largest).toBeLessThan(BYTES_MAX);
  expect(rows + (left ?? 0)).toBe(ROWS + 1);
  expect(rows).toBeLessThan(FLUSH_EDITS);
  expect(late.size).toBeGreaterThan(0);
  expect(merged).toBeGreaterThan(0);
  expect(engine.coldRuns("flights").length).toBeLessThan(ROWS / 50_000 + 16);
  // One id in 100,000 is looked for in vain in each run.
  expect(fresh).toBeLessThan(ROWS / 1500);
  // The digest that was kept all along is that of the rows as they have to be.
  const kept = engine.digest("flights");
  expect(String(kept)).toBe(String(engine.countDigest("flights")));
  expect(TableDigest.parse(String(kept))?.rows).toBe(ROWS + 1);
  // Each row that was edited late is what the edit made of it.
  const asks = engine.coldAsksOf("flights", [...late.keys()].map(idOf));
  const found = await readCold(lake.deps.store, place, FLIGHTS, asks, Number.POSITIVE_INFINITY);
  const states = new Map(
    [...found.rows, ...engine.exportRows("flights", "", 1e6)].map(({ id, state }) => [id, state] as const),
  );
  for (const [n, text] of late) {
    expect(states.get(idOf(n))).toContain(`"${text}"`);
    expect(states.get(idOf(n))).toContain(`"${cellsOf(n).date}"`);
  }
}, 3_600_000);

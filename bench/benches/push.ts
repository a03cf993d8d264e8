/**
 * push: batches over HTTP into one shard until they are acknowledged, one after the other, beside a bare Durable Object that
 * takes the same push as JSON, through a Worker that looks at the same token, with one INSERT.
 *
 *   batch1, batch100, batch1000   the worse of new rows and of updates of neighbours, each against the yardstick
 *   batch1000Scattered            updates of rows from anywhere in the table
 *   batch1000Lean                 the worse of both beside the least that can be sent: bare rows of cells, without a token
 *   batch1000Keyed                the worse of both beside a table that has a key, and so can update a row
 *   batch1000RandomIds            likewise with random ids and scattered updates, which are hard for any B-tree
 *   growth1m                      rate of the last 100,000 of a million deltas over the first 100,000
 */
import { setTimeout as delay } from "node:timers/promises";
import { CALLS_PER_SECOND } from "../../schemas/index.ts";
import { type Bench, type Sheet, sheet } from "../bench.ts";
import { Gateway } from "../gateway.ts";
import { startWorld, type World } from "../harness.ts";
import { sendOk } from "../http.ts";
import { Clock, changedRow, type Edit, type IdStyle, newRow, scramble, toBareJson, toJsonPush } from "../rows.ts";
import { measure, median, percentile, progress, ratioOf, timed } from "../stats.ts";

const ROUNDS = 7;
const SIZES = [
  { size: 1, batches: 100 },
  { size: 100, batches: 50 },
  { size: 1000, batches: 20 },
];
const GROWTH = 1_000_000;

/** `push`: the deltas as JSON. `insert`, `upsert`: rows of cells, into a table without a key or with one. */
type Yardstick = "push" | "insert" | "upsert";

/** One tenant's table and the bare table beside it, which take the same edits. */
class Pair {
  readonly gateway: Gateway;
  readonly #clock = new Clock();
  readonly #bare: URL;
  readonly #ids: IdStyle;
  #rows = 0;
  #salt = 0;

  readonly #rowsOnly: boolean;

  constructor(gateway: Gateway, world: World, ids: IdStyle, yardstick: Yardstick) {
    this.gateway = gateway;
    this.#rowsOnly = yardstick !== "push";
    this.#bare = new URL(this.#rowsOnly ? `/${yardstick}?of=${gateway.id}` : `/v1/${gateway.id}/push`, world.bare);
    this.#ids = ids;
  }

  static async open(world: World, id: string, ids: IdStyle = "counted", yardstick: Yardstick = "push"): Promise<Pair> {
    return new Pair(await Gateway.open(world, id), world, ids, yardstick);
  }

  newRows(count: number): Edit[] {
    return Array.from({ length: count }, () => newRow(this.#rows++, this.#clock, this.#ids));
  }

  /** Neighbours, from some place in the table on. */
  updates(count: number): Edit[] {
    const from = scramble(++this.#salt) % Math.max(1, this.#rows - count);
    return Array.from({ length: count }, (_, k) => changedRow(from + k, this.#clock, this.#ids, this.#salt));
  }

  /** Distinct rows from anywhere in the table. */
  scattered(count: number): Edit[] {
    const picked = new Set<number>();
    while (picked.size < count) picked.add(scramble(++this.#salt) % this.#rows);
    return [...picked].map((n) => changedRow(n, this.#clock, this.#ids, this.#salt));
  }

  async ours(edits: readonly Edit[]): Promise<number> {
    const body = this.gateway.encodePush(edits);
    return timed(() => this.gateway.push(body, edits.length));
  }

  async theirs(edits: readonly Edit[]): Promise<number> {
    const body = this.#rowsOnly ? toBareJson(edits) : toJsonPush(edits);
    const headers = { "content-type": "application/json", authorization: `Bearer ${this.gateway.token}` };
    return timed(() => sendOk("POST", this.#bare, headers, body));
  }
}

type Side = "ours" | "theirs";
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** Batches of each side in turn, so that both meet the same weather. @returns milliseconds of each request */
async function sideBySide(pair: Pair, batches: number, make: () => Edit[]): Promise<Record<Side, number[]>> {
  const times: Record<Side, number[]> = { ours: [], theirs: [] };
  for (let at = 0; at < batches; at++) {
    const edits = make();
    const order: Side[] = at % 2 === 0 ? ["ours", "theirs"] : ["theirs", "ours"];
    for (const side of order) times[side].push(await pair[side](edits));
  }
  return times;
}

/** Rounds of one kind of batch. @returns the ratio to the yardstick */
async function rounds(
  pair: Pair,
  name: string,
  size: number,
  batches: number,
  make: () => Edit[],
  out: Sheet,
): Promise<number> {
  const rates: Record<Side, number[]> = { ours: [], theirs: [] };
  const all: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    progress(`push: ${name}, round ${round + 1} of ${ROUNDS}`);
    if (size === 1) await delay((batches / CALLS_PER_SECOND) * 1000); // a user may not call more often
    const times = await sideBySide(pair, batches, make);
    for (const side of ["ours", "theirs"] as const) rates[side].push((size * batches * 1000) / sum(times[side]));
    all.push(...times.ours);
  }
  const ratio = ratioOf(rates.ours, rates.theirs);
  out.ratio(name, ratio);
  out.figure(`${name}PerSecond`, measure(rates.ours), "deltas/s");
  out.figure(`${name}BarePerSecond`, measure(rates.theirs), "deltas/s");
  out.figure(`${name}P50`, percentile(all, 0.5), "ms");
  out.figure(`${name}P99`, percentile(all, 0.99), "ms");
  return ratio.value;
}

async function bySize(world: World, out: Sheet): Promise<void> {
  for (const { size, batches } of SIZES) {
    const pair = await Pair.open(world, `push-${size}`);
    await warm(pair);
    const fresh = await rounds(pair, `batch${size}New`, size, batches, () => pair.newRows(size), out);
    const updates = await rounds(pair, `batch${size}Updates`, size, batches, () => pair.updates(size), out);
    out.ratio(`batch${size}`, Math.min(fresh, updates));
    if (size === 1000) await rounds(pair, "batch1000Scattered", size, batches, () => pair.scattered(size), out);
  }
}

/** Against bare rows of cells. */
async function rowsOnly(
  world: World,
  out: Sheet,
  ids: IdStyle,
  yardstick: "insert" | "upsert",
  name: string,
): Promise<void> {
  const pair = await Pair.open(world, `push-${yardstick}-${ids}`, ids, yardstick);
  await warm(pair);
  const update = ids === "random" ? () => pair.scattered(1000) : () => pair.updates(1000);
  const fresh = await rounds(pair, `${name}New`, 1000, 20, () => pair.newRows(1000), out);
  const updates = await rounds(pair, `${name}Updates`, 1000, 20, update, out);
  out.ratio(name, Math.min(fresh, updates));
}

/** Code that has been compiled, on both sides, and rows to update. */
const warm = (pair: Pair) => sideBySide(pair, 30, () => pair.newRows(1000));

/** A million new rows; what it does to the rate, and then to updates. Every tenth batch goes to the yardstick too. */
async function growth(world: World, out: Sheet): Promise<void> {
  const pair = await Pair.open(world, "push-growth");
  const windows: { ours: number; bare: number }[] = [];
  for (let window = 0; window < GROWTH / 100_000; window++) {
    progress(`push: growth, ${window * 100_000} rows`);
    const ours: number[] = [];
    const bare: number[] = [];
    for (let batch = 0; batch < 100; batch++) {
      const edits = pair.newRows(1000);
      ours.push(await pair.ours(edits));
      if (batch % 10 === 0) bare.push(await pair.theirs(edits));
    }
    windows.push({ ours: 100_000_000 / sum(ours), bare: 1_000_000 / median(bare) });
  }
  const [first, last] = [windows[0], windows.at(-1)];
  if (!first || !last) return;
  out.ratio("growth1m", last.ours / first.ours);
  out.figure("growth1mFirst100kPerSecond", first.ours, "deltas/s");
  out.figure("growth1mLast100kPerSecond", last.ours, "deltas/s");
  out.figure("growth1mBare", last.bare / first.bare, "last / first");
  await rounds(pair, "batch1000UpdatesAt1m", 1000, 10, () => pair.updates(1000), out);
  await rounds(pair, "batch1000ScatteredAt1m", 1000, 5, () => pair.scattered(1000), out);
}

export const push: Bench = {
  name: "push",
  async run() {
    const out = sheet();
    const world = await startWorld();
    try {
      await bySize(world, out);
      await rowsOnly(world, out, "counted", "insert", "batch1000Lean");
      await rowsOnly(world, out, "counted", "upsert", "batch1000Keyed");
      await rowsOnly(world, out, "random", "upsert", "batch1000RandomIds");
      await growth(world, out);
    } finally {
      await world.stop();
    }
    return out;
  },
};

/**
 * flush: rows of a shard until they are in a committed Iceberg snapshot, current rows and history both. Beside it the
 * columns of the same data files through parquet-wasm alone, and the bytes that come out put into the same bucket.
 */
import { type Bench, type Sheet, sheet } from "../bench.ts";
import { Gateway } from "../gateway.ts";
import { startWorld, type World } from "../harness.ts";
import { sendOk } from "../http.ts";
import { Clock, newRow } from "../rows.ts";
import { measure, progress, ratioOf, timed } from "../stats.ts";
import { flushToDatabases } from "./flush-sql.ts";

const SIZES = [
  { name: "rows200k", rows: 200_000, rounds: 5 },
  { name: "rows1m", rows: 1_000_000, rounds: 2 },
];

const WARM_ROWS = 1000;

async function post<T>(url: URL): Promise<T> {
  return JSON.parse((await sendOk("POST", url)).toString("utf8"));
}

/** The yardstick runs where parquet-wasm has just read the files; so does what is measured: another gateway has been flushed. */
async function warmUp(world: World, clock: Clock): Promise<void> {
  const gateway = await Gateway.open(world, "warm-up");
  const edits = Array.from({ length: WARM_ROWS }, (_, n) => newRow(n, clock, "counted"));
  await gateway.push(gateway.encodePush(edits), edits.length);
  await gateway.admin("POST", "flush");
}

async function bySize({ name, rows, rounds }: (typeof SIZES)[number], out: Sheet): Promise<void> {
  const rates: Record<"ours" | "theirs", number[]> = { ours: [], theirs: [] };
  const sizes: number[] = [];
  for (let round = 0; round < rounds; round++) {
    progress(`flush: ${name}, round ${round + 1} of ${rounds}`);
    const world = await startWorld();
    try {
      const gateway = await Gateway.open(world, `flush-${name}`.toLowerCase());
      const clock = new Clock();
      await warmUp(world, clock);
      for (let at = 0; at < rows; at += 1000) {
        const edits = Array.from({ length: 1000 }, (_, k) => newRow(at + k, clock, "counted"));
        await gateway.push(gateway.encodePush(edits), 1000);
      }
      const ours = await timed(async () => {
        const { shards } = await gateway.admin("POST", "flush");
        if (shards[0]?.rows !== rows) throw new Error(`The flush ended with ${JSON.stringify(shards)}`);
      });
      const files = new URL(`/parquet/load?prefix=${gateway.id}/`, world.bare);
      const loaded = await post<{ files: number; bytes: number }>(files);
      if (loaded.files === 0) throw new Error("The yardstick found no files.");
      const theirs = await timed(() => post(new URL("/parquet/write", world.bare)));
      rates.ours.push((rows * 1000) / ours);
      rates.theirs.push((rows * 1000) / theirs);
      sizes.push(loaded.bytes / rows);
    } finally {
      await world.stop();
    }
  }
  out.ratio(name, ratioOf(rates.ours, rates.theirs));
  out.figure(`${name}PerSecond`, measure(rates.ours), "rows/s");
  out.figure(`${name}BarePerSecond`, measure(rates.theirs), "rows/s");
  out.figure(`${name}BytesPerRow`, measure(sizes), "bytes");
}

export const flush: Bench = {
  name: "flush",
  async run() {
    const out = sheet();
    await flushToDatabases(out);
    for (const size of SIZES) await bySize(size, out);
    return out;
  },
};

/**
 * cost: what is billed for pushes and for the flush after them, counted by SQLite's own `rowsWritten` and priced by
 * docs/cost.md. The floor is one row written a changed row, and one a batch.
 */
import { setTimeout as delay } from "node:timers/promises";
import { CALLS_PER_SECOND } from "../../schemas/index.ts";
import { type Bench, type Sheet, sheet } from "../bench.ts";
import { Gateway } from "../gateway.ts";
import { startWorld, type World } from "../harness.ts";
import { Clock, changedRow, newRow } from "../rows.ts";
import { progress } from "../stats.ts";

/** US$ a million, 2026; docs/cost.md has the list. */
const PRICE = { rowWritten: 1, request: 0.15, queueOperation: 0.4, classA: 4.5 };
/** A push calls the shard, and the shard pokes the hub. */
const REQUESTS_PER_PUSH = 2;
/** A message is written, read and deleted; a hint goes out for each tenth of a flush's worth of deltas. */
const QUEUE_OPERATIONS_PER_FLUSH = 3 * 10;
/** Data files of both tables, manifests, manifest lists, metadata: about what a flush of one table puts. */
const PUTS_PER_FLUSH = 12;
const DELTAS_PER_FLUSH = 50_000;

const rowsWritten = async (gateway: Gateway): Promise<number> =>
  (await gateway.admin("GET", "status")).shards.reduce(
    (sum: number, s: { rowsWritten: number }) => sum + s.rowsWritten,
    0,
  );

/** Rows written a delta: new rows, updates of them, and the flush that ends both. */
async function written(world: World, size: number, batches: number, out: Sheet): Promise<number> {
  progress(`cost: batches of ${size}`);
  const gateway = await Gateway.open(world, `cost-${size}`);
  const clock = new Clock();
  const deltas = size * batches * 2;
  for (const make of [newRow, (n: number, c: Clock) => changedRow(n, c, "counted", 1)])
    for (let batch = 0; batch < batches; batch++) {
      const edits = Array.from({ length: size }, (_, k) => make(batch * size + k, clock, "counted"));
      await gateway.push(gateway.encodePush(edits), size);
      if (size === 1) await delay(1000 / CALLS_PER_SECOND); // a user may not call more often
    }
  const pushed = await rowsWritten(gateway);
  await gateway.admin("POST", "flush");
  const flushed = await rowsWritten(gateway);
  out.figure(`rowsWrittenPerDeltaBatch${size}`, pushed / deltas, "rows");
  out.ratio(`floorBatch${size}`, (1 + 1 / size) / (pushed / deltas));
  return flushed / deltas;
}

function dollars(rowsPerDelta: number, size: number): number {
  const flush = QUEUE_OPERATIONS_PER_FLUSH * PRICE.queueOperation + PUTS_PER_FLUSH * PRICE.classA;
  return rowsPerDelta * PRICE.rowWritten + (REQUESTS_PER_PUSH / size) * PRICE.request + flush / DELTAS_PER_FLUSH;
}

export const cost: Bench = {
  name: "cost",
  async run() {
    const out = sheet();
    const world = await startWorld();
    try {
      const batch100 = await written(world, 100, 250, out);
      const batch1 = await written(world, 1, 1000, out);
      out.figure("usdPerMillionDeltas", dollars(batch100, 100), "US$");
      out.figure("usdPerMillionDeltasBatch1", dollars(batch1, 1), "US$");
    } finally {
      await world.stop();
    }
    return out;
  },
};

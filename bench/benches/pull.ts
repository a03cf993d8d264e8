/**
 * pull: pages over HTTP, in protobuf columns, as the SDK asks for them.
 *
 *   rows100k    100,000 rows that came after a client's cursor, beside reading as many bare rows and JSON.stringify
 *   changed1k   1,000 rows that changed among a million, beside picking as many by key out of a million bare rows
 */
import { type Bench, type Sheet, sheet } from "../bench.ts";
import { Gateway } from "../gateway.ts";
import { startWorld, type World } from "../harness.ts";
import { sendOk } from "../http.ts";
import { Clock, changedRow, type Edit, newRow, rowId, scramble, toBareJson } from "../rows.ts";
import { measure, progress, ratioOf, timed } from "../stats.ts";

const ROUNDS = 7;
const BARE_PAGE = 10_000;

interface Pulled {
  readonly cursor: string;
  readonly rows: number;
  readonly bytes: number;
}

async function pullAll(gateway: Gateway, from: string): Promise<Pulled> {
  let cursor = from;
  let rows = 0;
  let bytes = 0;
  for (;;) {
    const [page, size] = await gateway.pull({ cursor });
    rows += page.batches.reduce((sum, batch) => sum + batch.count, 0);
    bytes += size;
    cursor = page.cursor;
    if (!page.hasMore) return { cursor, rows, bytes };
  }
}

/** Both sides get `count` new rows. @param path insert, or upsert for a table with a key */
async function fill(world: World, gateway: Gateway, count: number, path: string): Promise<Clock> {
  const clock = new Clock();
  const bare = new URL(`/${path}?of=${gateway.id}`, world.bare);
  for (let at = 0; at < count; at += 1000) {
    if (at % 100_000 === 0) progress(`pull: ${at} of ${count} rows are there`);
    const edits = Array.from({ length: 1000 }, (_, k): Edit => newRow(at + k, clock, "counted"));
    await gateway.push(gateway.encodePush(edits), edits.length);
    await sendOk("POST", bare, {}, toBareJson(edits));
  }
  return clock;
}

async function rows100k(world: World, out: Sheet): Promise<void> {
  const gateway = await Gateway.open(world, "pull-100k");
  const start = await pullAll(gateway, "");
  await fill(world, gateway, 100_000, "insert");
  const rates: Record<"ours" | "theirs", number[]> = { ours: [], theirs: [] };
  let bytes = 0;
  for (let round = 0; round <= ROUNDS; round++) {
    progress(`pull: rows100k, round ${round} of ${ROUNDS}`);
    const ours = await timed(async () => {
      const pulled = await pullAll(gateway, start.cursor);
      if (pulled.rows !== 100_000) throw new Error(`${pulled.rows} rows came instead of 100,000`);
      bytes = pulled.bytes;
    });
    const theirs = await timed(async () => {
      for (let after = 0; after < 100_000; after += BARE_PAGE)
        await sendOk("GET", new URL(`/read?of=${gateway.id}&after=${after}&rows=${BARE_PAGE}`, world.bare));
    });
    if (round === 0) continue; // to warm up
    rates.ours.push(1e8 / ours);
    rates.theirs.push(1e8 / theirs);
  }
  out.ratio("rows100k", ratioOf(rates.ours, rates.theirs));
  out.figure("rows100kPerSecond", measure(rates.ours), "rows/s");
  out.figure("rows100kBarePerSecond", measure(rates.theirs), "rows/s");
  out.figure("bytesPerRow", bytes / 100_000, "bytes");
}

async function changed1k(world: World, out: Sheet): Promise<void> {
  const gateway = await Gateway.open(world, "pull-1m");
  const clock = await fill(world, gateway, 1_000_000, "upsert");
  const bare = new URL(`/pick?of=${gateway.id}`, world.bare);
  progress("pull: a new client reads all million rows");
  let cursor = "";
  const scan = await timed(async () => {
    cursor = (await pullAll(gateway, "")).cursor;
  });
  out.figure("scan1mPerSecond", 1e9 / scan, "rows/s");
  const times: Record<"ours" | "theirs", number[]> = { ours: [], theirs: [] };
  for (let round = 0; round <= ROUNDS; round++) {
    progress(`pull: changed1k, round ${round} of ${ROUNDS}`);
    const numbers = [...new Set(Array.from({ length: 1100 }, (_, k) => scramble(k + round * 9999) % 1_000_000))].slice(
      0,
      1000,
    );
    const edits = numbers.map((n) => changedRow(n, clock, "counted", round));
    await gateway.push(gateway.encodePush(edits), 1000);
    const ids = JSON.stringify(numbers.map((n) => rowId(n, "counted")));
    let next = cursor;
    const ours = await timed(async () => {
      const pulled = await pullAll(gateway, cursor);
      if (pulled.rows !== 1000) throw new Error(`${pulled.rows} rows came instead of 1,000`);
      next = pulled.cursor;
    });
    const theirs = await timed(() => sendOk("POST", bare, {}, ids));
    cursor = next;
    if (round === 0) continue;
    times.ours.push(ours);
    times.theirs.push(theirs);
  }
  out.ratio("changed1k", ratioOf(times.theirs, times.ours));
  out.figure("changed1kMs", measure(times.ours), "ms");
  out.figure("changed1kBareMs", measure(times.theirs), "ms");
}

export const pull: Bench = {
  name: "pull",
  async run() {
    const out = sheet();
    const world = await startWorld();
    try {
      await rows100k(world, out);
      await changed1k(world, out);
    } finally {
      await world.stop();
    }
    return out;
  },
};

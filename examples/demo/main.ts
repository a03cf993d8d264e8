/**
 * `npm run demo`: real rows from two devices through workerd into Iceberg tables, read back by DuckDB, and compared cell
 * by cell; then the todo app (examples/todo), from the same gateway, until Ctrl-C. Needs no account and no network.
 *
 *   --json   the last line is one JSON object
 *   --stay   keeps the gateway and the app also where nobody is at a terminal; without it, they end with the demo
 */
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join, relative } from "node:path";
import { prepareApp, setUpTodo } from "../todo/setup.ts";
import { compareTables } from "./compare.ts";
import { type Conflicts, runConflicts } from "./conflicts.ts";
import { FLIGHT_COLUMNS, flights, MOVIE_COLUMNS, movies } from "./data.ts";
import { type Device, deviceRows, openDevice } from "./devices.ts";
import { DemoGateway, GATEWAY_ID } from "./gateway.ts";
import { DemoLake } from "./lake.ts";

const FLIGHTS = 200_000;
const TASK_COLUMNS = [
  { name: "title", type: "string" },
  { name: "status", type: "string" },
] as const;
const TABLES = { flights: FLIGHT_COLUMNS, movies: MOVIE_COLUMNS, tasks: TASK_COLUMNS };

const EXPECTATIONS: Record<keyof Conflicts, string> = {
  columnMerge: "alice sets a title, bob a status, both offline: both survive, in all six orders of syncing",
  sameColumn: "both set the same cell: the later edit wins, although the earlier arrives last",
  lateEdit: "an edit made offline long ago reaches carol, who had already pulled newer ones",
  delete: "a deleted film is gone everywhere, and a late update does not bring it back",
};

const DIRECTORY = join(import.meta.dirname, "..", "..", ".demo");
const started = performance.now();
const elapsed = () => `${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s`;
const say = (text: string) => console.log(`${elapsed()}  ${text}`);
const number = (n: number) => n.toLocaleString("en");

async function timed<T>(what: string, rows: number, body: () => Promise<T>): Promise<T> {
  const from = performance.now();
  const result = await body();
  const ms = performance.now() - from;
  say(
    `${what}: ${number(rows)} rows in ${(ms / 1000).toFixed(1)} s (${number(Math.round((rows / ms) * 1000))} rows/s)`,
  );
  return result;
}

async function setUp(gateway: DemoGateway): Promise<void> {
  for (const [table, columns] of Object.entries(TABLES))
    await gateway.admin("PUT", `/v1/${GATEWAY_ID}/admin/tables/${table}`, { columns });
  // Without rules clients see nothing. Here: flights for everybody, films and tasks for the team `lake`; all may write.
  const team = [{ name: "everyone", tables: Object.keys(TABLES), filters: [], write: [] }];
  await gateway.admin("PUT", `/v1/${GATEWAY_ID}/admin/sync-rules`, { buckets: team });
}

async function pushFlights(alice: Device, bob: Device): Promise<void> {
  const rows = await flights(FLIGHTS);
  const halves = [rows.slice(0, FLIGHTS / 2), rows.slice(FLIGHTS / 2)] as const;
  await timed("alice and bob write flights to their own SQLite, offline", rows.length, async () => {
    await alice.sync.tracker.insertMany("flights", halves[0]);
    await bob.sync.tracker.insertMany("flights", halves[1]);
  });
  const stop = progressOf(alice, bob);
  await timed("both devices push, and pull each other's", rows.length, () =>
    Promise.all([alice.sync.syncOnce(), bob.sync.syncOnce()]),
  );
  stop();
}

/** A line now and then while devices sync. @returns a function that ends it */
function progressOf(...devices: Device[]): () => void {
  const latest = devices.map(() => ({ pushed: 0, pulled: 0 }));
  let saidAt = performance.now();
  const stops = devices.map((device, at) =>
    device.sync.on("progress", ({ pushed, pulled }) => {
      const sum = latest[at] ?? { pushed: 0, pulled: 0 };
      latest[at] = { pushed: sum.pushed + pushed, pulled: sum.pulled + pulled };
      if (performance.now() - saidAt < 4000) return;
      saidAt = performance.now();
      say(
        `  ${devices.map((d, k) => `${d.name}: ${number(latest[k]?.pushed ?? 0)} pushed, ${number(latest[k]?.pulled ?? 0)} pulled`).join("; ")}`,
      );
    }),
  );
  return () => {
    for (const stop of stops) stop();
  };
}

async function main({ json, stay }: { json: boolean; stay: boolean }): Promise<boolean> {
  await rm(DIRECTORY, { recursive: true, force: true });
  const app = join(DIRECTORY, "app");
  const gateway = new DemoGateway(join(DIRECTORY, "gateway"), 0, stay ? app : undefined);
  if (stay) {
    say("building the todo app ...");
    await prepareApp(gateway.server, app);
  }
  say("starting the gateway: the edge Worker in workerd, on this machine, data under .demo/ ...");
  const url = await gateway.start();
  say(`gateway at ${url.origin}`);
  try {
    await setUp(gateway);
    const alice = await openDevice(gateway, "alice", "alice-phone", TABLES);
    const bob = await openDevice(gateway, "bob", "bob-laptop", TABLES);
    const carol = await openDevice(gateway, "carol", "carol-tablet", TABLES);
    await pushFlights(alice, bob);
    await alice.sync.tracker.insertMany("movies", movies());
    await alice.sync.syncOnce();
    await timed("carol, a new device, pulls everything", FLIGHTS + movies().length, () => carol.sync.syncOnce());
    const flush = () => gateway.admin("POST", `/v1/${GATEWAY_ID}/admin/flush`);
    await timed("flush into Iceberg, so that edits meet rows that the lake has", movies().length, flush);
    const conflicts = await runConflicts(alice, bob, carol);
    for (const [name, held] of Object.entries(conflicts) as [keyof Conflicts, boolean][])
      say(`${held ? "ok   " : "WRONG"} ${EXPECTATIONS[name]}`);
    await bob.sync.syncOnce();
    await alice.sync.syncOnce();
    await flush();
    const { good, summary } = await report(gateway, [alice, bob, carol], conflicts);
    if (stay) {
      await setUpTodo(gateway.server);
      console.log(`\nA todo app for two people, offline first, at ${url.href}\nCtrl-C ends it.`);
    } else console.log("  npm run demo -- --stay   goes on with a todo app in your browser");
    if (json) console.log(JSON.stringify(summary));
    if (stay) await Promise.race(["SIGINT", "SIGTERM"].map((signal) => once(process, signal)));
    return good;
  } finally {
    await gateway.server.stop();
  }
}

async function report(gateway: DemoGateway, devices: Device[], conflicts: Conflicts) {
  const lake = new DemoLake(gateway, join(DIRECTORY, "lake"));
  const tables: Record<string, { device: number; shard: number; lake: number }> = {};
  let equal = true;
  for (const [table, columns] of Object.entries(TABLES)) {
    const names = columns.map((c) => c.name);
    const opened = await lake.open(table);
    const copies = [await gateway.shardRows(table, names), await lake.rows(opened, columns)];
    for (const device of devices) copies.push(await deviceRows(device, table, columns));
    const compared = compareTables(names, ["shard", "lake", ...devices.map((d) => d.name)], copies);
    equal &&= compared.equal;
    const [shard, inLake, ...onDevices] = copies.map((c) => c.size) as [number, number, ...number[]];
    tables[table] = { device: onDevices.at(-1) as number, shard, lake: inLake };
    say(
      `${table}: ${onDevices.map(number).join(" / ")} rows on the devices, ${number(shard)} in the shard, ${number(inLake)} in the lake ` +
        `(${opened.snapshots} snapshots, ${opened.dataFiles} data and ${opened.deleteFiles} delete files, ${number(Math.round(opened.bytes / 1024))} KiB)`,
    );
    say(compared.equal ? `  equal: ${number(compared.cells)} cells compared` : `  NOT EQUAL: ${compared.difference}`);
    if (table === "flights") await show(lake, opened.sql);
  }
  const good = equal && Object.values(conflicts).every(Boolean);
  say(good ? "device = shard = lake" : "SOMETHING IS WRONG, see above");
  console.log(`
What you saw: three devices with SQLite of their own, one gateway (Cloudflare's workerd), Iceberg tables in its bucket.
Look further:
  ${relative(process.cwd(), join(DIRECTORY, "lake"))}/     the Parquet files that DuckDB read
  ${relative(process.cwd(), join(DIRECTORY, "gateway"))}/  the gateway's SQLite databases and its bucket
  docs/lake.md      how the tables are laid out, and how DuckDB, PyIceberg and Spark attach
  npm run dev       a gateway of your own on http://localhost:8787`);
  const seconds = Number(((performance.now() - started) / 1000).toFixed(1));
  return { good, summary: { demo: "lakesync", equal, tables, conflicts, seconds } };
}

async function show(lake: DemoLake, sql: string): Promise<void> {
  const rows = await lake.query(
    `SELECT origin, count(*)::INT AS flights, round(avg(delay), 1) AS mean_delay FROM (${sql}) GROUP BY origin ORDER BY flights DESC LIMIT 3`,
  );
  say(
    `  DuckDB, busiest airports: ${rows.map((r) => `${r.origin} ${number(Number(r.flights))} (mean delay ${r.mean_delay} min)`).join(", ")}`,
  );
}

const json = process.argv.includes("--json");
const atTerminal = process.stdout.isTTY && process.env.CI === undefined && !json;
process.exitCode = (await main({ json, stay: atTerminal || process.argv.includes("--stay") })) ? 0 : 1;

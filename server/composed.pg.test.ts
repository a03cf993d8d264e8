/** Gateways whose configuration composes backends, in workerd: a fan-out over two real databases, tiers of Postgres and the lake. */
import pg from "pg";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { Analyst, duckdbNode } from "../analyst/index.ts";
import { defineConfig } from "../schemas/index.ts";
import { GatewayServer } from "./index.ts";

const HOUR = 3_600_000;
const COPY = `copy_${process.pid}`;
const CONFIG = defineConfig({
  backends: {
    main: { type: "postgres", binding: "MAIN" },
    copy: { type: "postgres", env: "COPY_URL" },
    both: { type: "fan-out", primary: "main", secondaries: ["copy", "lake"] },
    aged: { type: "lifecycle", hot: { backend: "main", maxAgeMs: HOUR }, cold: { backend: "lake" } },
    gone: { type: "postgres", env: "GONE_URL" },
    goneToo: { type: "mysql", env: "GONE_TOO_URL" },
    lost: { type: "mysql", env: "LAKESYNC_TEST_NOBODY_SETS_THIS" },
  },
  tables: { orders: "both", events: "aged", audit: "gone", trail: "goneToo" },
});
/** Nobody listens there. */
const GONE = {
  GONE_URL: "postgres://keeper:hunter2@127.0.0.1:9/gone",
  GONE_TOO_URL: "mysql://keeper:hunter2@127.0.0.1:9/gone",
};
const urlOf = (database: string) => {
  const url = new URL(inject("postgresUrl"));
  url.pathname = `/${database}`;
  url.password = "none";
  return String(url);
};
const MAIN_DATABASE = new URL(inject("postgresUrl")).pathname.slice(1);

let server: GatewayServer;
let main: pg.Client;

beforeAll(async () => {
  main = new pg.Client({ connectionString: inject("postgresUrl") });
  await main.connect();
  await main.query(`CREATE DATABASE ${COPY}`);
  server = new GatewayServer({
    port: 0,
    gatewayId: "shop",
    jwtSecret: "a secret for tests only, 32 bytes and more",
    persistence: "memory",
    cronMs: 200,
    backends: { MAIN: urlOf(MAIN_DATABASE) },
    config: CONFIG,
    vars: { LOG_LEVEL: "error", COPY_URL: urlOf(COPY), ...GONE },
  });
  await server.start();
});

afterAll(async () => {
  await server?.stop();
  await main?.query(`DROP DATABASE IF EXISTS ${COPY} WITH (FORCE)`);
  await main?.end();
});

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (let n = 0; n < 600; n++) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("It did not come about.");
}

/** A tenant of its own. */
class Tenant {
  readonly id: string;
  #edits = 0;
  constructor(name: string) {
    this.id = `${name}-${process.pid}`;
  }

  async ask(method: string, path: string, body?: unknown) {
    const token = await server.token({ gw: this.id, sub: "root", role: "admin" });
    const response = await fetch(new URL(path.startsWith("/") ? path : `/v1/${this.id}/${path}`, server.url), {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
    return { status: response.status, body: (await response.json()) as any };
  }

  putTable(table: string, more: object = {}) {
    const columns = [
      { name: "title", type: "string" },
      { name: "price", type: "number" },
    ];
    return this.ask("PUT", `admin/tables/${table}`, { columns, ...more });
  }

  async push(table: string, op: string, rowId: string, cells: Record<string, unknown> = {}, ageMs = 0): Promise<void> {
    const hlc = ((BigInt(Date.now() - ageMs) << 16n) + BigInt(++this.#edits)).toString();
    const columns = Object.entries(cells).map(([column, value]) => ({ column, value }));
    const deltas = [{ op, table, rowId, hlc, columns }];
    expect((await this.ask("POST", "push", { clientId: "client-1", deltas })).body).toMatchObject({ rejected: [] });
  }

  async flush(): Promise<void> {
    const { shards } = (await this.ask("POST", "admin/flush")).body;
    for (const { state, errors } of shards) expect([state, errors]).toEqual(["flushed", []]);
  }

  async rowsIn(client: pg.Client, table: string): Promise<string[]> {
    const { rows } = await client.query(`SELECT _id, title, price FROM "${this.id}".${table} ORDER BY _id`);
    return rows.map(({ _id, title, price }) => `${_id} ${title} ${price}`);
  }

  /** Ids of the rows that the lake has. */
  async rowsInLake(table: string): Promise<string[]> {
    const token = () => server.token({ gw: this.id, sub: "root", role: "admin" });
    const analyst = new Analyst({ url: server.url, gatewayId: this.id, token, engine: await duckdbNode() });
    const { rows } = await analyst.query(`SELECT _id FROM ${table} ORDER BY _id`, { live: false });
    await analyst.close();
    return rows.map(({ _id }) => String(_id));
  }
}

const follower = async (tenant: Tenant) => (await tenant.ask("GET", "admin/status")).body.secondaries[0];

test("[F2] secondaries follow each flush by themselves; one that is down holds up nobody, and catches up", async () => {
  const shop = new Tenant("fan");
  expect((await shop.putTable("orders")).status).toBe(200);
  expect((await shop.ask("GET", "admin/backends")).body).toMatchObject({
    backends: [
      ...[
        { name: "lake", kind: "iceberg" },
        { name: "MAIN", kind: "postgres" },
      ],
      ...[{ name: "aged", kind: "lifecycle", parts: ["main", "lake"] }],
      ...[{ name: "both", kind: "fan-out", parts: ["main", "copy", "lake"] }],
      ...[{ name: "copy" }, { name: "gone" }, { name: "goneToo" }, { name: "lost" }, { name: "main" }],
    ],
    tables: { orders: "both" },
  });
  const copy = new pg.Client({ connectionString: urlOf(COPY) });
  await copy.connect();
  try {
    await shop.push("orders", "INSERT", "a", { title: "A Book", price: 9.5 });
    await shop.flush();
    expect(await shop.rowsIn(main, "orders")).toEqual(["a A Book 9.5"]);
    await until(async () => ((await follower(shop))?.report?.ok ? true : undefined));
    expect(await shop.rowsIn(copy, "orders")).toEqual(["a A Book 9.5"]);
    expect(await shop.rowsInLake("orders")).toEqual(["a"]);
  } finally {
    await copy.end();
  }

  await main.query(`ALTER DATABASE ${COPY} ALLOW_CONNECTIONS false`);
  await main.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", [COPY]);
  await shop.push("orders", "UPDATE", "a", { price: 8 });
  await shop.push("orders", "INSERT", "b", { title: "A Pen" });
  await shop.flush();
  expect(await shop.rowsIn(main, "orders")).toEqual(["a A Book 8", "b A Pen null"]);
  const failed = await until(async () => {
    const found = await follower(shop);
    return found.report?.ok === false ? found : undefined;
  });
  expect(failed).toMatchObject({ table: "orders", flushes: 1 });
  expect(failed.report.error).toMatch(/copy is behind: /);
  // The other secondary is not held up, either.
  expect(await shop.rowsInLake("orders")).toEqual(["a", "b"]);
  await shop.push("orders", "DELETE", "a");
  await shop.flush();

  await main.query(`ALTER DATABASE ${COPY} ALLOW_CONNECTIONS true`);
  expect((await shop.ask("POST", "admin/backends")).body.tables).toMatchObject([
    { table: "orders", duty: "follow", ok: true, secondaries: [{ backend: "copy" }, { backend: "lake" }] },
  ]);
  const again = new pg.Client({ connectionString: urlOf(COPY) });
  await again.connect();
  try {
    expect(await shop.rowsIn(again, "orders")).toEqual(["b A Pen null"]);
    const log = await again.query(`SELECT _op FROM "${shop.id}".orders__changes ORDER BY _seq`);
    expect(log.rows.map(({ _op }) => _op)).toEqual(["INSERT", "UPDATE", "INSERT", "DELETE"]);
  } finally {
    await again.end();
  }
  expect(await shop.rowsInLake("orders")).toEqual(["b"]);
  expect(await follower(shop)).toMatchObject({ flushes: 0, report: { ok: true } });
});

test("Cron moves to the cold tier exactly what is due; what changes there comes back, what is deleted there is gone", async () => {
  const shop = new Tenant("tiers");
  await shop.putTable("events");
  for (const id of ["old-1", "old-2", "old-3"])
    await shop.push("events", "INSERT", id, { title: id, price: 1 }, 2 * HOUR);
  await shop.push("events", "INSERT", "almost", { title: "almost", price: 1 }, HOUR - 10 * 60_000);
  await shop.push("events", "INSERT", "touched", { title: "touched", price: 1 }, 2 * HOUR);
  await shop.push("events", "UPDATE", "touched", { price: 2 });
  await shop.flush();
  // The gateway's turn comes with its first flush.
  const moved = await until(async () => {
    const [tiers] = (await shop.ask("GET", "admin/status")).body.tiers;
    return tiers?.report;
  });
  expect(moved).toMatchObject({ ok: true, moved: 3, kept: 0, more: false });
  expect(await shop.rowsIn(main, "events")).toEqual(["almost almost 1", "touched touched 2"]);
  expect(await shop.rowsInLake("events")).toEqual(["old-1", "old-2", "old-3"]);

  await shop.push("events", "UPDATE", "old-1", { price: 5 });
  await shop.push("events", "DELETE", "old-2");
  await shop.flush();
  expect(await shop.rowsIn(main, "events")).toEqual(["almost almost 1", "old-1 old-1 5", "touched touched 2"]);
  expect((await shop.ask("POST", "admin/backends")).body.tables).toMatchObject([{ duty: "tiers", ok: true, moved: 0 }]);
  expect((await shop.ask("POST", "admin/flush")).body.shards).toMatchObject([{ state: "empty" }]);
  expect(await shop.rowsInLake("events")).toEqual(["old-1", "old-3"]);
  expect((await shop.ask("GET", "admin/verify")).body).toMatchObject({ ok: true });
});

test("[S1] tenants share no table, whatever the configuration names; an admin says which table goes where, and to nothing else", async () => {
  const [mine, other] = [new Tenant("mine"), new Tenant("other")];
  for (const shop of [mine, other]) {
    await shop.putTable("events");
    await shop.push("events", "INSERT", shop.id, { title: shop.id });
    await shop.flush();
    expect(await shop.rowsIn(main, "events")).toEqual([`${shop.id} ${shop.id} null`]);
  }
  expect((await mine.ask("PUT", "admin/backends", { tables: { events: "main" } })).body.tables).toEqual({
    events: "main",
  });
  expect((await other.ask("GET", "admin/backends")).body.tables).toEqual({ events: "aged" });
  expect(await mine.ask("PUT", "admin/backends", { tables: { events: "lost" } })).toMatchObject({
    status: 400,
    body: {
      error: {
        code: "BadConfig",
        message: expect.stringContaining("the secret LAKESYNC_TEST_NOBODY_SETS_THIS is not set"),
      },
    },
  });
  expect(await mine.putTable("notes", { backend: "COPY_URL" })).toMatchObject({
    status: 400,
    body: {
      error: {
        code: "BadConfig",
        message: expect.stringContaining("lake, MAIN, aged, both, copy, gone, goneToo, lost, main"),
      },
    },
  });
});

test("[F2] a table whose backend is down holds up no table that has other shards", async () => {
  const shop = new Tenant("apart");
  for (const table of ["audit", "trail"]) await shop.putTable(table, { shards: 1 });
  await shop.putTable("events");
  for (const round of [1, 2]) {
    for (const table of ["audit", "trail", "events"]) await shop.push(table, "INSERT", `row-${round}`, { title: "x" });
    const { shards } = (await shop.ask("POST", "admin/flush")).body as { shards: { shard: string; state: string }[] };
    expect(shards.map(({ shard, state }) => `${shard.split(".")[0]} ${state}`).sort()).toEqual([
      "audit failed",
      "common flushed",
      "trail failed",
    ]);
  }
  expect(await shop.rowsIn(main, "events")).toEqual(["row-1 x null", "row-2 x null"]);
  const { backends } = (await shop.ask("GET", "admin/status")).body as { backends: { name: string }[] };
  for (const name of ["gone", "goneToo"])
    expect(backends.find((each) => each.name === name)).toMatchObject({
      unflushedDeltas: 2,
      lastError: expect.stringContaining(`: DestinationUnavailable: ${name} is not available: `),
    });
  expect(JSON.stringify(backends)).not.toContain("hunter2");
});

test("a configuration that is wrong is told when the server is made, with its key and the remedy", () => {
  const options = { port: 0, gatewayId: "demo", jwtSecret: "x".repeat(32), persistence: "memory" } as const;
  const config = { backends: { main: { type: "postgres" as const } } };
  expect(() => new GatewayServer({ ...options, config })).toThrow(
    expect.objectContaining({ code: "Misconfigured", message: expect.stringMatching(/backends\.main: Give either/) }),
  );
});

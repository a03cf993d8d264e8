/** A gateway that is given an adapter object: whatever it is made of works in this process, for a Worker in workerd. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { expect, inject, onTestFinished, test } from "vitest";
import { CompositeAdapter, FanOutAdapter, LifecycleAdapter, PostgresAdapter } from "../adapters/index.ts";
import { readAll, SqliteAdapter } from "../adapters/testing.ts";
import { NodeSqlStore, tableOf } from "../core/testing.ts";
import { GatewayServer, type GatewayServerOptions } from "./index.ts";

const HOUR = 3_600_000;
const CELLS = { title: "string", price: "number" } as const;
const [MAIN, COPY] = [`main_${process.pid}`, `copy_${process.pid}`];

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (let n = 0; n < 600; n++) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("It did not come about.");
}

const jwtSecret = "a secret for tests only, 32 bytes and more";

async function started(
  options: Pick<GatewayServerOptions, "adapter" | "directory" | "cronMs">,
): Promise<GatewayServer> {
  const vars = { LOG_LEVEL: "error" };
  const server = new GatewayServer({
    port: 0,
    gatewayId: "my-gateway",
    jwtSecret,
    persistence: "sqlite",
    vars,
    ...options,
  });
  await server.start();
  return server;
}

function caller(server: GatewayServer, gateway = "my-gateway") {
  let edits = 0;
  const ask = async (method: string, path: string, body?: unknown) => {
    const token = await server.token({ gw: gateway, sub: "root", role: "admin" });
    const response = await fetch(new URL(`/v1/${gateway}/${path}`, server.url), {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
    return (await response.json()) as any;
  };
  return {
    ask,
    putTable: (table: string) => {
      const columns = Object.entries(CELLS).map(([name, type]) => ({ name, type }));
      return ask("PUT", `admin/tables/${table}`, { columns });
    },
    async push(table: string, op: string, rowIds: readonly string[], cells: Record<string, unknown> = {}, ageMs = 0) {
      const hlc = () => ((BigInt(Date.now() - ageMs) << 16n) + BigInt(++edits)).toString();
      const columns = Object.entries(cells).map(([column, value]) => ({ column, value }));
      const deltas = rowIds.map((rowId) => ({ op, table, rowId, hlc: hlc(), columns }));
      expect(await ask("POST", "push", { clientId: "client-1", deltas })).toMatchObject({ rejected: [] });
    },
    async flush() {
      for (const { state, errors } of (await ask("POST", "admin/flush")).shards)
        expect([state, errors]).toEqual(["flushed", []]);
    },
  };
}

test("[F1] an adapter object takes the flushes: composed, fanned out, in tiers, and one of a class of your own", async () => {
  const client = new pg.Client({ connectionString: inject("postgresUrl") });
  await client.connect();
  const directory = await mkdtemp(join(tmpdir(), "lakesync-adapter-"));
  const connectionString = inject("postgresUrl");
  const [main, copy] = [MAIN, COPY].map((schema) => new PostgresAdapter({ connectionString, schema }));
  const [cold, own] = [new SqliteAdapter(new NodeSqlStore()), new SqliteAdapter(new NodeSqlStore())];
  if (!main || !copy) throw new Error("there are two");
  const adapter = new CompositeAdapter({
    routes: [
      { tables: ["users", "settings"], adapter: main },
      { tables: ["orders"], adapter: new FanOutAdapter({ primary: main, secondaries: [copy] }) },
      {
        tables: ["events"],
        adapter: new LifecycleAdapter({ hot: { adapter: main, maxAgeMs: HOUR }, cold: { adapter: cold } }),
      },
    ],
    defaultAdapter: own,
  });
  const rows = async (schema: string, table: string) => {
    const { rows: found } = await client.query(`SELECT _id, title, price FROM "${schema}".${table} ORDER BY _id`);
    return found.map(({ _id, title, price }) => `${_id} ${title} ${price}`);
  };
  let server = await started({ adapter, directory, cronMs: 200 });
  onTestFinished(async () => {
    await server.stop();
    await adapter.close();
    for (const schema of [MAIN, COPY]) await client.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
    await client.end();
    await rm(directory, { recursive: true, force: true });
  });
  let shop = caller(server);
  for (const table of ["users", "orders", "events", "notes"]) await shop.putTable(table);
  const many = Array.from({ length: 2_000 }, (_, at) => `user-${String(at).padStart(4, "0")}`);
  for (let at = 0; at < many.length; at += 500)
    await shop.push("users", "INSERT", many.slice(at, at + 500), { title: "x" });
  await shop.push("users", "UPDATE", ["user-0007"], { title: "é'\\", price: -0.5 });
  await shop.push("orders", "INSERT", ["a", "b"], { title: "A Book", price: 9.5 });
  await shop.push("events", "INSERT", ["old-1", "old-2"], { title: "old" }, 2 * HOUR);
  await shop.push("events", "INSERT", ["young"], { title: "young" });
  await shop.push("notes", "INSERT", ["n"], { title: "note" });
  await shop.flush();

  const users = await rows(MAIN, "users");
  expect(users).toEqual(many.map((id) => (id === "user-0007" ? `${id} é'\\ -0.5` : `${id} x null`)));
  expect(await readAll(own, tableOf("notes", CELLS))).toEqual({ n: ["note", null] });
  // By queue and Cron, as for backends that the configuration composes.
  const orders = ["a A Book 9.5", "b A Book 9.5"];
  await until(async () => {
    const { secondaries, tiers } = await shop.ask("GET", "admin/status");
    const done = (list: { table: string; report?: { ok: boolean } }[], table: string) =>
      list.some((each) => each.table === table && each.report?.ok);
    return done(secondaries, "orders") && done(tiers, "events") ? true : undefined;
  });
  expect(await rows(COPY, "orders")).toEqual(orders);
  expect(await rows(MAIN, "events")).toEqual(["young young null"]);
  expect(Object.keys(await readAll(cold, tableOf("events", CELLS)))).toEqual(["old-1", "old-2"]);

  // The gateway goes and comes back; the adapter is as it was.
  await server.stop();
  server = await started({ adapter, directory });
  shop = caller(server);
  await shop.push("orders", "DELETE", ["a"]);
  await shop.push("events", "UPDATE", ["old-1"], { price: 5 });
  await shop.flush();
  // Now, or by the queue, whichever comes first.
  await shop.ask("POST", "admin/backends");
  await until(async () => ((await rows(COPY, "orders")).length === 1 ? true : undefined));
  expect(await rows(COPY, "orders")).toEqual(["b A Book 9.5"]);
  expect(await rows(MAIN, "events")).toEqual(["old-1 old 5", "young young null"]);
  expect((await shop.ask("GET", "admin/backends")).backends).toMatchObject([
    { name: "lake" },
    { name: "adapter", kind: "adapter" },
  ]);

  // [S1] Another tenant of this server would share its tables.
  const stranger = caller(server, "other");
  await stranger.putTable("users");
  await stranger.push("users", "INSERT", ["intruder"], { title: "x" });
  const { shards } = await stranger.ask("POST", "admin/flush");
  expect(shards).toMatchObject([
    { state: "failed", errors: [expect.stringContaining("The adapter is gateway my-gateway's alone")] },
  ]);
  expect(await rows(MAIN, "users")).toEqual(users);
});

test("what is no adapter is refused when the server is made, with what it lacks", () => {
  const adapter = { ensureSchema: async () => {} } as unknown as PostgresAdapter;
  const options = { port: 0, gatewayId: "demo", jwtSecret, persistence: "memory" } as const;
  expect(() => new GatewayServer({ ...options, adapter })).toThrow(
    expect.objectContaining({
      code: "Misconfigured",
      message: expect.stringContaining("it has no insertDeltas, queryDeltasSince"),
    }),
  );
});

/** A gateway whose tables are kept in a real PostgreSQL, through a Hyperdrive binding in workerd. */
import pg from "pg";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { GatewayServer } from "./index.ts";

const GATEWAY = `shop-${process.pid}`;
let server: GatewayServer;
let admin: string;
let client: pg.Client;

beforeAll(async () => {
  server = new GatewayServer({
    port: 0,
    gatewayId: GATEWAY,
    jwtSecret: "a secret for tests only, 32 bytes and more",
    persistence: "memory",
    backends: {
      // A binding wants a password; this server asks for none.
      WAREHOUSE: inject("postgresUrl").replace("postgres@", "postgres:none@"),
      // Nobody listens there.
      ATTIC: "postgres://keeper:hunter2@127.0.0.1:9/attic",
    },
    vars: { LOG_LEVEL: "error" },
  });
  await server.start();
  admin = await server.token({ sub: "root", role: "admin" });
  client = new pg.Client({ connectionString: inject("postgresUrl") });
  await client.connect();
});

afterAll(async () => {
  await client?.end();
  await server?.stop();
});

async function ask(method: string, path: string, body?: unknown) {
  const response = await fetch(new URL(`/v1/${GATEWAY}/${path}`, server.url), {
    method,
    headers: { authorization: `Bearer ${admin}`, "content-type": "application/json" },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
  return { status: response.status, body: (await response.json()) as any };
}

const COLUMNS = [
  { name: "title", type: "string" },
  { name: "price", type: "number" },
  { name: "added", type: "timestamp" },
];
let edits = 0;
const push = (table: string, op: string, rowId: string, cells: Record<string, unknown> = {}) => {
  const hlc = ((BigInt(Date.now() - 60_000) << 16n) + BigInt(++edits)).toString();
  const columns = Object.entries(cells).map(([column, value]) => ({ column, value }));
  return ask("POST", "push", { clientId: "client-1", deltas: [{ op, table, rowId, hlc, columns }] });
};
const backend = (status: { backends: { name: string }[] }, name: string) =>
  status.backends.find((each) => each.name === name);

test("[F1] pushes become rows of a Postgres table that anybody reads by SQL, in a schema of the gateway's own", async () => {
  expect(await ask("PUT", "admin/tables/items", { columns: COLUMNS, backend: "WAREHOUSE" })).toMatchObject({
    status: 200,
  });
  expect(await ask("PUT", "admin/tables/notes", { columns: COLUMNS })).toMatchObject({ status: 200 });
  for (const table of ["items", "notes"])
    expect(
      (await push(table, "INSERT", "a", { title: "A Book", price: 9.5, added: "2026-01-31T08:00:00.000Z" })).body,
    ).toMatchObject({ rejected: [] });
  await push("items", "INSERT", "b", { title: "A Pen" });
  await push("items", "UPDATE", "a", { price: 8 });
  await push("items", "DELETE", "b");
  const waiting = (await ask("GET", "admin/status")).body;
  expect(backend(waiting, "WAREHOUSE")).toMatchObject({ kind: "postgres", tables: ["items"], lastError: null });
  expect(backend(waiting, "lake")).toMatchObject({ kind: "iceberg", tables: ["notes"] });

  const { shards } = (await ask("POST", "admin/flush")).body;
  expect(shards).toMatchObject([{ state: "flushed" }]);
  const { rows } = await client.query(`SELECT _id, title, price, added FROM "${GATEWAY}".items`);
  expect(rows).toEqual([{ _id: "a", title: "A Book", price: 8, added: new Date("2026-01-31T08:00:00Z") }]);
  const log = await client.query(`SELECT _op FROM "${GATEWAY}".items__changes ORDER BY _seq`);
  expect(log.rows.map(({ _op }) => _op)).toEqual(["INSERT", "INSERT", "UPDATE", "DELETE"]);
  expect(backend((await ask("GET", "admin/status")).body, "WAREHOUSE")).toMatchObject({
    unflushedDeltas: 0,
    oldestMs: null,
  });
  expect((await ask("GET", "admin/verify")).body).toMatchObject({ ok: true });

  await push("items", "INSERT", "c", { title: "again" });
  await ask("POST", "admin/flush");
  expect((await client.query(`SELECT _id FROM "${GATEWAY}".items ORDER BY _id`)).rows).toEqual([
    { _id: "a" },
    { _id: "c" },
  ]);
});

test("[S3] a backend is a binding's name: others are refused by name, and no address is ever shown", async () => {
  const unknown = await ask("PUT", "admin/tables/other", { columns: COLUMNS, backend: "LAKE" });
  expect(unknown).toMatchObject({
    status: 400,
    body: { error: { code: "BadConfig", message: expect.stringContaining("ATTIC, WAREHOUSE") } },
  });
  expect(await ask("PUT", "admin/backends", { tables: { items: "JWT_SECRET" } })).toMatchObject({ status: 400 });
  expect(await ask("PUT", "admin/backends", { tables: { nothing: "WAREHOUSE" } })).toMatchObject({ status: 404 });
  const { body } = await ask("GET", "admin/backends");
  expect(body).toMatchObject({
    backends: [
      { name: "lake", kind: "iceberg" },
      { name: "ATTIC", kind: "postgres" },
      { name: "WAREHOUSE", kind: "postgres" },
    ],
    tables: { items: "WAREHOUSE", notes: "lake" },
  });
  expect(JSON.stringify(body)).not.toMatch(/postgres:\/\/|hunter2/);
});

test("[F2] a backend that is down keeps its flush waiting; status says since when and why; another backend takes over", async () => {
  expect(await ask("PUT", "admin/backends", { tables: { notes: "ATTIC" } })).toMatchObject({
    status: 200,
    body: { tables: { items: "WAREHOUSE", notes: "ATTIC" } },
  });
  await push("notes", "INSERT", "late", { title: "waits" });
  expect((await ask("POST", "admin/flush")).body.shards).toMatchObject([{ state: "failed" }]);
  const { body: status } = await ask("GET", "admin/status");
  expect(backend(status, "ATTIC")).toMatchObject({
    unflushedDeltas: 1,
    oldestMs: expect.any(Number),
    lastError: expect.stringMatching(/^notes: DestinationUnavailable: ATTIC is not available/),
  });
  expect(JSON.stringify(status)).not.toContain("hunter2");
  await ask("PUT", "admin/backends", { tables: { notes: "WAREHOUSE" } });
  expect((await ask("POST", "admin/flush")).body.shards).toMatchObject([{ state: "flushed" }]);
  expect((await client.query(`SELECT _id, title FROM "${GATEWAY}".notes`)).rows).toEqual([
    { _id: "late", title: "waits" },
  ]);
});

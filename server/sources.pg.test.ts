/** Rows of a real PostgreSQL that clients pull by a source's name, through a gateway in workerd and its Hyperdrive binding. */
import pg from "pg";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { defineConfig } from "../schemas/index.ts";
import { GatewayServer } from "./index.ts";

const DATABASE = `sources_${process.pid}`;
const GATEWAY = "shop";
const own = [[{ column: "owner", op: "eq", value: "jwt:sub" }]] as const;
const SALES = {
  backend: "warehouse",
  schema: "public",
  table: "Sales of '26",
  key: "sale id",
  gateways: [GATEWAY],
};
const COLUMNS = {
  owner: "string",
  amount: "integer",
  price: "number",
  paid: "boolean",
  sold: "timestamp",
  note: "json",
  scan: "bytes",
} as const;
const rows = (filters: readonly (readonly object[])[]) => filters.map((all) => [...all]) as never;
const numbers = (text: string, columns: Record<string, string>, filters: readonly (readonly object[])[] = [[]]) =>
  ({ backend: "warehouse", query: text, key: "n", columns, gateways: [GATEWAY], rows: rows(filters) }) as never;
const CONFIG = defineConfig({
  backends: { warehouse: { type: "postgres", binding: "WAREHOUSE" } },
  sources: {
    sales: { ...SALES, columns: COLUMNS, rows: rows(own) },
    everyone: { ...SALES, columns: { amount: "integer" }, rows: rows([[]]) },
    nobody: { ...SALES, columns: COLUMNS },
    elsewhere: { ...SALES, columns: COLUMNS, gateways: ["attic"], rows: rows([[]]) },
    tenants: {
      ...SALES,
      columns: { tenant: "string" },
      gateways: "all",
      rows: rows([[{ column: "tenant", op: "eq", value: "jwt:gw" }]]),
    },
    several: {
      ...SALES,
      columns: COLUMNS,
      rows: rows([
        [
          { column: "owner", op: "in", value: "jwt:teams" },
          { column: "amount", op: "gte", value: "3" },
        ],
        [
          { column: "sold", op: "lt", value: "2000-01-01T00:00:00Z" },
          { column: "owner", op: "gt", value: "A" },
        ],
        [{ column: "owner", op: "eq", value: "jwt:missing" }],
      ]),
    },
    counted: numbers("SELECT n, n * 2 AS twice FROM generate_series(1, 1200) AS n -- by a comment", {
      twice: "integer",
    }),
    rare: numbers("SELECT n, n::text AS name FROM generate_series(1000, 9000) AS n", { name: "string" }, [
      [{ column: "name", op: "gt", value: "8999" }],
    ]),
    wide: numbers("SELECT n, repeat('x', 400000) AS text FROM generate_series(1, 9) AS n", { text: "string" }),
    gone: numbers("SELECT n FROM nowhere", { n: "integer" }),
    writes: numbers('WITH w AS (DELETE FROM "Sales of \'26" RETURNING 1 AS n) SELECT n FROM w', { n: "integer" }),
    wipes: numbers("SELECT wipe() AS n", { n: "integer" }),
    odd: numbers("SELECT 1 AS n, 'NaN'::float8 AS x", { x: "number" }),
    keyless: numbers("SELECT NULL::text AS n, 1 AS x", { x: "integer" }),
  },
});

let server: GatewayServer;
let client: pg.Client;

beforeAll(async () => {
  const root = new pg.Client({ connectionString: inject("postgresUrl") });
  await root.connect();
  await root.query(`CREATE DATABASE ${DATABASE}`);
  await root.end();
  const url = Object.assign(new URL(inject("postgresUrl")), { pathname: `/${DATABASE}`, password: "none" });
  client = new pg.Client({ connectionString: url.href });
  await client.connect();
  await client.query(`
    CREATE TABLE "Sales of '26" ("sale id" integer PRIMARY KEY, owner varchar(40), amount smallint, price numeric, paid boolean,
      sold date, note jsonb, scan bytea, tenant text);
    INSERT INTO "Sales of '26" VALUES
      (1, 'alice', 1, 9.50, true, '2026-01-31', '{"b": [1]}', '\\x00ff', 'shop'),
      (2, 'bob', 2, NULL, false, '1999-12-31', NULL, NULL, 'attic'),
      (10, 'alice', 3, 1, NULL, NULL, 'null', '', 'shop'),
      (11, 'x'' OR true --', 4, 0, NULL, NULL, NULL, NULL, 'shop');
    CREATE FUNCTION wipe() RETURNS integer LANGUAGE sql AS $$ DELETE FROM "Sales of '26" RETURNING 1 $$;`);
  server = new GatewayServer({
    port: 0,
    gatewayId: GATEWAY,
    jwtSecret: "a secret for tests only, 32 bytes and more",
    persistence: "memory",
    backends: { WAREHOUSE: url.href },
    config: CONFIG,
    vars: { LOG_LEVEL: "error" },
  });
  await server.start();
});

afterAll(async () => {
  await client?.end();
  await server?.stop();
});

async function pull(claims: Record<string, unknown>, body: Record<string, unknown>) {
  const response = await fetch(new URL(`/v1/${GATEWAY}/pull`, server.url), {
    method: "POST",
    headers: {
      authorization: `Bearer ${await server.token({ sub: "alice", ...claims })}`,
      "content-type": "application/json",
    },
    body: JSON.stringify(body),
  });
  // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
  return { status: response.status, body: (await response.json()) as any };
}

const ids = async (claims: Record<string, unknown>, body: Record<string, unknown>): Promise<string[]> => {
  const { rows } = (await pull(claims, body)).body;
  return rows.map(({ rowId }: { rowId: string }) => rowId);
};

test("[PL7] [PL3] a client pulls its own rows of a table that others made, typed, in order of their key", async () => {
  const { status, body } = await pull({}, { source: "sales" });
  expect(status).toBe(200);
  expect(body).toMatchObject({ hasMore: false, cursor: expect.any(String) });
  const cells = body.rows.map(
    ({ table, rowId, columns }: { table: string; rowId: string; columns: { column: string; value: unknown }[] }) => [
      table,
      rowId,
      Object.fromEntries(columns.map(({ column, value }) => [column, value])),
    ],
  );
  expect(cells).toEqual([
    [
      "sales",
      "1",
      {
        owner: "alice",
        amount: 1,
        price: 9.5,
        paid: true,
        sold: { timestamp: "2026-01-31T00:00:00.000Z" },
        note: { json: { b: [1] } },
        scan: { bytes: "AP8=" },
      },
    ],
    ["sales", "10", { owner: "alice", amount: 3, price: 1, paid: null, sold: null, note: null, scan: { bytes: "" } }],
  ]);
  expect(await ids({ sub: "bob" }, { source: "sales" })).toEqual(["2"]);
});

test("[S3] claims are values: what looks like SQL finds the row that says so, and no other", async () => {
  expect(await ids({ sub: "x' OR true --" }, { source: "sales" })).toEqual(["11"]);
  for (const sub of [`'; DROP TABLE "Sales of '26"; --`, "$1", "\\", `"`, "%"])
    expect(await ids({ sub }, { source: "sales" })).toEqual([]);
  expect((await client.query(`SELECT count(*)::int AS n FROM "Sales of '26"`)).rows).toEqual([{ n: 4 }]);
});

test("[PL7] buckets are joined by OR, lists of claims count, a claim that is missing shows nothing; admins are judged like others", async () => {
  expect(await ids({ teams: ["bob", "alice"] }, { source: "several" })).toEqual(["2", "10"]);
  expect(await ids({}, { source: "several" })).toEqual(["2"]);
  expect(await ids({ role: "admin" }, { source: "sales" })).toEqual(["1", "10"]);
  expect(await ids({ role: "admin" }, { source: "nobody" })).toEqual([]);
  expect(await ids({}, { source: "everyone" })).toEqual(["1", "2", "10", "11"]);
});

test("[S1] a source that is another gateway's is not there; one for all tells them apart by the token's gateway", async () => {
  const others = await pull({ role: "admin" }, { source: "elsewhere" });
  const unknown = await pull({ role: "admin" }, { source: "constructor" });
  for (const { status, body } of [others, unknown]) expect([status, body.error.code]).toEqual([404, "NotFound"]);
  expect(others.body.error.message).toBe(unknown.body.error.message.replace("constructor", "elsewhere"));
  expect(await ids({ tenant: "attic" }, { source: "tenants" })).toEqual(["1", "10", "11"]);
});

test("[PL6] pages follow each other by the source's own cursor, each row once; after the last it begins anew", async () => {
  const seen: string[] = [];
  let cursor = "";
  let pages = 0;
  for (let more = true; more; pages++) {
    const { body } = await pull({}, { source: "counted", ...(cursor && { cursor }) });
    expect(body.resync ?? false).toBe(false);
    seen.push(...body.rows.map(({ rowId }: { rowId: string }) => rowId));
    ({ cursor, hasMore: more } = body);
  }
  expect(seen).toEqual(Array.from({ length: 1200 }, (_, n) => String(n + 1)));
  expect(pages).toBe(3);
  const again = (await pull({}, { source: "counted", cursor })).body;
  expect([again.resync, again.rows[0].rowId]).toEqual([true, "1"]);
  const bytes = (await pull({}, { source: "wide", maxBytes: 1_000_000 })).body;
  expect([bytes.rows.length, bytes.hasMore]).toEqual([2, true]);
  expect((await ids({}, { source: "wide", cursor: bytes.cursor }))[0]).toBe("3");
});

test("[PL6] a filter that SQL cannot decide leaves pages empty for a while, and loses no row", async () => {
  const pages: string[][] = [];
  for (let cursor = "", more = true; more; ) {
    const { body } = await pull({}, { source: "rare", ...(cursor && { cursor }) });
    pages.push(body.rows.map(({ rowId }: { rowId: string }) => rowId));
    ({ cursor, hasMore: more } = body);
  }
  expect(pages).toEqual([[], [], [], ["9000"]]);
});

test("[PL5] other claims begin anew; a cursor of another source or of nobody's is told", async () => {
  const first = (await pull({}, { source: "sales" })).body;
  const other = (await pull({ sub: "bob" }, { source: "sales", cursor: first.cursor })).body;
  expect([other.resync, other.rows.length]).toEqual([true, 1]);
  const moved = (await pull({}, { source: "everyone", cursor: first.cursor })).body;
  expect([moved.resync, moved.rows.length]).toEqual([true, 4]);
  for (const cursor of ["x", "e30", "!", "a".repeat(600_000)])
    expect((await pull({}, { source: "sales", cursor })).body.error.code).toBe("BadCursor");
});

test.each([
  ["gone", /does not know a table, column or function/],
  ["writes", /more than read rows.*0A000/],
  ["wipes", /more than read rows.*25006/],
  ["odd", /column x of row 1 is no number/],
  ["keyless", /its key n has null, which is no row id/],
])(
  "[S5] what is wrong with a source is told with the remedy, and nothing of the database's words: %s",
  async (source, remedy) => {
    const { status, body } = await pull({}, { source });
    expect([status, body.error.code]).toEqual([502, "DestinationRefused"]);
    expect(body.error.message).toMatch(remedy);
    expect(body.error.message).toContain(`The source ${source} cannot be read`);
    expect((await client.query(`SELECT count(*)::int AS n FROM "Sales of '26"`)).rows).toEqual([{ n: 4 }]);
  },
);

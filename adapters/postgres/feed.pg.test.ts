/** Edits that others make in a real PostgreSQL, on their way into sync. */
import pg from "pg";
import { expect, inject, onTestFinished, test } from "vitest";
import { foreignClock, takeEdits } from "../../core/index.ts";
import { FlushScript } from "../../core/testing.ts";
import {
  type DeltaBatch,
  deltasOf,
  HLC_ZERO,
  type HlcText,
  hlcMillis,
  ok,
  packHlc,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import { freshDatabase, onPostgres } from "../testing.ts";
import { PostgresFeed } from "./feed.ts";
import { PostgresAdapter } from "./index.ts";

const TYPES = ["string", "integer", "number", "boolean", "timestamp", "json", "bytes"] as const;
const TABLE: TableSchema = {
  table: "items",
  version: 1,
  columns: TYPES.map((type, at) => ({ id: at + 1, name: `a_${type}`, type, nullable: true })),
  lastColumnId: TYPES.length,
  shards: 0,
};
const now = () => Date.now();

async function world({ follow = true } = {}) {
  const { url } = await freshDatabase(inject("postgresUrl"));
  // A name that has to be quoted, with a mark that ends texts.
  const options = { connectionString: url, schema: "the shop's" };
  const [adapter, feed] = [new PostgresAdapter(options), new PostgresFeed(options)];
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  onTestFinished(async () => {
    await client.end();
    await feed.close();
    await adapter.close();
  });
  unwrap(await adapter.ensureSchema(TABLE));
  await client.query(`SET search_path = "the shop's"`);
  if (follow) unwrap(await feed.follow(TABLE));
  const read = async () =>
    unwrap(await feed.read(TABLE, now)).edits.map(({ letter, rowId, cells }) => [letter, rowId, cells]);
  /** Takes everything, and answers it. */
  const take = async () => {
    const edits: unknown[] = [];
    const push = async (_: string, batch: DeltaBatch) => {
      for (const { op, rowId, columns } of deltasOf(batch)) edits.push([op[0], rowId, columns]);
      return ok([]);
    };
    const taken = unwrap(await takeEdits(feed, TABLE, push, now));
    expect(taken).toEqual({ taken: edits.length, refused: 0, more: false });
    return edits;
  };
  const flush = async (script: FlushScript) => unwrap(await adapter.insertDeltas(script.batch()));
  const sql = async (text: string, values: unknown[] = []) => (await client.query(text, values)).rows;
  return { url, options, adapter, feed, sql, read, take, flush };
}

test("edits by SQL come in their order, with the columns that changed; what a flush writes does not", async () => {
  const { sql, take, flush } = await world();
  const script = new FlushScript(TABLE).edit("INSERT", "a", { a_string: "one", a_integer: 1 }).edit("INSERT", "b", {});
  await flush(script);
  expect(await take()).toEqual([]);
  await sql("UPDATE items SET a_integer = a_integer + 1, a_boolean = NULL");
  await sql("UPDATE items SET a_string = a_string");
  await sql(`INSERT INTO items (_id, a_string) VALUES ('c', 'three'), ('d', NULL)`);
  await sql(
    `INSERT INTO items (_id, a_string) VALUES ('c', 'four') ON CONFLICT (_id) DO UPDATE SET a_string = excluded.a_string`,
  );
  await sql(`DELETE FROM items WHERE _id = 'a'`);
  await sql(`UPDATE items SET _id = 'e', a_string = NULL WHERE _id = 'c'`);
  expect(await take()).toEqual([
    ["U", "a", { a_integer: 2 }],
    ["I", "c", { a_string: "three" }],
    ["I", "d", {}],
    ["U", "c", { a_string: "four" }],
    ["D", "a", {}],
    ["D", "c", {}],
    ["I", "e", {}],
  ]);
  await flush(script.edit("UPDATE", "b", { a_string: "by a device" }).edit("DELETE", "e").edit("INSERT", "f", {}));
  expect(await take()).toEqual([]);
  await sql("TRUNCATE items");
  expect((await take()).map((edit) => (edit as unknown[]).slice(0, 2)).sort()).toEqual([
    ["D", "b"],
    ["D", "d"],
    ["D", "f"],
  ]);
});

test("values keep all their digits, whatever settings others have; what sync cannot hold stays as it is said", async () => {
  const { sql, take } = await world();
  await sql(
    "SET extra_float_digits = 0; SET bytea_output = escape; SET DateStyle = german; SET TimeZone = 'Asia/Tokyo'",
  );
  const insert =
    "INSERT INTO items (_id, a_string, a_integer, a_number, a_boolean, a_timestamp, a_json, a_bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
  await sql(insert, [
    "max",
    `"\\\u{1f3ac}\n`,
    "9223372036854775807",
    "0.1",
    true,
    "9999-12-31T23:59:59.999999Z",
    `{"b": 1, "a": [null]}`,
    "\\x00ff22",
  ]);
  await sql(insert, ["min", "", "-9223372036854775808", "5e-324", false, "0001-01-01T00:00:00Z", `"text"`, "\\x"]);
  await sql(insert, ["odd", null, null, "NaN", null, "infinity", "null", null]);
  expect(await take()).toEqual([
    [
      "I",
      "max",
      {
        a_string: `"\\\u{1f3ac}\n`,
        a_integer: "9223372036854775807",
        a_number: 0.1,
        a_boolean: true,
        a_timestamp: "253402300799999999",
        a_json: `{"b":1,"a":[null]}`,
        a_bytes: "AP8i",
      },
    ],
    [
      "I",
      "min",
      {
        a_string: "",
        a_integer: "-9223372036854775808",
        a_number: 5e-324,
        a_boolean: false,
        a_timestamp: "-62135596800000000",
        a_json: `"text"`,
        a_bytes: "",
      },
    ],
    ["I", "odd", { a_number: "NaN", a_timestamp: "infinity" }],
  ]);
});

test("[F1] a transaction that commits late is found, one that rolls back never was", async () => {
  const { url, sql, take } = await world();
  const slow = new pg.Client({ connectionString: url });
  await slow.connect();
  onTestFinished(() => slow.end());
  await slow.query(`SET search_path = "the shop's"; BEGIN; INSERT INTO items (_id) VALUES ('slow')`);
  await sql(`INSERT INTO items (_id) VALUES ('fast')`);
  expect(await take()).toEqual([["I", "fast", {}]]);
  expect(await take()).toEqual([]);
  await slow.query(`COMMIT; BEGIN; INSERT INTO items (_id) VALUES ('never')`);
  expect(await take()).toEqual([["I", "slow", {}]]);
  await slow.query("ROLLBACK");
  expect(await take()).toEqual([]);
});

test("[PU2] an edit that is read again has the clock that it had, whoever reads; edits of a row keep their order", async () => {
  const { sql, feed, options } = await world();
  await sql(`INSERT INTO items (_id) VALUES ('a'); DELETE FROM items; INSERT INTO items (_id) VALUES ('a')`);
  const first = unwrap(await feed.read(TABLE, now));
  const clocks = first.edits.map(({ hlc }) => hlc);
  expect([...new Set(clocks)].sort()).toEqual(clocks);
  expect(clocks).toHaveLength(3);
  await sql(`UPDATE items SET a_integer = 1`);
  const other = new PostgresFeed(options);
  onTestFinished(() => other.close());
  // A reader whose clock is an hour behind: what was given stays, what is new comes after it.
  const [mine, theirs] = (await Promise.all([feed.read(TABLE, now), other.read(TABLE, () => now() - 3_600_000)])).map(
    unwrap,
  );
  expect(mine).toEqual(theirs);
  expect(mine?.clientId).toBe(first.clientId);
  expect(mine?.edits.slice(0, 3)).toEqual(first.edits);
  expect((mine?.edits[3]?.hlc ?? "") > (clocks[2] ?? "")).toBe(true);
  unwrap(
    await feed.settle(
      TABLE,
      first.edits.map(({ id }) => id),
      [],
    ),
  );
  unwrap(
    await feed.settle(
      TABLE,
      first.edits.map(({ id }) => id),
      [],
    ),
  );
  expect(unwrap(await other.read(TABLE, now)).edits).toEqual(mine?.edits.slice(3));
});

test("[M2] an edit is later than what its row showed, though the database's clock says otherwise", async () => {
  const { sql, feed, flush } = await world();
  const script = new FlushScript(TABLE);
  // Far ahead of the gateway's clock, too.
  for (const row of ["a", "b"]) script.edit("INSERT", row, { a_string: "by a device" });
  await flush(script);
  await sql(`UPDATE items SET a_string = 'by SQL' WHERE _id = 'a'; DELETE FROM items WHERE _id = 'b'`);
  await flush(script.edit("DELETE", "a"));
  await sql(`INSERT INTO items (_id) VALUES ('a')`);
  const [a, b, death] = script.edits.map(({ hlc }) => hlc) as HlcText[];
  const [update, removal, birth] = unwrap(await feed.read(TABLE, () => 5_000_000)).edits.map(({ hlc }) => hlc);
  expect(update).toBe(foreignClock(0, a ?? "", ""));
  expect(removal).toBe(foreignClock(0, b ?? "", update ?? ""));
  expect(birth).toBe(foreignClock(0, death ?? "", removal ?? ""));
  expect([a, update, b, removal, death, birth].every((hlc) => hlc !== undefined)).toBe(true);
  expect((a ?? "") < (update ?? "") && (b ?? "") < (removal ?? "") && (death ?? "") < (birth ?? "")).toBe(true);
});

test("an edit's clock is when it was made, by the gateway's clock", async () => {
  const { sql, feed } = await world();
  await sql(`INSERT INTO items (_id) VALUES ('a')`);
  await sql(`UPDATE "the shop's".lakesync_foreign SET at = at - interval '10 minutes'`);
  const [edit] = unwrap(await feed.read(TABLE, () => 5_000_000)).edits;
  const made = hlcMillis(edit?.hlc ?? HLC_ZERO);
  // A long statement may lie between making and reading.
  expect(made).toBeGreaterThan(5_000_000 - 600_000 - 60_000);
  expect(made).toBeLessThanOrEqual(5_000_000 - 600_000);
});

test("[H1] clocks of a feed grow past a full counter", () => {
  expect(foreignClock(5, "", "")).toBe(packHlc(5, 0));
  expect(foreignClock(5, packHlc(5, 0), "")).toBe(packHlc(5, 1));
  expect(foreignClock(5, packHlc(5, 3), packHlc(5, 0xffff))).toBe(packHlc(6, 0));
  expect(foreignClock(-1, "", "")).toBe(HLC_ZERO);
});

test("rows that were there before a table was followed come too, once; those of flushes do not", async () => {
  const { sql, feed, take, flush } = await world({ follow: false });
  await flush(new FlushScript(TABLE).edit("INSERT", "a", { a_string: "one" }));
  await sql(`INSERT INTO items (_id, a_integer) VALUES ('old', 1)`);
  expect(await feed.read(TABLE, now)).toMatchObject({ ok: false, error: { code: "NotFound" } });
  expect(unwrap(await feed.backlog(TABLE))).toBeUndefined();
  for (let times = 0; times < 2; times++) unwrap(await feed.follow(TABLE));
  await sql(`INSERT INTO items (_id) VALUES ('new')`);
  expect(unwrap(await feed.backlog(TABLE))).toMatchObject({ waiting: 2, refused: 0, oldestMs: expect.any(Number) });
  expect(await take()).toEqual([
    ["I", "old", { a_integer: 1 }],
    ["I", "new", {}],
  ]);
  unwrap(await feed.follow(TABLE));
  expect(await take()).toEqual([]);
  expect(unwrap(await feed.backlog(TABLE))).toEqual({ waiting: 0, oldestMs: null, refused: 0, lastRefusal: null });
  for (let times = 0; times < 2; times++) unwrap(await feed.unfollow(TABLE));
  await sql(`INSERT INTO items (_id) VALUES ('unseen')`);
  expect(await sql("SELECT * FROM lakesync_foreign")).toEqual([]);
  expect(await feed.read(TABLE, now)).toMatchObject({ ok: false, error: { code: "NotFound" } });
});

test("two that follow at once make one feed; a table that was never made is told", async () => {
  const { feed, options, take, sql } = await world({ follow: false });
  const other = new PostgresFeed(options);
  onTestFinished(() => other.close());
  for (const done of await Promise.all([feed.follow(TABLE), other.follow(TABLE)])) unwrap(done);
  await sql(`INSERT INTO items (_id) VALUES ('a')`);
  expect(await take()).toEqual([["I", "a", {}]]);
  expect(await feed.follow({ ...TABLE, table: "nothing" })).toMatchObject({ ok: false, error: { code: "NotFound" } });
});

test("what is refused is set aside with its reason, and does not hold up the rest", async () => {
  const { sql, feed, read } = await world();
  await sql(`INSERT INTO items (_id) VALUES ('bad'), ('good')`);
  const push = async (_: string, batch: DeltaBatch) => {
    const message = "It is 'bad', {really}.";
    return ok([{ rowId: "bad", hlc: batch.hlcs[0] as never, code: "WrongType" as const, message }]);
  };
  expect(unwrap(await takeEdits(feed, TABLE, push, now))).toEqual({ taken: 1, refused: 1, more: false });
  expect(await read()).toEqual([]);
  expect(unwrap(await feed.backlog(TABLE))).toEqual({
    waiting: 0,
    oldestMs: null,
    refused: 1,
    lastRefusal: "WrongType: It is 'bad', {really}.",
  });
});

test("what may pass waits, and comes again", async () => {
  const { sql, feed, take } = await world();
  await sql(`INSERT INTO items (_id) VALUES ('early'), ('late')`);
  const push = async (_: string, batch: DeltaBatch) =>
    ok([{ rowId: "early", hlc: batch.hlcs[0] as never, code: "ClockDrift" as const, message: "Too early." }]);
  expect(unwrap(await takeEdits(feed, TABLE, push, now))).toEqual({ taken: 1, refused: 0, more: true });
  expect(await take()).toEqual([["I", "early", {}]]);
});

test("a page is bounded in edits and in bytes", async () => {
  const { sql, feed, take } = await world();
  await sql(`INSERT INTO items (_id, a_string) SELECT 'r' || n, repeat('x', 600000) FROM generate_series(1, 20) AS n`);
  const first = unwrap(await feed.read(TABLE, now));
  expect([first.edits.length, first.more]).toEqual([7, true]);
  expect(await take()).toHaveLength(20);
  await sql(`INSERT INTO items (_id) SELECT 's' || n FROM generate_series(1, 2500) AS n`);
  expect(unwrap(await feed.read(TABLE, now)).edits).toHaveLength(1000);
  expect(await take()).toHaveLength(2500);
});

test("[S3] others need no rights on what LakeSync keeps, and cannot lead its trigger astray by names of their own", async () => {
  const { url, sql, take } = await world();
  const role = `clerk_${process.pid}_${Date.now()}`;
  await sql(
    `CREATE ROLE ${role} LOGIN; GRANT USAGE, CREATE ON SCHEMA "the shop's" TO ${role}; GRANT ALL ON items TO ${role}`,
  );
  const clerk = Object.assign(new URL(url), { username: role }).href;
  await onPostgres(
    clerk,
    `SET search_path = "the shop's"`,
    `CREATE FUNCTION to_json("the shop's".items) RETURNS json LANGUAGE sql AS $$ SELECT '{"a_string": "led astray"}'::json $$`,
    `SET search_path = "the shop's", pg_catalog`,
    `INSERT INTO items (_id, a_string) VALUES ('it''s', 'a"b')`,
    `UPDATE items SET a_integer = 7`,
  );
  await expect(onPostgres(clerk, `SELECT * FROM "the shop's".lakesync_foreign`)).rejects.toThrow(/permission denied/);
  expect(await take()).toEqual([
    ["I", "it's", { a_string: 'a"b' }],
    ["U", "it's", { a_integer: 7 }],
  ]);
  await sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
});

/** What goes wrong with a real PostgreSQL, and what operators are told. */
import pg from "pg";
import { expect, inject, onTestFinished, test } from "vitest";
import { FlushScript } from "../../core/testing.ts";
import { type TableSchema, unwrap } from "../../schemas/index.ts";
import { freshDatabase, onPostgres, TODOS } from "../testing.ts";
import { errorOf, isLost } from "./errors.ts";
import { PostgresAdapter, type PostgresOptions } from "./index.ts";

const script = () => new FlushScript(TODOS).edit("INSERT", "a", { title: "one" }).edit("INSERT", "b", { title: "two" });

/** Another database, user or port of the server's URL. */
function urlOf(change: (url: URL) => void, base: string = inject("postgresUrl")): string {
  const url = new URL(base);
  change(url);
  return url.href;
}

const fresh = () => freshDatabase(inject("postgresUrl"));

function adapterOf(connectionString: string, options: Partial<PostgresOptions> = {}): PostgresAdapter {
  const adapter = new PostgresAdapter({ connectionString, ...options });
  onTestFinished(() => adapter.close());
  return adapter;
}

async function flush(adapter: PostgresAdapter, batch = script().batch()) {
  const ready = await adapter.ensureSchema(batch.table);
  return ready.ok ? adapter.insertDeltas(batch) : ready;
}

const fails = (code: string, message: RegExp, details: object = {}) => ({
  ok: false,
  error: { code, message: expect.stringMatching(message), details },
});

test.each([
  ["nobody listens", urlOf((url) => (url.port = "9"), "postgres://postgres@127.0.0.1/x"), /host and port/],
  ["the host is unknown", "postgres://postgres@no-such-host.invalid/x", /host name|looked up/],
])("[F2] a server that is not there: %s", async (_, url, remedy) => {
  expect(await flush(adapterOf(url))).toMatchObject(fails("DestinationUnavailable", remedy));
});

test("[F1] a socket that broke while rows were sent is a lost connection, and no state of SQL's", () => {
  const broken = Object.assign(new Error("write EPIPE"), { code: "EPIPE" });
  expect(isLost(broken)).toBe(true);
  expect(errorOf(broken, "Postgres")).toMatchObject({ code: "DestinationUnavailable", retryable: true });
});

test("[F2] a missing database and an unknown user are named with the remedy, and nothing secret is", async () => {
  const wrong = {
    database: urlOf((url) => (url.pathname = "/nowhere")),
    user: urlOf((url) => (url.username = "mallory")),
  };
  expect(await flush(adapterOf(wrong.database))).toMatchObject(
    fails("DestinationUnavailable", /does not exist; create it/),
  );
  expect(await flush(adapterOf(wrong.user))).toMatchObject(fails("DestinationUnavailable", /user or password/));
  const secret = adapterOf("postgres://postgres:hunter2@127.0.0.1:9/x", { name: "WAREHOUSE" });
  const result = await flush(secret);
  expect(JSON.stringify(result)).not.toContain("hunter2");
  expect(result).toMatchObject(fails("DestinationUnavailable", /^WAREHOUSE is not available/));
});

test("[F2] a read-only database keeps the flush waiting, and takes it once it may be written", async () => {
  const { name, url } = await fresh();
  const first = adapterOf(url);
  unwrap(await first.ensureSchema(TODOS));
  await first.close();
  await onPostgres(inject("postgresUrl"), `ALTER DATABASE ${name} SET default_transaction_read_only = on`);
  expect(await flush(adapterOf(url))).toMatchObject(
    fails("DestinationUnavailable", /read-only/, { sqlState: "25006" }),
  );
  await onPostgres(inject("postgresUrl"), `ALTER DATABASE ${name} RESET default_transaction_read_only`);
  expect(unwrap(await flush(adapterOf(url)))).toMatchObject({ rows: 2, deltas: 2 });
});

test("[F2] a user without rights is told which", async () => {
  const { name, url } = await fresh();
  const role = `reader_${name}`;
  await onPostgres(inject("postgresUrl"), `CREATE ROLE ${role} LOGIN`);
  const adapter = adapterOf(urlOf((each) => (each.username = role), url));
  expect(await flush(adapter)).toMatchObject(fails("DestinationUnavailable", /grant CREATE/, { sqlState: "42501" }));
});

test("[F3] a table that somebody else made, and a constraint that does not hold, are refused by name", async () => {
  const { url } = await fresh();
  await onPostgres(url, "CREATE TABLE todos (id int)");
  expect(await flush(adapterOf(url))).toMatchObject(fails("DestinationRefused", /did not make/, { table: "todos" }));
  await onPostgres(url, "DROP TABLE todos");
  const adapter = adapterOf(url);
  unwrap(await adapter.ensureSchema(TODOS));
  await onPostgres(url, "ALTER TABLE todos ADD CONSTRAINT short CHECK (length(title) < 3)");
  expect(await flush(adapter)).toMatchObject(
    fails("DestinationRefused", /constraint short.*drop it/, { table: "todos", constraint: "short" }),
  );
  expect(unwrap(await adapter.progress(TODOS))).toEqual([]);
  await onPostgres(url, "ALTER TABLE todos DROP CONSTRAINT short");
  expect(unwrap(await flush(adapter))).toMatchObject({ deltas: 2 });
});

test("[F3] a table that somebody dropped is named with the remedy", async () => {
  const { url } = await fresh();
  const adapter = adapterOf(url);
  unwrap(await adapter.ensureSchema(TODOS));
  await onPostgres(url, "DROP TABLE todos");
  expect(await flush(adapter)).toMatchObject(fails("DestinationRefused", /lakesync_tables/, { sqlState: "42P01" }));
});

test("[F1] a flush that a deadlock broke off is done again at once", async () => {
  const { url } = await fresh();
  const adapter = adapterOf(url);
  unwrap(await flush(adapter));
  const other = new pg.Client({ connectionString: url });
  await other.connect();
  onTestFinished(() => other.end());
  // The other waits longer before it looks for a deadlock: the adapter is the one that is broken off.
  await other.query("SET deadlock_timeout = '60s'");
  await other.query("BEGIN");
  await other.query("UPDATE todos SET title = 'theirs' WHERE _id = 'a'");
  const both = script().edit("UPDATE", "a", { title: "ours" });
  const flushed = adapter.insertDeltas(both.batch(2));
  await new Promise((resolve) => setTimeout(resolve, 300));
  await other.query("SELECT * FROM lakesync_tables FOR UPDATE");
  await other.query("COMMIT");
  expect(unwrap(await flushed)).toMatchObject({ rows: 1, deltas: 1 });
  expect(unwrap(await adapter.getLatestState({ table: TODOS, limit: 1 })).columns[0]?.values).toEqual(["ours"]);
});

test("rows that others write are rows, older than any delta; values that they change stand until a newer delta", async () => {
  const { url } = await fresh();
  const adapter = adapterOf(url);
  unwrap(await flush(adapter));
  await onPostgres(
    url,
    "INSERT INTO todos (_id, title) VALUES ('c', 'theirs')",
    "UPDATE todos SET title = 'changed' WHERE _id = 'a'",
  );
  const titles = async () => unwrap(await adapter.getLatestState({ table: TODOS, limit: 9 })).columns[0]?.values;
  expect(await titles()).toEqual(["changed", "two", "theirs"]);
  const next = script().edit("UPDATE", "c", { title: "ours" }).edit("UPDATE", "a", { title: "newer" });
  expect(unwrap(await adapter.insertDeltas(next.batch(2)))).toMatchObject({ rows: 2 });
  expect(await titles()).toEqual(["newer", "two", "ours"]);
});

test.each([
  ["kept", /^COPY /],
  ["each", /^INSERT /],
] as const)(
  "new rows over connections that are %s come by the statement that suits them",
  async (connections, statement) => {
    const { url } = await fresh();
    const adapter = adapterOf(url, { connections });
    unwrap(await adapter.ensureSchema(TODOS));
    await onPostgres(
      url,
      "CREATE TABLE seen (query text)",
      "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO seen VALUES (current_query()); RETURN NULL; END'",
      "CREATE TRIGGER see AFTER INSERT ON todos EXECUTE FUNCTION see()",
    );
    unwrap(await adapter.insertDeltas(script().batch()));
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    onTestFinished(() => client.end());
    expect((await client.query("SELECT query FROM seen")).rows).toEqual([{ query: expect.stringMatching(statement) }]);
  },
);

test("new rows are taken by a table whose columns somebody gave other types, and by one with row-level security", async () => {
  const { name, url } = await fresh();
  const named = ["data", "count", "title"] as const;
  const types = { data: "json", count: "integer", title: "string" } as const;
  const columns = named.map((column, at) => ({ id: at + 1, name: column, type: types[column], nullable: true }));
  const table: TableSchema = { ...TODOS, columns, lastColumnId: 3 };
  const edits = new FlushScript(table);
  const adapter = adapterOf(url);
  const add = async (id: string) =>
    unwrap(await flush(adapter, edits.edit("INSERT", id, { data: '{"b":1}', count: 7, title: id }).batch()));
  await add("a");
  await onPostgres(
    url,
    "ALTER TABLE todos ALTER data TYPE jsonb, ALTER count TYPE numeric, ALTER title TYPE varchar(9)",
  );
  await add("b");
  await onPostgres(
    url,
    `CREATE ROLE owner_${name} LOGIN`,
    `GRANT ALL ON DATABASE ${name} TO owner_${name}`,
    `GRANT ALL ON SCHEMA public TO owner_${name}`,
    `GRANT ALL ON ALL TABLES IN SCHEMA public TO owner_${name}`,
    "ALTER TABLE todos ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY everyone ON todos USING (true)",
  );
  const other = adapterOf(urlOf((each) => (each.username = `owner_${name}`), url));
  edits.edit("INSERT", "c", { data: "[]", count: null, title: "c" });
  expect(unwrap(await other.insertDeltas(edits.batch()))).toMatchObject({ rows: 1, deltas: 1 });
  expect(unwrap(await adapter.getLatestState({ table, limit: 9 }))).toMatchObject({
    rowIds: ["a", "b", "c"],
    columns: [{ values: ['{"b": 1}', '{"b": 1}', "[]"] }, { values: [7, 7, null] }, { values: ["a", "b", "c"] }],
  });
});

test("the change log can be read by SQL, edit by edit, with typed columns", async () => {
  const { url } = await fresh();
  const table: TableSchema = {
    ...TODOS,
    columns: [
      ...TODOS.columns,
      { id: 2, name: "at", type: "timestamp", nullable: true },
      { id: 3, name: "raw", type: "bytes", nullable: true },
    ],
    lastColumnId: 3,
  };
  const edits = new FlushScript(table)
    .edit("INSERT", "a", { title: '\\u0000 "', at: "253402300799999999", raw: "AAE=" })
    .edit("UPDATE", "a", { title: null })
    .edit("DELETE", "a");
  unwrap(await flush(adapterOf(url), edits.batch()));
  const rows = await onPostgres(
    url,
    `SELECT _gateway, _shard, _seq::int, _op, _id, _client_id, title, at::text, raw, _cells FROM todos__changes ORDER BY _seq`,
  );
  const own = { _gateway: "demo", _shard: "main", _id: "a", _client_id: "c" };
  expect(rows).toMatchObject([
    { ...own, _seq: 1, _op: "INSERT", title: '\\u0000 "', raw: Buffer.from([0, 1]) },
    { ...own, _seq: 2, _op: "UPDATE", title: null, at: null, _cells: { "1": null } },
    { ...own, _seq: 3, _op: "DELETE", title: null, _cells: {} },
  ]);
  expect(rows[0]?.at).toMatch(/^9999-12-31 23:59:59\.999999/);
});

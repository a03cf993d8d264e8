/** `lakesync.config.ts`: what is wrong is named with its key and the remedy; what is right becomes one adapter. */
import { expect, test } from "vitest";
import { FlushScript, NOW, NodeSqlStore, tableOf } from "../core/testing.ts";
import { unwrap } from "../schemas/index.ts";
import { buildBackend, catchUp, defineConfig, type LakeSyncConfig, migrateToTier, parseConfig } from "./index.ts";
import { readAll, rowsOfScript, SqliteAdapter } from "./testing.ts";

const DAY = 24 * 3600 * 1000;

const CONFIG = defineConfig({
  backends: {
    lake: { type: "iceberg" },
    main: { type: "postgres", binding: "HYPERDRIVE" },
    reports: { type: "mysql", env: "REPORTS_URL" },
    both: { type: "fan-out", primary: "main", secondaries: ["reports"] },
    aged: { type: "lifecycle", hot: { backend: "both", maxAgeMs: 30 * DAY }, cold: { backend: "lake" } },
    unused: { type: "bigquery", env: "BIGQUERY_KEY", dataset: "app" },
  },
  tables: { users: "main", events: "aged" },
  default: "lake",
});

const wrong = (config: unknown) => {
  const parsed = parseConfig(config);
  if (parsed.ok) throw new Error("it was taken");
  expect(parsed.error.code).toBe("Misconfigured");
  return parsed.error.message;
};
const withBackend = (backend: unknown) => ({ backends: { a: backend }, default: "a" });

test("what is wrong is named with its key and the remedy", () => {
  expect(wrong({ backends: {}, tabels: {} })).toContain("tabels: There is no such key");
  expect(wrong(withBackend({ type: "oracle" }))).toContain("backends.a.type");
  expect(wrong(withBackend({ type: "postgres" }))).toMatch(/backends\.a: Give either binding .* or env/);
  expect(wrong(withBackend({ type: "mysql", binding: "DB", env: "URL" }))).toContain("backends.a: Give either");
  expect(wrong({ ...withBackend({ type: "iceberg" }), tables: { users: "b" } })).toBe(
    'lakesync.config.ts, tables.users: There is no backend "b"; there are a.',
  );
  expect(wrong({ backends: {}, default: "lake" })).toContain("declare it under backends");
  expect(wrong(withBackend({ type: "fan-out", primary: "a", secondaries: ["a"] }))).toContain(
    "backends.a: It is made of itself",
  );
  expect(
    wrong(withBackend({ type: "lifecycle", hot: { backend: "b", maxAgeMs: 1 }, cold: { backend: "a" } })),
  ).toContain('backends.a: There is no backend "b"');
});

test("[S5] a secret in the configuration is refused, and not repeated", () => {
  for (const secret of ["postgres://user:hunter2@host/db", '{"private_key":"-----BEGIN hunter2"}']) {
    const message = wrong(withBackend({ type: "postgres", env: secret }));
    expect(message).toContain("backends.a.env: Give the name of an environment variable");
    expect(message).not.toContain("hunter2");
  }
});

test("a configuration becomes one adapter, each backend made once and only where it is used", async () => {
  const made = new Map<string, SqliteAdapter>();
  const adapter = buildBackend(unwrap(parseConfig(CONFIG)), (name) => {
    expect(made.has(name)).toBe(false);
    const leaf = new SqliteAdapter(new NodeSqlStore());
    made.set(name, leaf);
    return leaf;
  });
  expect([...made.keys()].sort()).toEqual(["lake", "main", "reports"]);
  const leaf = (name: string) => made.get(name) as SqliteAdapter;
  const tables = ["users", "events", "other"].map((table) => tableOf(table, { title: "string" }));
  // Its own definition goes before the configuration.
  tables.push({ ...tableOf("moved", { title: "string" }), backend: "unused" });
  for (const table of tables) {
    const script = new FlushScript(table).edit("INSERT", "a", { title: table.table });
    unwrap(await adapter.ensureSchema(table));
    unwrap(await adapter.insertDeltas(script.batch()));
    expect(await readAll(adapter, table)).toEqual(rowsOfScript(script));
  }
  const [users, events, other, moved] = tables as [
    (typeof tables)[0],
    (typeof tables)[0],
    (typeof tables)[0],
    (typeof tables)[0],
  ];
  const holders = async (table: typeof users) => {
    const names = [];
    for (const [name, each] of made) if ((await readAll(each, table)).a) names.push(name);
    return names.sort();
  };
  expect(await holders(users)).toEqual(["main"]);
  expect(await holders(other)).toEqual(["lake"]);
  expect(await holders(moved)).toEqual(["unused"]);
  expect(await holders(events)).toEqual(["main"]);
  await catchUp(adapter, { tables });
  expect(await holders(events)).toEqual(["main", "reports"]);
  unwrap(await migrateToTier(adapter, { tables, nowMs: NOW + 31 * DAY }));
  expect(await holders(events)).toEqual(["lake", "reports"]);
  expect(Object.keys(await readAll(leaf("lake"), events))).toEqual(["a"]);
  const stray = { ...tableOf("stray", { title: "string" }), backend: "nowhere" };
  expect(await adapter.ensureSchema(stray)).toMatchObject({ ok: false, error: { code: "Misconfigured" } });
});

test("the type knows what a backend needs", () => {
  // @ts-expect-error a warehouse without its dataset
  const config: LakeSyncConfig = { backends: { a: { type: "bigquery", env: "KEY" } } };
  expect(parseConfig(config).ok).toBe(false);
});

test.each([
  [{ query: undefined }, /Give either table or query/],
  [{ table: "t" }, /Give either table or query/],
  [{ schema: "s" }, /A query names its schemas itself/],
  [{ query: "DELETE FROM t" }, /one SELECT, without a semicolon/],
  [{ query: "SELECT 1; SELECT 2" }, /one SELECT, without a semicolon/],
  [{ columns: {} }, /A source has 1 to/],
  [{ columns: { "a b": "string" } }, /A column name starts with a letter/],
  [{ backend: "nowhere" }, /There is no backend "nowhere"/],
  [{ backend: "lake" }, /Rows are pulled from Postgres and MySQL; lake is iceberg/],
  [{ gateways: ["No"] }, /not a gateway id/],
  [{ gateways: undefined }, /gateways/],
])("a source that is wrong is told by its key: %j", (change, message) => {
  const backends = { main: { type: "postgres", env: "URL" }, lake: { type: "iceberg" } };
  const source = { backend: "main", query: "SELECT 1 AS id", key: "id", columns: { id: "integer" }, gateways: "all" };
  expect(parseConfig({ backends, sources: { s: source } }).ok).toBe(true);
  const wrong = parseConfig({ backends, sources: { s: { ...source, ...change } } });
  expect(wrong).toMatchObject({ ok: false, error: { code: "Misconfigured" } });
  if (!wrong.ok) expect(wrong.error.message).toMatch(message);
  if (!wrong.ok) expect(wrong.error.message).toMatch(/^lakesync\.config\.ts, sources\.s/);
});

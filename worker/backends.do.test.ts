/** Tables in the backends that their schemas name. */
import { expect, test } from "vitest";
import { defineConfig, type TableSchema } from "../schemas/index.ts";
import { datasetOf, tableBackends } from "./backends.ts";
import { destinationFor } from "./destination.ts";
import { createGateway } from "./gateway.ts";
import { bindings } from "./testing/gateway.ts";

const TABLE: TableSchema = { table: "todos", version: 1, columns: [], lastColumnId: 0, shards: 0 };

test("[F2] a table whose binding is gone waits for somebody, with the names that there are; nothing is set aside for it", async () => {
  const destination = tableBackends(bindings, "demo", destinationFor(bindings, "demo"));
  const lost = {
    ok: false,
    error: {
      code: "DestinationUnavailable",
      message: expect.stringMatching(/no backend "ATTIC"; this gateway has lake/),
      details: { backend: "ATTIC", needs: "operator" },
    },
  };
  const table = { ...TABLE, backend: "ATTIC" };
  expect(await destination.ensureSchema(table)).toMatchObject(lost);
  expect(await destination.progress(table)).toMatchObject(lost);
  expect(await destination.getLatestState({ table, limit: 1 })).toMatchObject(lost);
  // A name is a binding's, and nothing else of the Worker's.
  expect(await destination.ensureSchema({ ...TABLE, backend: "JWT_SECRET" })).toMatchObject({
    ok: false,
    error: { code: "DestinationUnavailable" },
  });
  expect(await destination.progress({ ...TABLE, backend: "lake" })).toEqual({ ok: true, value: [] });
  await destination.close();
});

const CONFIG = defineConfig({
  backends: {
    main: { type: "postgres", env: "DATABASE_URL" },
    warehouse: { type: "bigquery", env: "BIGQUERY_KEY", dataset: "app" },
    aged: { type: "lifecycle", hot: { backend: "main", maxAgeMs: 1 }, cold: { backend: "warehouse" } },
  },
  tables: { todos: "aged" },
});

test("[F2] a table whose secrets are not set waits for somebody, with the name of what is missing; others go on", async () => {
  const open = (secrets: Record<string, string> = {}) =>
    destinationFor({ ...bindings, LAKESYNC_CONFIG: CONFIG, ...secrets }, "demo");
  const waits = (says: string) => ({
    ok: false,
    error: {
      code: "DestinationUnavailable",
      message: expect.stringContaining(says),
      details: expect.objectContaining({ needs: "operator" }),
    },
  });
  expect(await open().ensureSchema(TABLE)).toMatchObject(waits("the secret DATABASE_URL is not set"));
  const wrong = open({ DATABASE_URL: "mysql://user:hunter2@host/db", BIGQUERY_KEY: "hunter2" });
  const answers = [
    await wrong.ensureSchema(TABLE),
    await wrong.progress({ ...TABLE, backend: "main" }),
    await wrong.progress({ ...TABLE, backend: "warehouse" }),
  ];
  expect(answers).toMatchObject([
    waits("DATABASE_URL is no address of postgres; it would begin with postgres://"),
    waits("DATABASE_URL is no address of postgres"),
    waits("BigQuery's credentials are not JSON"),
  ]);
  expect(JSON.stringify(answers)).not.toContain("hunter2");
  expect(await open().progress({ ...TABLE, table: "other" })).toEqual({ ok: true, value: [] });
  const unread = destinationFor({ ...bindings, LAKESYNC_CONFIG: "{" }, "demo");
  expect(await unread.ensureSchema(TABLE)).toMatchObject(waits("LAKESYNC_CONFIG is not JSON"));
});

test("a Worker whose configuration is wrong does not start: it is not deployed", () => {
  const config = { ...CONFIG, tables: { todos: "agde" } };
  expect(() => createGateway({ config })).toThrow(
    'lakesync.config.ts, tables.todos: There is no backend "agde"; there are lake, main, warehouse, aged.',
  );
});

test("[S1] no two gateways have one dataset", () => {
  expect(datasetOf("app", "my-shop-2")).toBe("app_my_shop_2");
  const ids = ["a", "a-b", "ab", "a--b"];
  expect(new Set(ids.map((id) => datasetOf("app", id))).size).toBe(ids.length);
});

/** Tables in the backends that their schemas name. */
import { expect, test } from "vitest";
import type { TableSchema } from "../schemas/index.ts";
import { tableBackends } from "./backends.ts";
import { destinationFor } from "./destination.ts";
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

/** The contract of destinations, kept by Iceberg tables. */
import { beforeAll, expect, test } from "vitest";
import { databaseAdapterContract } from "../core/testing.ts";
import { type Column, unwrap } from "../schemas/index.ts";
import { IcebergAdapter, identOf } from "./index.ts";
import { tableSchema, testLake } from "./testing/lake.ts";
import { initParquetInNode } from "./testing.ts";

beforeAll(initParquetInNode);

// A gateway has tables of its own there; a row's newest clock is kept, its cells' stamps are in the history.
databaseAdapterContract(
  "Iceberg",
  () => {
    const { deps } = testLake();
    return { open: () => new IcebergAdapter(deps) };
  },
  { gateways: "one", stamps: "row" },
);

test("[L4] an older schema that comes late makes no schema of the table", async () => {
  const columns: Column[] = [
    { id: 1, name: "title", type: "string", nullable: true },
    { id: 2, name: "votes", type: "integer", nullable: true },
  ];
  const { deps } = testLake();
  const adapter = new IcebergAdapter(deps);
  unwrap(await adapter.ensureSchema(tableSchema(columns, 5)));
  unwrap(await adapter.ensureSchema(tableSchema(columns.slice(0, 1), 4)));
  const { metadata } = unwrap(await deps.catalogue.load(identOf(deps, "todos", "main")));
  expect(metadata.schemas).toHaveLength(1);
});

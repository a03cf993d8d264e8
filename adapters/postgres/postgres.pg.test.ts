/** The contract of destinations, kept by a real PostgreSQL. */
import pg from "pg";
import { describe, inject } from "vitest";
import { databaseAdapterContract } from "../../core/testing.ts";
import { PostgresAdapter } from "./index.ts";

let schemas = 0;
/** An empty schema of its own. */
async function freshSchema(): Promise<string> {
  const schema = `contract_${process.pid}_${++schemas}`;
  const client = new pg.Client({ connectionString: inject("postgresUrl") });
  await client.connect();
  await client.query(`CREATE SCHEMA ${schema}`);
  await client.end();
  return schema;
}

describe.each([true, false])("COPY: %s", (copy) => {
  databaseAdapterContract("Postgres", async () => {
    const schema = await freshSchema();
    return { open: () => new PostgresAdapter({ connectionString: inject("postgresUrl"), schema, copy }) };
  });
});

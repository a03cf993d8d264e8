import pg from "pg";
import { inject, onTestFinished } from "vitest";
import { CLIENT_SUITE_GATEWAY, clientSuite } from "./client-suite.ts";

clientSuite("Postgres", async () => ({
  // A binding wants a password; this server asks for none.
  url: inject("postgresUrl").replace("postgres@", "postgres:none@"),
  async titles(_, table) {
    const client = new pg.Client({ connectionString: inject("postgresUrl") });
    await client.connect();
    onTestFinished(() => client.end());
    const { rows } = await client.query(`SELECT _id, title FROM ${CLIENT_SUITE_GATEWAY}.${table} ORDER BY _id`);
    return rows.map(({ _id, title }) => [_id, title]);
  },
}));

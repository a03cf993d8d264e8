import { inject } from "vitest";
import { onPostgres } from "../../adapters/testing.ts";
import { CLIENT_SUITE_GATEWAY, clientSuite } from "./client-suite.ts";

clientSuite("Postgres", async () => ({
  // A binding wants a password; this server asks for none.
  url: inject("postgresUrl").replace("postgres@", "postgres:none@"),
  async titles(_, table) {
    const select = `SELECT _id, title FROM ${CLIENT_SUITE_GATEWAY}.${table} ORDER BY _id`;
    const rows = await onPostgres(inject("postgresUrl"), select);
    return rows.map(({ _id, title }) => [String(_id), title as string | null]);
  },
}));

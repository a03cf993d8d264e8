import { expect, inject } from "vitest";
import { PostgresAdapter } from "../../adapters/index.ts";
import { freshDatabase, onPostgres } from "../../adapters/testing.ts";
import { defineConfig } from "../../schemas/index.ts";
import { CLIENT_SUITE_GATEWAY, clientSuite } from "./client-suite.ts";
import { titlesInLake } from "./in-lake.ts";

type Titles = [string, string | null][];

/** A database of the suite's own. */
async function database() {
  const { url } = await freshDatabase(inject("postgresUrl"));
  return {
    // A binding wants a password; this server asks for none.
    backends: { SHOP: url.replace("postgres@", "postgres:none@") },
    url,
    async titles(table: string): Promise<Titles> {
      const rows = await onPostgres(url, `SELECT _id, title FROM ${CLIENT_SUITE_GATEWAY}.${table} ORDER BY _id`);
      return rows.map(({ _id, title }) => [String(_id), title as string | null]);
    },
  };
}

clientSuite("Postgres", async () => {
  const { backends, titles } = await database();
  return { server: { backends }, name: "SHOP", titles: (_, table) => titles(table) };
});

clientSuite("a fan-out of Postgres to the lake, as the secondary has it", async () => {
  const { backends } = await database();
  const config = defineConfig({
    backends: {
      shop: { type: "postgres", binding: "SHOP" },
      both: { type: "fan-out", primary: "shop", secondaries: ["lake"] },
    },
    default: "both",
  });
  return { server: { backends, config }, composed: true, titles: titlesInLake };
});

clientSuite("tiers of Postgres and the lake, where every row ages at once", async () => {
  const { backends, titles } = await database();
  const config = defineConfig({
    backends: {
      shop: { type: "postgres", binding: "SHOP" },
      aged: { type: "lifecycle", hot: { backend: "shop", maxAgeMs: 0 }, cold: { backend: "lake" } },
    },
    default: "aged",
  });
  return {
    server: { backends, config },
    composed: true,
    async titles(server, table) {
      expect(await titles(table)).toEqual([]);
      return titlesInLake(server, table);
    },
  };
});

clientSuite("an adapter object", async () => {
  const { url, titles } = await database();
  // It ends with the process: the suite says nowhere that it is over.
  const adapter = new PostgresAdapter({ connectionString: url, schema: CLIENT_SUITE_GATEWAY, connections: "each" });
  return { server: { adapter }, titles: (_, table) => titles(table) };
});

/** The contract of destinations, kept by a PostgresAdapter that runs in workerd behind a Hyperdrive binding. */
import { join } from "node:path";
import { afterAll, beforeAll, inject } from "vitest";
import { databaseAdapterContract } from "../../core/testing.ts";
import { GatewayServer } from "../../server/index.ts";
import { RemoteAdapter } from "./remote-adapter.ts";

let server: GatewayServer;
let schemas = 0;

beforeAll(async () => {
  server = new GatewayServer({
    port: 0,
    gatewayId: "contract",
    jwtSecret: "a secret for tests only, 32 bytes and more",
    persistence: "memory",
    entry: join(import.meta.dirname, "adapter-worker.ts"),
    // A binding wants a password; this server asks for none.
    backends: { HYPERDRIVE: inject("postgresUrl").replace("postgres@", "postgres:none@") },
    vars: { LOG_LEVEL: "error" },
  });
  await server.start();
});
afterAll(() => server?.stop());

databaseAdapterContract("Postgres in workerd", () => {
  const schema = `workerd_${process.pid}_${++schemas}`;
  return { open: () => new RemoteAdapter(server.url, "HYPERDRIVE", schema) };
});

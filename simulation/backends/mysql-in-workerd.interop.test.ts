/** The contract of destinations, kept by a MySQLAdapter that runs in workerd behind a Hyperdrive binding. */
import { join } from "node:path";
import { afterAll, beforeAll, describe } from "vitest";
import { startMariadb, type TestMariadb } from "../../adapters/testing.ts";
import { databaseAdapterContract } from "../../core/testing.ts";
import { GatewayServer } from "../../server/index.ts";
import { RemoteAdapter } from "./remote-adapter.ts";

describe.skipIf(process.env.LAKESYNC_WITHOUT_MARIADB === "1")("MariaDB", () => {
  let mariadb: TestMariadb;
  let server: GatewayServer;
  let databases = 0;

  beforeAll(async () => {
    mariadb = await startMariadb();
    server = new GatewayServer({
      port: 0,
      gatewayId: "contract",
      jwtSecret: "a secret for tests only, 32 bytes and more",
      persistence: "memory",
      entry: join(import.meta.dirname, "adapter-worker.ts"),
      backends: { HYPERDRIVE: mariadb.url },
      vars: { LOG_LEVEL: "error" },
    });
    await server.start();
  });
  afterAll(async () => {
    await server?.stop();
    await mariadb?.stop();
  });

  databaseAdapterContract("MySQL in workerd", () => {
    const database = `workerd_${++databases}`;
    return { open: () => new RemoteAdapter(server.url, "HYPERDRIVE", database) };
  });
});

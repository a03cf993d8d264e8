import { test } from "vitest";
import { MySQLAdapter } from "../../adapters/index.ts";
import { startMariadb } from "../../adapters/testing.ts";
import { killedInFlushes } from "./killed.ts";

test.skipIf(process.env.LAKESYNC_WITHOUT_MARIADB === "1")(
  "[F1] [F2] MariaDB is killed twenty times in the middle of flushes: every acknowledged delta is there once",
  async () => {
    const mariadb = await startMariadb();
    const adapter = new MySQLAdapter({ connectionString: mariadb.url });
    try {
      await killedInFlushes(mariadb, adapter);
    } finally {
      await adapter.close();
      await mariadb.stop();
    }
  },
);

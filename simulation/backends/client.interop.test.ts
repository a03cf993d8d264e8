import { createConnection, type RowDataPacket } from "mysql2/promise";
import { afterAll, describe } from "vitest";
import { startMariadb, type TestMariadb } from "../../adapters/testing.ts";
import { CLIENT_SUITE_GATEWAY, clientSuite } from "./client-suite.ts";

describe.skipIf(process.env.LAKESYNC_WITHOUT_MARIADB === "1")("MariaDB", () => {
  let mariadb: TestMariadb | undefined;
  afterAll(() => mariadb?.stop());

  clientSuite("MariaDB", async () => {
    mariadb = await startMariadb();
    const { url } = mariadb;
    return {
      server: { backends: { SHOP: url } },
      name: "SHOP",
      async titles(_, table) {
        const connection = await createConnection(url);
        const [rows] = await connection
          .query<RowDataPacket[]>(`SELECT _id, title FROM ${CLIENT_SUITE_GATEWAY}.${table} ORDER BY _id`)
          .finally(() => connection.end());
        return rows.map(({ _id, title }) => [_id, title]);
      },
    };
  });
});

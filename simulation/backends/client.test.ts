import { Analyst, duckdbNode } from "../../analyst/index.ts";
import { CLIENT_SUITE_GATEWAY, clientSuite } from "./client-suite.ts";

clientSuite("the lake", async () => ({
  async titles(server, table) {
    const token = await server.token({ sub: "root", role: "admin" });
    const engine = await duckdbNode();
    const analyst = new Analyst({ url: server.url, gatewayId: CLIENT_SUITE_GATEWAY, token, engine });
    try {
      const { rows } = await analyst.query(`SELECT _id, title FROM ${table} ORDER BY _id`);
      return rows.map(({ _id, title }) => [String(_id), title as string | null]);
    } finally {
      await analyst.close();
    }
  },
}));

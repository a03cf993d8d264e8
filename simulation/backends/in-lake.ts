/** What the lake has of a table that clients write to. */
import { Analyst, duckdbNode } from "../../analyst/index.ts";
import type { GatewayServer } from "../../server/index.ts";
import { CLIENT_SUITE_GATEWAY } from "./client-suite.ts";

export async function titlesInLake(server: GatewayServer, table: string): Promise<[string, string | null][]> {
  const token = await server.token({ sub: "root", role: "admin" });
  const engine = await duckdbNode();
  const analyst = new Analyst({ url: server.url, gatewayId: CLIENT_SUITE_GATEWAY, token, engine });
  try {
    const { rows } = await analyst.query(`SELECT _id, title FROM ${table} ORDER BY _id`, { live: false });
    return rows.map(({ _id, title }) => [String(_id), title as string | null]);
  } finally {
    await analyst.close();
  }
}

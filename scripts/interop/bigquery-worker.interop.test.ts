/** Gateways in workerd whose tables are kept in BigQuery, emulated: each in a dataset of its own, which the gateway makes. */
import { exportPKCS8, generateKeyPair } from "jose";
import { expect, onTestFinished, test } from "vitest";
import { BigQueryAdapter } from "../../adapters/index.ts";
import { tableOf } from "../../core/testing.ts";
import { defineConfig, unwrap } from "../../schemas/index.ts";
import { GatewayServer } from "../../server/index.ts";
import { startBigQuery } from "./bigquery.ts";

test("[S1] pushes of two gateways become rows of two datasets", async () => {
  const emulator = await startBigQuery();
  onTestFinished(() => emulator.stop());
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  const key = { project_id: "local", client_email: "sync@local.example", private_key: await exportPKCS8(privateKey) };
  const server = new GatewayServer({
    port: 0,
    gatewayId: "my-shop",
    jwtSecret: "a secret for tests only, 32 bytes and more",
    persistence: "memory",
    config: defineConfig({
      backends: { warehouse: { type: "bigquery", env: "BIGQUERY_KEY", dataset: "app", endpoint: emulator.endpoint } },
      default: "warehouse",
    }),
    vars: { LOG_LEVEL: "error", BIGQUERY_KEY: JSON.stringify(key) },
  });
  await server.start();
  onTestFinished(() => server.stop());
  const table = tableOf("items", { title: "string" });
  for (const gateway of ["my-shop", "other"]) {
    const token = await server.token({ gw: gateway, sub: "root", role: "admin" });
    const ask = async (method: string, path: string, body?: unknown) => {
      const response = await fetch(new URL(`/v1/${gateway}/${path}`, server.url), {
        method,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
      return (await response.json()) as any;
    };
    await ask("PUT", "admin/tables/items", { columns: [{ name: "title", type: "string" }] });
    for (const [n, title] of ["first", "second"].entries()) {
      const hlc = ((BigInt(Date.now() - 60_000) << 16n) + BigInt(n)).toString();
      const op = n === 0 ? "INSERT" : "UPDATE";
      const columns = [{ column: "title", value: `${title} of ${gateway}` }];
      const pushed = await ask("POST", "push", {
        clientId: "one",
        deltas: [{ op, table: "items", rowId: "a", hlc, columns }],
      });
      expect(pushed).toMatchObject({ rejected: [] });
      expect((await ask("POST", "admin/flush")).shards).toMatchObject([{ state: "flushed", errors: [] }]);
    }
    const dataset = `app_${gateway.replace("-", "_")}`;
    const reader = new BigQueryAdapter({ endpoint: emulator.endpoint, projectId: "local", dataset });
    const { rowIds, columns } = unwrap(await reader.getLatestState({ table, limit: 10 }));
    expect([rowIds, columns[0]?.values]).toEqual([["a"], [`second of ${gateway}`]]);
    expect(unwrap(await reader.progress(table))).toMatchObject([{ gatewayId: gateway, shard: "common", watermark: 2 }]);
  }
});

/** The contract of destinations against an emulator of BigQuery (bigquery.ts says which; docs/decisions/0092 why). */
import { afterAll, beforeAll } from "vitest";
import { BigQueryAdapter } from "../../adapters/index.ts";
import { databaseAdapterContract } from "../../core/testing.ts";
import { startBigQuery } from "./bigquery.ts";

let server: Awaited<ReturnType<typeof startBigQuery>>;
beforeAll(async () => {
  server = await startBigQuery();
});
afterAll(() => server.stop());

let datasets = 0;

databaseAdapterContract(
  "BigQuery, emulated",
  async () => {
    const dataset = await server.makeDataset(`contract_${++datasets}`);
    return {
      open: () =>
        new BigQueryAdapter({ endpoint: server.endpoint, projectId: "local", dataset, sleep: async () => {} }),
    };
  },
  { gateways: "one", stamps: "row" },
);

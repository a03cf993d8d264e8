/** The contract of destinations against an emulator of BigQuery (scripts/interop/bigquery.ts says which, and why). */
import { afterAll, beforeAll } from "vitest";
import { databaseAdapterContract } from "../../core/testing.ts";
import { startBigQuery } from "../../scripts/interop/bigquery.ts";
import { BigQueryAdapter } from "./index.ts";

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

/**
 * Backends of this gateway, and which tables go where (docs/backends.md). Names of bindings and of environment variables stand here,
 * secrets never do. `lake`, the gateway's Iceberg tables, is always there, and has every table that nothing here names.
 */
import { defineConfig } from "./adapters/index.ts";

export default defineConfig({
  backends: {
    // main: { type: "postgres", binding: "HYPERDRIVE" },
    // warehouse: { type: "bigquery", env: "BIGQUERY_KEY", dataset: "app" },
    // both: { type: "fan-out", primary: "main", secondaries: ["warehouse"] },
    // aged: { type: "lifecycle", hot: { backend: "main", maxAgeMs: 30 * 24 * 3600 * 1000 }, cold: { backend: "lake" } },
  },
  tables: {
    // orders: "both",
    // events: "aged",
  },
});

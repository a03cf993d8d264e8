import { AsyncDuckDB, VoidLogger } from "@duckdb/duckdb-wasm";
// As text: Vite would follow its source map into files that the package does not have.
import workerSource from "@duckdb/duckdb-wasm/dist/duckdb-browser-eh.worker.js?raw";
import wasmUrl from "@duckdb/duckdb-wasm/dist/duckdb-eh.wasm?url";
import { duckdbWasm } from "./duckdb-wasm.ts";
import { engineContract } from "./testing/engine-contract.ts";

engineContract("DuckDB in a browser", async () => {
  const worker = new Worker(URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" })));
  const database = new AsyncDuckDB(new VoidLogger(), worker);
  await database.instantiate(new URL(wasmUrl, location.href).href);
  return duckdbWasm(database);
});

/**
 * `lakesync/analyst`: SQL over a gateway's lake in Node and in browsers, as it is or as it was. Everything that fails rejects
 * with a `LakeSyncError`.
 *
 *   const analyst = new Analyst({ url, gatewayId, token, engine: await duckdbNode() });
 *   const { rows } = await analyst.query("SELECT count(*) AS n FROM orders", { asOf: "2026-11-01T00:00:00Z" });
 */
export { Analyst, type AnalystOptions, type QueryOptions, type QueryResult } from "./analyst.ts";
export { type DuckDbNodeOptions, duckdbNode } from "./duckdb.ts";
export { duckdbWasm, type WasmDatabase } from "./duckdb-wasm.ts";
export type { Answer, EngineColumn, SqlEngine } from "./engine.ts";
export type { AsOf } from "./moment.ts";
export type { DiffRow, RowChange } from "./story.ts";
export type { Seen } from "./table.ts";

/** The way to DuckDB in Node that a browser's bundle may hold, since it leads nowhere there. */
import type { DuckDbNodeOptions } from "./duckdb-node.ts";
import type { SqlEngine } from "./engine.ts";

export type { DuckDbNodeOptions };

/** A DuckDB of its own, in memory, by `@duckdb/node-api`, which the app installs. */
export async function duckdbNode(options: DuckDbNodeOptions = {}): Promise<SqlEngine> {
  const { openDuckDb } = await import("./duckdb-node.ts");
  return openDuckDb(options);
}

import { duckdbNode } from "./duckdb.ts";
import { engineContract } from "./testing/engine-contract.ts";

engineContract("DuckDB in Node", () => duckdbNode());

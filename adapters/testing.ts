/** Test kit of the adapters. */
export { SqliteAdapter } from "./testing/sqlite.ts";

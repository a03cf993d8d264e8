/** Test kit of the adapters. */
export { lakeLike } from "./testing/lake-like.ts";
export { startMariadb, type TestMariadb } from "./testing/mariadb.ts";
export { Fuse, mortal, survives } from "./testing/mortal.ts";
export { freshDatabase, onPostgres } from "./testing/postgres.ts";
export { type PlainRows, readAll, rowsOfScript } from "./testing/rows.ts";
export { agreesWithRules } from "./testing/sources.ts";
export { SqliteAdapter } from "./testing/sqlite.ts";
export { tiersAreOneTable } from "./testing/tiers.ts";
export { TODOS } from "./testing/todos.ts";

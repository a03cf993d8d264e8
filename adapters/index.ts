/** Destinations of flushes beside the lake. */
export { PostgresAdapter, type PostgresOptions } from "./postgres/index.ts";

/** What the pure core asks of the world. Each port has one contract suite, run on every implementation. */
export type * from "./catalogue.ts";
export type * from "./change-feed.ts";
export type * from "./clock.ts";
export type * from "./database-adapter.ts";
export type * from "./lake-adapter.ts";
export type * from "./sql-store.ts";

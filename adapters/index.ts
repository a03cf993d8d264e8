/** Where flushes go beside the lake: SQL databases, warehouses, and what is made of several. */

export {
  defineConfig,
  type LakeSyncConfig,
  type LeafConfig,
  type ParsedConfig,
  parseConfig,
} from "../schemas/index.ts";
export { BigQueryAdapter, type BigQueryOptions } from "./bigquery/index.ts";
export { CompositeAdapter, type CompositeOptions, type Route } from "./composite.ts";
export { buildBackend } from "./config.ts";
export { type CatchUp, catchUp, FanOutAdapter, type FanOutOptions, type Lag } from "./fan-out.ts";
export { LifecycleAdapter, type LifecycleOptions, migrateToTier, type TierMove } from "./lifecycle.ts";
export {
  type MigratedTable,
  type MigrationOptions,
  type MigrationProgress,
  migrateAdapter,
} from "./migrate.ts";
export { MySQLAdapter, type MySQLOptions } from "./mysql/index.ts";
export { MySQLSource } from "./mysql/source.ts";
export { FEED_MESSAGE, FEED_TRIGGER, PostgresFeed } from "./postgres/feed.ts";
export { PostgresAdapter, type PostgresOptions } from "./postgres/index.ts";
export { PostgresSource } from "./postgres/source.ts";
export { AdapterHost, type AdapterHostOptions } from "./remote/host.ts";
export type { RemoteMessage, RemoteReply } from "./remote/messages.ts";
export { RemoteAdapter, type RemoteAdapterOptions } from "./remote/remote.ts";
export type { RowSource, SourceRelation } from "./sql/source.ts";

/** `lakesync/client`. Promises here reject with a `LakeSyncError`, which carries a `code`. */

export { type ErrorCode, isLakeSyncError, LakeSyncError } from "../schemas/index.ts";
export type { Backend, SqlParam, SqlValue } from "./db/driver.ts";
export {
  type Commit,
  LocalDB,
  type LocalDBOptions,
  type Queryable,
  type Row,
  type Transaction,
} from "./db/local-db.ts";
export type { ColumnSpec, SchemaSpec } from "./db/schema.ts";
export type { LiveOptions } from "./live/live.ts";
export { defaultPlatform, type Platform, type Timers } from "./platform.ts";
export {
  type FirstSync,
  SyncCoordinator,
  type SyncEvents,
  type SyncOptions,
  type SyncReport,
  type SyncStatus,
} from "./sync/coordinator.ts";
export type { RejectedEdit } from "./sync/rejections.ts";
export { SyncTracker, type TransactionTracker, type Values } from "./sync/tracker.ts";
export { HttpTransport, type HttpTransportOptions } from "./transport/http.ts";
export { type LocalGateway, LocalTransport } from "./transport/local.ts";
export type {
  Checkpoint,
  CheckpointChunk,
  Page,
  PullCall,
  PushAnswer,
  PushCall,
  Refusal,
  TokenSource,
  Transport,
} from "./transport/port.ts";
export { WebSocketTransport, type WebSocketTransportOptions } from "./transport/websocket.ts";
export {
  boolean,
  bytes,
  Column,
  type Columns,
  defineTable,
  type InsertOf,
  integer,
  json,
  number,
  type RowOf,
  type Schema,
  text,
  timestamp,
  type UpdateOf,
} from "./typed/columns.ts";
export { type Client, type ClientOptions, createClient } from "./typed/create-client.ts";
export { type FindOptions, Table, type Where } from "./typed/table.ts";

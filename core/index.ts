/** Pure decisions: no clock, no randomness, no I/O. */
export * from "./checkpoint/index.ts";
export { deltaId, encodeDelta } from "./delta-id.ts";
export { contentDigest, type RowDigest, RowsDigest, rowDigest, TableDigest } from "./digest.ts";
export { foreignClock, type PushEdits, type RefusedEdit, type Taken, takeEdits } from "./feed.ts";
export { FeedRegistry } from "./feed-registry.ts";
export {
  CONSUMER_FAULTS,
  type ConsumerFault,
  type FlushDeps,
  type FlushSource,
  type FlushSummary,
  failedFlush,
  flushOnce,
} from "./flush.ts";
export { HLC, HybridClock, TickingClock } from "./hlc.ts";
export {
  checkpointDuty,
  type Duties,
  dutyOf,
  followDuty,
  GatewayRegistry,
  MaintenanceLedger,
  type MaintenanceReport,
  type TableMaintenance,
  tiersDuty,
} from "./maintenance.ts";
export * from "./merge.ts";
export type * from "./ports/index.ts";
export { RateLimiter } from "./rate.ts";
export { editsOfRow, type RowEdit } from "./row-edits.ts";
export type { CheckpointChanges, CheckpointRows } from "./shard/checkpoint.ts";
export type { ColdAsk, ColdChunk, ColdRun, FilteredRun } from "./shard/cold.ts";
export { filterOf } from "./shard/cold-filter.ts";
export { ownsRow, rowHash, type ShardConfig, type ShardSlice } from "./shard/config.ts";
export { columnNames } from "./shard/digests.ts";
export { type ColdAsks, ShardEngine, type ShardLimits } from "./shard/engine.ts";
export type { FlushPage, Lease, TableResult } from "./shard/flush.ts";
export { type HistoryText, historyOf } from "./shard/flush-pages.ts";
export type { PushInput } from "./shard/input.ts";
export type { ClientClocks, MovedClock } from "./shard/moved.ts";
export type { Position, PullInput, PullPage } from "./shard/pull.ts";
export type { PushOutcome, Rejected } from "./shard/push.ts";
export { type RebuildState, type RebuildStep, SEQS_APART } from "./shard/rebuild.ts";
export { seenRows } from "./shard/seen.ts";
export type { ShardStatus } from "./shard/status.ts";
export type { PackedRow } from "./shard/store.ts";
export * from "./sync-rules.ts";
export {
  COMMON_SHARD,
  clientIdTaken,
  layoutOf,
  type Move,
  type ShardMap,
  shardConfig,
  shardsOf,
  TenantEngine,
  type TenantState,
} from "./tenant.ts";

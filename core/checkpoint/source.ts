/** A shard, as whoever makes a checkpoint of it sees it: a Durable Object's stub, or an engine in the same process. */
import type { LakeSyncError, Result, Seq, TableSchema } from "../../schemas/index.ts";
import type { CheckpointChanges, CheckpointRows } from "../shard/checkpoint.ts";
import type { ClientClocks } from "../shard/moved.ts";

type Answer<T> = Promise<Result<T, LakeSyncError>>;

export interface CheckpointStart {
  readonly head: Seq;
  readonly tables: readonly CheckpointTable[];
}

export interface CheckpointTable {
  readonly schema: TableSchema;
  /** Ids of columns that decide who sees a row: those are indexed. */
  readonly indexed: readonly number[];
  /** Digest of the rows that have left; absent where it makes no difference. */
  readonly cold?: string;
}

export interface CheckpointSource {
  readonly gatewayId: string;
  readonly shard: string;
  start(): Answer<CheckpointStart>;
  rows(table: string, after: string): Answer<CheckpointRows>;
  changes(tables: readonly string[], since: Seq): Answer<CheckpointChanges>;
  /** What is known of the clocks of each table's clients, and where the shard stands. */
  clocks(tables: readonly string[]): Answer<{ readonly clocks: ClientClocks; readonly head: Seq }>;
  /** Whether a device that stands at this seq can catch up from there. */
  remembers(seq: number): Answer<boolean>;
  /** Resolves when the lake holds everything up to a seq, which a rebuild counts on. */
  landed(seq: Seq): Answer<void>;
}

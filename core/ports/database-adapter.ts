/**
 * A destination of flushes: the lake, Postgres, MySQL, BigQuery, or others composed. One contract suite runs on all.
 *
 * What a flush hands over, for one table and one shard, is everything that happened at seqs in (fromSeq, toSeq]:
 *
 *   rows    each row changed there, merged, as it stood at toSeq: live rows whole, dead rows as tombstones
 *   deltas  each edit, once, in seq order: the history
 *
 * A destination keeps, with the data and atomically, the highest toSeq it holds of each source shard. What comes again
 * (fromSeq below that) is skipped or cut: a flush is at least once, its effect exactly once (F1). A destination may take a
 * batch in steps, each with its data and watermark at once: seqs come in order.
 *
 * Where several gateways flush into one table, its rows are merged from the history: what a gateway says of a row knows
 * nothing of the other's inserts and deletes, and an edit of a row that only the other has is in the history alone. A batch
 * without history hands over rows as they are, from another tier; they merge as the edits that they are worth (editsOfRow).
 */
import type {
  DeltaBatch,
  HlcText,
  LakeSyncError,
  Result,
  Scalar,
  Seq,
  Stamp,
  TableSchema,
} from "../../schemas/index.ts";

/** Merged rows of one table, in columns; values[i] of each column belong to rowIds[i]. */
export interface RowBatch {
  readonly rowIds: readonly string[];
  /** Newest stamp in the row, of its deletion when it is dead. */
  readonly stamps: readonly Stamp[];
  /** Seq of the row's last change, at most toSeq. */
  readonly seqs: readonly Seq[];
  /** True where the row is deleted; its cells are null then. */
  readonly deleted: readonly boolean[];
  /**
   * Seq of the row's version that a flush at or below fromSeq already handed over as live; 0 when there is none. One above
   * toSeq says that there may be one, and nobody knows which: whatever the destination holds of the row goes.
   */
  readonly flushedSeqs: readonly Seq[];
  /** In the order of the table's columns; canonical values. */
  readonly columns: readonly { readonly name: string; readonly values: readonly Scalar[] }[];
  /** Stamp of each cell, in the same order, "" for a cell that was never written; for column-wise merging in a database. */
  readonly cellStamps: readonly (readonly Stamp[])[];
  /** Stamps of each row's newest insert and delete; absent where they are not known. With them, rows merge by themselves. */
  readonly marks?: readonly (readonly [inserted: Stamp, deleted: Stamp])[];
}

/** A page of history. `seqs[i]` belongs to entry i of `batch`. */
export interface HistoryBatch {
  readonly seqs: readonly Seq[];
  /** When the shard took each entry, milliseconds since 1970 by the gateway's clock. */
  readonly receivedMs: readonly number[];
  readonly batch: DeltaBatch;
}

export interface FlushBatch {
  readonly gatewayId: string;
  /** Name of the shard: the source whose watermark this flush moves. */
  readonly shard: string;
  readonly table: TableSchema;
  /** Exclusive. */
  readonly fromSeq: Seq;
  /** Inclusive. */
  readonly toSeq: Seq;
  /** Gateway time of the last entry, milliseconds since 1970, and its highest HLC stamp. */
  readonly toMs: number;
  /** Of all of the shard's rows of this table at toSeq (V1); absent where the shard does not say. */
  readonly digest?: string | undefined;
  /** Pages of changed rows; may be asked for again, and gives the same again. Each row appears once. */
  rows(): AsyncIterable<RowBatch>;
  /** Pages of history; likewise. */
  history(): AsyncIterable<HistoryBatch>;
}

export interface FlushReceipt {
  /** What the destination now holds of this shard; at least the batch's toSeq. */
  readonly watermark: Seq;
  /** Rows and history entries written by this call; 0 when it was all there already. */
  readonly rows: number;
  readonly deltas: number;
}

export interface LatestStateQuery {
  readonly table: TableSchema;
  /** Rows with ids after this, in order of id by code point. */
  readonly after?: string;
  readonly limit: number;
  /** Only these rows; at most `PAGE_ROWS_MAX`. */
  readonly ids?: readonly string[];
  /** Also the dead rows that the destination remembers; those that keep none give none. */
  readonly tombstones?: boolean;
  /** Of live rows only those whose newest clock is before this; a hint, which a destination that has to look at each row anyway ignores. */
  readonly changedBefore?: HlcText;
}

/** How far a destination has come with a shard's edits of a table. */
export interface ShardProgress {
  /** Whose shard it is, where the destination knows. */
  readonly gatewayId?: string;
  readonly shard: string;
  readonly watermark: Seq;
  /** What the shard said of its rows there (V1). */
  readonly digest?: string;
}

/** Rows by id, each in one version: a late edit changes a row's seq, and may leave its newest stamp as it is. */
export interface RowVersions {
  readonly table: TableSchema;
  readonly rowIds: readonly string[];
  readonly stamps: readonly Stamp[];
  readonly seqs: readonly Seq[];
}

export interface DeltasSinceQuery {
  readonly table: TableSchema;
  readonly shard: string;
  /** Whose shard it is; may be left out where the destination holds one gateway's. */
  readonly gatewayId?: string;
  readonly afterSeq: Seq;
  readonly limit: number;
}

export interface DatabaseAdapter {
  /** Makes the destination ready for a table as it now is; additive, idempotent, safe to call at once from two places. */
  ensureSchema(table: TableSchema): Promise<Result<void, LakeSyncError>>;
  insertDeltas(batch: FlushBatch): Promise<Result<FlushReceipt, LakeSyncError>>;
  /** History of one shard after a seq, in order, for migration and rebuild. */
  queryDeltasSince(query: DeltasSinceQuery): Promise<Result<HistoryBatch, LakeSyncError>>;
  /**
   * Live rows in order of id. Cell stamps are exact, or have no client where the destination keeps less; a seq is that of
   * the row's version, and not above 0 where that is not known.
   */
  getLatestState(query: LatestStateQuery): Promise<Result<RowBatch, LakeSyncError>>;
  /** Of every shard that the destination holds edits of, of one table; none for a table that it does not know. */
  progress(table: TableSchema): Promise<Result<readonly ShardProgress[], LakeSyncError>>;
  /**
   * Removes rows and tombstones, each where it still is that version, without a trace: another tier has
   * them. History stays. Absent where the destination cannot be a hot tier.
   * @returns ids of the rows that were there in that version
   */
  evictRows?(rows: RowVersions): Promise<Result<readonly string[], LakeSyncError>>;
  close(): Promise<void>;
}

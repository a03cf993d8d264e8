/**
 * What SQL databases do differently: their statements. What they share is in adapter.ts.
 *
 *   <table>               the user's rows: `_id`, a typed column each, `_stamps` (row-state.ts)
 *   <table>__changes      a view of the edits, one by one
 *   lakesync_tables       id, name, version, columns: what stands where; its row is locked by whoever writes the table
 *   lakesync_watermarks   of each shard of each table: id, seq, digest
 *   lakesync_changes      the edits, in chunks (changes.ts)
 *   lakesync_tombstones   dead rows, for as long as an older edit may come
 */
import type { LatestStateQuery, RowVersions, ShardProgress } from "../../core/index.ts";
import type { Scalar, Seq } from "../../schemas/index.ts";
import type { Chunk } from "./changes.ts";
import type { MergedRow, RowUpdate } from "./page.ts";
import type { TableChange, TableRecord } from "./table.ts";

/** A shard of a gateway, as the source of a table's edits. */
export interface Source {
  readonly id: number;
  readonly seq: number;
  /** Whether the table has tombstones. */
  readonly dead: boolean;
}

/** Values are in the order of the record's columns. */
export interface ReadRow {
  readonly rowId: string;
  readonly stamps: string | null;
  readonly values: readonly Scalar[];
}

export interface ReadTombstone {
  readonly rowId: string;
  readonly state: string;
}

/** A watermark as a query gives it. */
export interface WatermarkRow {
  readonly gateway: string;
  readonly shard: string;
  /** A 64-bit integer, as text. */
  readonly seq: string;
  readonly digest: string | null;
}

export const progressOf = (rows: readonly WatermarkRow[]): (ShardProgress & { readonly gatewayId: string })[] =>
  rows.map(({ gateway, shard, seq, digest }) => ({
    gatewayId: gateway,
    shard,
    watermark: Number(seq) as Seq,
    ...(digest !== null && { digest }),
  }));

/** Rows that are new to a table, written out for the database as far as can be without it. */
export interface Load {
  readonly record: TableRecord;
  readonly rows: readonly MergedRow[];
}

export type RowsQuery = Pick<LatestStateQuery, "after" | "limit" | "ids">;

/** Statements that read; outside of a transaction each sees the newest. */
export interface SqlReader {
  /** What is known of a table; undefined for one that was never made. */
  find(table: string): Promise<TableRecord | undefined>;
  rows(record: TableRecord, query: RowsQuery): Promise<ReadRow[]>;
  tombstones(record: TableRecord, query: RowsQuery): Promise<ReadTombstone[]>;
  /** Bodies of the chunks that end after a seq, in order. */
  chunks(record: TableRecord, gatewayId: string, shard: string, afterSeq: number): AsyncIterable<string>;
  progress(record: TableRecord): Promise<(ShardProgress & { readonly gatewayId: string })[]>;
}

/** Statements of one transaction. */
export interface SqlWriter extends SqlReader {
  /** Makes what LakeSync keeps for itself, where it is missing. */
  prepare(): Promise<void>;
  /** Locks a table's record against other writers, entering it first where it is new. */
  enter(table: string): Promise<TableRecord>;
  /** Locks a table's record; undefined for a table that was never made. */
  lock(table: string): Promise<TableRecord | undefined>;
  /** Makes the table and its view, or changes them, and keeps what now stands where. */
  change(record: TableRecord, change: TableChange, version: number): Promise<void>;
  /** The shard's watermark, entered as 0 where it is new. */
  source(record: TableRecord, gatewayId: string, shard: string): Promise<Source>;
  /** What is kept of rows: stamps of those that live, tombstones of the dead. */
  held(record: TableRecord, rowIds: readonly string[]): Promise<(Pick<ReadRow, "rowId" | "stamps"> | ReadTombstone)[]>;
  /** @param sent called when the rows are on their way, and the database has work of its own */
  insert(load: Load, sent?: () => void): Promise<void>;
  update(record: TableRecord, rows: readonly RowUpdate[]): Promise<void>;
  delete(record: TableRecord, rowIds: readonly string[]): Promise<void>;
  bury(record: TableRecord, rows: readonly MergedRow[]): Promise<void>;
  /** Takes tombstones away. */
  exhume(record: TableRecord, rowIds: RowVersions["rowIds"]): Promise<void>;
  append(source: Source, chunks: readonly Chunk[]): Promise<void>;
  /** Moves the shard's watermark. */
  advance(source: Source, seq: number, digest: string | null): Promise<void>;
  /** Takes away tombstones of rows that died before a moment, milliseconds since 1970. */
  forget(record: TableRecord, beforeMs: number): Promise<void>;
}

export interface SqlDatabase {
  /** Pure. */
  load(record: TableRecord, rows: readonly MergedRow[]): Load;
  /** Runs a body with a connection. Throws LakeSyncErrors. */
  read<T>(body: (reader: SqlReader) => Promise<T>): Promise<T>;
  /** Runs a body in a transaction, again where the database broke it off without a decision. The body may run twice. */
  transaction<T>(body: (writer: SqlWriter) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

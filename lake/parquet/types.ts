/**
 * Types of columns in the lake, the few that LakeSync writes, by their Iceberg names:
 *
 *   schemas/  string  integer  number  boolean  timestamp     json    bytes
 *   Iceberg   string  long     double  boolean  timestamptz   string  binary
 *   Parquet   STRING  INT64    DOUBLE  BOOLEAN  INT64 micros  STRING  BYTE_ARRAY
 *
 * Values in memory are canonical scalars (schemas/value.ts); a column of `long` or `timestamptz` may also be a
 * BigInt64Array, which spares a boxed number a row.
 */
import type { ColumnType, Scalar } from "../../schemas/index.ts";

export type LakeType = "string" | "long" | "double" | "boolean" | "timestamptz" | "binary";

export const LAKE_TYPES: Readonly<Record<ColumnType, LakeType>> = {
  string: "string",
  integer: "long",
  number: "double",
  boolean: "boolean",
  timestamp: "timestamptz",
  json: "string",
  bytes: "binary",
};

export interface ParquetColumn {
  readonly name: string;
  /** Iceberg field id, written as the Parquet field id: readers go by it, never by the name (L4). */
  readonly fieldId: number;
  readonly type: LakeType;
  readonly required: boolean;
  readonly values: readonly Scalar[] | BigInt64Array;
}

/** Least or greatest value of a column, before it is cut and serialised. */
export type Bound = string | bigint | number | boolean | Uint8Array;

export interface ColumnMetrics {
  readonly fieldId: number;
  readonly type: LakeType;
  /** Nulls included. */
  readonly values: number;
  readonly nulls: number;
  /** Of doubles only. */
  readonly nans?: number;
  readonly lower?: Bound;
  readonly upper?: Bound;
  /** Compressed bytes of all its chunks. */
  readonly bytes: number;
}

export interface ParquetMetrics {
  readonly rows: number;
  readonly columns: readonly ColumnMetrics[];
  /** Where each row group begins, bytes from the start of the file. */
  readonly splitOffsets: readonly number[];
}

/**
 * Parquet files, written whole: scalars -> Arrow vectors -> IPC stream -> parquet-wasm, ZSTD. Field ids travel in the
 * Arrow field metadata `PARQUET:field_id`.
 */
import { parquetMetadata } from "hyparquet";
import {
  Compression,
  EnabledStatistics,
  writeParquet as encode,
  Table,
  WriterPropertiesBuilder,
} from "parquet-wasm/esm";
import { invariant } from "../../schemas/index.ts";
import { arrowStreamOf } from "./arrow.ts";
import { assertParquetReady } from "./init.ts";
import type { ColumnMetrics, ParquetColumn, ParquetMetrics } from "./types.ts";
import { buildVector, type RowOrder, type Vector } from "./vectors.ts";

export interface ParquetTable {
  readonly columns: readonly ParquetColumn[];
  readonly rows: number;
  /** Row i of the file is entry order[i] of each column. */
  readonly order?: Uint32Array;
}

export interface ParquetFile {
  readonly bytes: Uint8Array;
  readonly metrics: ParquetMetrics;
}

/**
 * A Parquet file of one row group. Peak memory is about three times the raw size of the columns: keep to
 * `DATA_FILE_ROWS` rows. A null in a required column is a bug of the caller and throws.
 */
export function writeParquet(table: ParquetTable): ParquetFile {
  assertParquetReady();
  const vectors = table.columns.map((column) => vectorOf(column, table.rows, table.order));
  const bytes = encodeVectors(table.columns, vectors);
  return { bytes, metrics: metricsOf(table, vectors, bytes) };
}

function vectorOf(column: ParquetColumn, rows: number, order: RowOrder): Vector {
  const vector = buildVector(column, rows, order);
  invariant(!column.required || vector.nulls === 0, `null in required column ${column.name}`);
  return vector;
}

function encodeVectors(columns: readonly ParquetColumn[], vectors: readonly Vector[]): Uint8Array {
  let properties = new WriterPropertiesBuilder()
    .setCompression(Compression.ZSTD)
    .setStatisticsEnabled(EnabledStatistics.Chunk)
    .setCreatedBy("lakesync");
  columns.forEach((column, at) => {
    properties = properties.setColumnDictionaryEnabled(column.name, (vectors[at] as Vector).repeats);
  });
  const table = Table.fromIPCStream(arrowStreamOf(columns, vectors));
  return encode(table, properties.build()); // both arguments are moved into wasm and freed there
}

function metricsOf(table: ParquetTable, vectors: readonly Vector[], bytes: Uint8Array): ParquetMetrics {
  const footer = footerOf(bytes);
  const columns = table.columns.map((column, at): ColumnMetrics => {
    const { nulls, nans, lower, upper } = vectors[at] as Vector;
    const sizes = footer.row_groups.map((group) => Number(group.columns[at]?.meta_data?.total_compressed_size ?? 0));
    return {
      fieldId: column.fieldId,
      type: column.type,
      values: table.rows,
      nulls,
      ...(nans === undefined ? {} : { nans }),
      ...(lower === undefined || upper === undefined ? {} : { lower, upper }),
      bytes: sizes.reduce((sum, size) => sum + size, 0),
    };
  });
  const splitOffsets = footer.row_groups.map((group) => {
    const first = group.columns[0]?.meta_data;
    return Number(first?.dictionary_page_offset ?? first?.data_page_offset ?? 4);
  });
  return { rows: table.rows, columns, splitOffsets };
}

/** The footer is at the end: its length in the last eight bytes (Parquet format, "File format"). */
function footerOf(bytes: Uint8Array): ReturnType<typeof parquetMetadata> {
  const length = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 8, 4).getUint32(0, true);
  return parquetMetadata(bytes.slice(-length - 8).buffer as ArrayBuffer);
}

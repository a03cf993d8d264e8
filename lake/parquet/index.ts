/** Parquet: `writeParquet` and `openParquet`. */
export { arrowOf } from "./arrow.ts";
export { initParquet, parquetMemoryBytes } from "./init.ts";
export { joinMetrics } from "./metrics.ts";
export { openParquet, ParquetReader, type ReadColumn, type RowGroupRange, textOf } from "./read.ts";
export { ParquetStitcher } from "./stitch.ts";
export * from "./types.ts";
export { compareBytes } from "./vectors.ts";
export { type ParquetFile, type ParquetTable, writeParquet } from "./write.ts";
export { initZstd, type ZstdDecompress } from "./zstd.ts";

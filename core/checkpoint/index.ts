/** Checkpoints: all rows of a shard at one seq, in chunks (CK1, CK2). What is pure of it; lake/checkpoint stores it. */
export { ChunkBuilder, type ChunkRest, restoreRows } from "./chunk.ts";
export { INDEX_PARTS, IndexRun, idsIn, partsFor } from "./index-run.ts";
export { type CheckpointManifest, type ChunkInfo, manifestSchema, type TableCheckpoint } from "./manifest.ts";
export type { CheckpointSource, CheckpointStart, CheckpointTable } from "./source.ts";

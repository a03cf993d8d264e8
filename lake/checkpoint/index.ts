/** Checkpoints of shards in an object store. */

export { gzip } from "./gzip.ts";
export { type CheckpointPlace, chunkKey, isObjectName, isRun, newRun, runStartMs } from "./keys.ts";
export {
  getChunk,
  getClocks,
  getColdRuns,
  idsInChunk,
  listedRuns,
  lookUp,
  objectsIn,
  putChunk,
  putIndexRun,
  type RunPlace,
  readCheckpoint,
} from "./objects.ts";
export {
  type CheckpointDeps,
  type CheckpointOptions,
  type CheckpointSummary,
  writeCheckpoint,
} from "./write.ts";

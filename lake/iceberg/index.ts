/** Iceberg tables: the flush, commits, scans. */
export { commitSnapshot, newSnapshotId, type SnapshotChange } from "./commit.ts";
export { DEFAULT_NAMESPACE, FAULT_POINTS, type FaultPoint, type LakeDeps } from "./deps.ts";
export * from "./files.ts";
export { flushToIceberg } from "./flush.ts";
export { fieldsOf, identOf, KINDS, type LakeField, type TableKind } from "./layout.ts";
export { liveDataFiles, liveEntries } from "./live-files.ts";
export { digestOf, keyOf } from "./locations.ts";
export {
  currentSchema,
  type LiveEntry,
  readManifest,
  readManifestList,
  type StagedManifest,
  stageManifest,
} from "./manifest.ts";
export { type ScanBatch, type ScanOptions, scanSnapshot } from "./scan.ts";
export { ensureTable } from "./tables.ts";
export { carriedSummary, currentSnapshot, watermarkOf } from "./watermark.ts";

/** Iceberg tables: the flush, commits, scans. */
export { Bits } from "./bits.ts";
export { decodeLong, decodeString } from "./bounds.ts";
export { commitSnapshot, newSnapshotId, type SnapshotChange } from "./commit.ts";
export { type DataFileTarget, dataFileOf } from "./data-files.ts";
export { DeleteIndex, readPositionDeletes } from "./delete-index.ts";
export {
  DEFAULT_NAMESPACE,
  FAULT_POINTS,
  type FaultPoint,
  fault,
  type LakeDeps,
  MAINTENANCE_FAULT_POINTS,
} from "./deps.ts";
export {
  deadByEquality,
  type EqualityDelete,
  readEqualityDeletes,
  type TypeOf,
  writeEqualityDeletes,
} from "./equality-deletes.ts";
export * from "./files.ts";
export { flushToIceberg } from "./flush.ts";
export { definitionOf, fieldsOf, identOf, isLakeType, KINDS, type LakeField, type TableKind } from "./layout.ts";
export { liveDataFiles, liveEntries } from "./live-files.ts";
export { attemptName, digestOf, keyOf } from "./locations.ts";
export {
  currentSchema,
  defaultSpec,
  type LiveEntry,
  readManifest,
  readManifestList,
  type StagedManifest,
  stageManifest,
  writeManifest,
} from "./manifest.ts";
export { ManifestMerger } from "./merge-manifests.ts";
export { writePositionDeletes } from "./position-deletes.ts";
export { findExactly, type KeyFields, type OldRows, type Positions } from "./positions.ts";
export { type ScanBatch, type ScanOptions, scanSnapshot } from "./scan.ts";
export type { Counts } from "./summary.ts";
export { ensureTable, loadOrUndefined } from "./tables.ts";
export { lakeContent } from "./verify.ts";
export { carriedSummary, currentSnapshot, digestsOf, watermarkOf } from "./watermark.ts";

/**
 * The lake: Iceberg tables over object storage.
 *
 *   store/      object stores            parquet/  files of columns     avro/  files of records
 *   catalogue/  pointers to metadata     iceberg/  manifests, commits, the flush, scans
 *   compact/    compaction, expiry, orphans
 */
export { IcebergAdapter } from "./adapter.ts";
export * from "./catalogue/index.ts";
export * from "./checkpoint/index.ts";
export * from "./cold/index.ts";
export {
  compact,
  debtOf,
  expireSnapshots,
  type KindReport,
  type LakeDebt,
  type MaintainOptions,
  type MaintainReport,
  maintain,
  removeOrphans,
  rewriteManifests,
} from "./compact/index.ts";
export * from "./iceberg/index.ts";
export * from "./parquet/index.ts";
export { type RebuildOptions, type RebuildReport, type RebuildTarget, rebuildShard } from "./rebuild.ts";
export * from "./store/index.ts";

/**
 * Limits of the lake's upkeep, made small, as edits of the source as it is read: a world lives for minutes and holds dozens of
 * rows, and in it files are merged, snapshots expire and orphans go as they do in months of a large table. Their order is
 * the product's: a consumer's life < an orphan's age, a query < the grace period.
 */
const FILE = "schemas/limits.ts";

const scale = (name: string, from: string, to: string) => ({
  file: FILE,
  find: `export const ${name} = ${from};`,
  replace: `export const ${name} = ${to};`,
});

export const SCALED = [
  scale("DATA_FILE_ROWS", "25_000", "20"),
  scale("MANIFESTS_MAX", "50", "4"),
  scale("COMPACT_TARGET_ROWS", "200_000", "16"),
  scale("COMPACT_INPUTS_MIN", "8", "3"),
  scale("COMPACT_DEPTH_MAX", "4", "2"),
  scale("COMPACT_JOB_ROWS", "1_000_000", "40"),
  scale("DELETE_FILES_MAX", "8", "2"),
  scale("SNAPSHOTS_MIN", "10", "2"),
  scale("SNAPSHOT_AGE_MS", "24 * 3600 * SECOND", "20 * SECOND"),
  scale("GRACE_MS", "3600 * SECOND", "60 * SECOND"),
  scale("ORPHAN_AGE_MS", "3 * 24 * 3600 * SECOND", "300 * SECOND"),
  scale("GARBAGE_MAX", "20_000", "30"),
  scale("MAINTENANCE_FLUSHES", "8", "3"),
  scale("MAINTENANCE_EVERY_MS", "3600 * SECOND", "10 * SECOND"),
  scale("EXPIRE_EVERY_MS", "6 * 3600 * SECOND", "45 * SECOND"),
  scale("ORPHANS_EVERY_MS", "24 * 3600 * SECOND", "90 * SECOND"),
  scale("MAINTENANCE_LEASE_MS", "15 * 60 * SECOND", "SECOND"),
  scale("CHANGE_LIST_DELTAS", "1_000_000", "10"),
  scale("HOT_LEAVE_EDITS", "20_000", "3"),
  scale("HOT_RUN_ROWS", "50_000", "4"),
  scale("HOT_MERGE_RUNS", "8", "2"),
  scale("HOT_MERGED_ROWS", "200_000", "12"),
  scale("HOT_MERGE_ROWS", "1_000_000", "40"),
  scale("HOT_GRACE_MS", "24 * 3600 * SECOND", "60 * SECOND"),
  scale("HOT_ORPHAN_AGE_MS", "3600 * SECOND", "30 * SECOND"),
  scale("HOT_CHUNK_CHARS", "256 * KiB", "300"),
  scale("HOT_CHUNKS_PER_PUSH", "64", "2"),
  scale("CHUNK_CHARS", "2 * MiB", "400"),
  scale("CHECKPOINT_JOB_ROWS", "750_000", "20"),
  scale("REBUILD_JOB_ROWS", "200_000", "10"),
  scale("REBUILD_EDITS", "5000", "4"),
  scale("INDEX_RUN_CHARS", "4 * MiB", "100"),
  scale("CHECKPOINT_CHANGES", "10_000", "10"),
  scale("CHECKPOINT_AGE_MS", "24 * 3600 * SECOND", "60 * SECOND"),
  scale("CHECKPOINT_HEAD_MIN", "5_000", "5"),
  scale("CHECKPOINT_GRACE_MS", "24 * 3600 * SECOND", "60 * SECOND"),
  scale("CHECKPOINT_DRAFT_MS", "3600 * SECOND", "300 * SECOND"),
  scale("FOLLOWED_BYTES_MAX", "64 * KiB", "4 * KiB"),
  scale("FOLLOWED_GROUPS_MAX", "16", "3"),
];

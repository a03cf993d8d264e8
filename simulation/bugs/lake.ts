/** Planted in lake/: what a flush and a commit leave behind. */
import type { Bug } from "./list.ts";

const FLUSH = "lake/iceberg/flush.ts";
const COMMIT = "lake/iceberg/commit.ts";

export const LAKE_BUGS: readonly Bug[] = [
  {
    name: "commit-retried-blindly",
    what: "a commit whose outcome is unknown is done again without looking",
    edits: [
      {
        file: COMMIT,
        find: '    if (base.metadata.snapshots?.some((each) => each["snapshot-id"] === snapshotId)) return base;',
        replace: "    snapshotId = newSnapshotId(deps, base.metadata);",
      },
      {
        file: FLUSH,
        find: " || watermarkOf(metadata, shard) !== this.#watermark) return undefined;",
        replace: ") return undefined;",
      },
    ],
  },
  {
    name: "watermark-not-looked-at",
    what: "a flush that is delivered again is written again",
    edits: [
      {
        file: "lake/iceberg/watermark.ts",
        find: "  return Math.max(Number(metadata.properties?.[key] ?? 0), Number(carried(metadata)[key] ?? 0));",
        replace: "  return Number(metadata.properties?.[key.toUpperCase()] ?? 0);",
      },
    ],
  },
  {
    name: "old-version-stays",
    what: "a row that changes is appended, and its old version is not deleted",
    edits: [{ file: FLUSH, find: "    if (old.size === 0) return;", replace: "    if (old.size >= 0) return;" }],
  },
  {
    name: "swap-without-compare",
    what: "a commit moves the pointer whatever it was",
    edits: [
      {
        file: "lake/catalogue/pointers.ts",
        find: "WHERE namespace = ? AND name = ? AND metadata_location = ? RETURNING 1 AS moved",
        replace: "WHERE namespace = ? AND name = ? AND ? <> '' RETURNING 1 AS moved",
      },
    ],
  },
];

/** Planted in lake/: what flushes, commits and upkeep leave behind. */
import type { Bug } from "./list.ts";

const FLUSH = "lake/iceberg/flush.ts";
const COMMIT = "lake/iceberg/commit.ts";
const REPLACE = "lake/compact/replace.ts";
const GARBAGE = "lake/compact/garbage.ts";

export const LAKE_BUGS: readonly Bug[] = [
  {
    name: "written-twice-is-taken",
    what: "a metadata file whose write arrives twice is taken for somebody else's",
    edits: [
      {
        file: "lake/catalogue/metadata-files.ts",
        find: ' && !(put.error.code === "Conflict" && (await this.#holds(key, body)))',
        replace: "",
      },
    ],
  },
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
  {
    name: "watermark-not-carried",
    what: "a compaction's snapshot does not say what it holds",
    edits: [{ file: REPLACE, find: "      summary: carriedSummary(metadata),", replace: "      summary: {}," }],
  },
  {
    name: "compaction-ignores-deletes",
    what: "rows that a delete file removed come back when their file is merged",
    edits: [
      {
        file: "lake/compact/source.ts",
        find: "if (!gone?.has(start + row) && !dead?.has(row)) live[count++] = row;",
        replace: "live[count++] = row;",
      },
    ],
  },
  {
    name: "compaction-races-flush",
    what: "rows that a flush replaces while their file is merged come back",
    edits: [
      {
        file: REPLACE,
        find: "    if (positions.size === 0) return true;",
        replace: "    if (positions.size >= 0) return true;",
      },
    ],
  },
  {
    name: "compaction-races-itself",
    what: "of two merges of the same files both are committed",
    edits: [
      {
        file: REPLACE,
        find: "!== uuid || ![...paths].every((path) => live.has(path))) return",
        replace: "!== uuid || ![...paths].every((path) => live.size > 0 || path)) return",
      },
    ],
  },
  {
    name: "expiry-without-grace",
    what: "files of expired snapshots go at once, while queries read them",
    edits: [
      {
        file: GARBAGE,
        find: "mark.markedMs + graceMs <= deps.clock.now()",
        replace: "mark.markedMs + graceMs * 0 <= deps.clock.now()",
      },
    ],
  },
  {
    name: "expired-files-in-use",
    what: "files of an expired snapshot go although others need them",
    edits: [
      {
        file: "lake/compact/expire.ts",
        find: "filter((key) => !needed.has(key))",
        replace: "filter((key) => key || needed)",
      },
      {
        file: GARBAGE,
        find: "file.startsWith(folder) && !needed.has(file)",
        replace: "file.startsWith(folder) || needed.has(file)",
      },
    ],
  },
  {
    name: "orphans-in-flight",
    what: "files of a commit in flight are taken for orphans, and deleted at once",
    edits: [
      {
        file: "lake/compact/orphans.ts",
        find: "const before = deps.clock.now() - olderThanMs;",
        replace: "const before = deps.clock.now() + olderThanMs;",
      },
      {
        file: GARBAGE,
        find: "mark.markedMs + graceMs <= deps.clock.now()",
        replace: "mark.markedMs + graceMs * 0 <= deps.clock.now()",
      },
      {
        file: GARBAGE,
        find: "file.startsWith(folder) && !needed.has(file)",
        replace: "file.startsWith(folder) || needed.has(file)",
      },
    ],
  },
];

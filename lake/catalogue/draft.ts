/**
 * Table metadata under construction: opened from what is there, changed by updates (updates.ts), closed into the next
 * version. Closing checks what must hold of the whole and writes the logs (table spec, "Table Metadata Fields"):
 *
 *   - every ref names a snapshot that is there; removing one that a ref still names is a conflict
 *   - last-updated-ms never goes back; snapshot log and metadata log are in order of time
 *   - a commit adds at most one entry to the snapshot log: the snapshot that is current when it is done
 *   - the metadata log keeps `write.metadata.previous-versions-max` files, 100 by default
 */
import type { Snapshot, SnapshotRef, TableMetadata } from "../../core/index.ts";
import { conflict, refuse } from "./errors.ts";
import { type Id64, idKey } from "./json.ts";

export interface CommitContext {
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** Where the metadata that the commit starts from is kept; it goes into the metadata log. */
  readonly baseLocation?: string;
}

export const MAIN = "main";
const PREVIOUS_VERSIONS_DEFAULT = 100;

export type StatisticsFile = Readonly<Record<string, unknown>> & { readonly "snapshot-id": Id64 };

export interface Draft {
  metadata: { -readonly [K in keyof TableMetadata]: TableMetadata[K] };
  readonly snapshots: Map<string, Snapshot>;
  readonly refs: Map<string, SnapshotRef>;
  /** Snapshots that this commit added, and removed, by idKey. */
  readonly added: Set<string>;
  readonly removed: Set<string>;
  statistics: readonly StatisticsFile[];
  partitionStatistics: readonly StatisticsFile[];
  /** What this commit added last: the meaning of -1 in set-current-schema and its like. */
  lastSchema?: number;
  lastSpec?: number;
  lastOrder?: number;
  /** A create transaction: the table may still be given its uuid. */
  readonly creating: boolean;
}

export function openDraft(base: TableMetadata, creating: boolean): Draft {
  return {
    metadata: { ...base, properties: { ...base.properties } },
    snapshots: new Map((base.snapshots ?? []).map((snapshot) => [idKey(snapshot["snapshot-id"]), snapshot])),
    refs: new Map(Object.entries(base.refs ?? {})),
    added: new Set(),
    removed: new Set(),
    statistics: (base.statistics ?? []) as readonly StatisticsFile[],
    partitionStatistics: (base["partition-statistics"] ?? []) as readonly StatisticsFile[],
    creating,
  };
}

/** The finished metadata. `base` is what the draft was opened from, `null` for a table that begins. */
export function closeDraft(draft: Draft, base: TableMetadata | null, context: CommitContext): TableMetadata {
  const { metadata, refs } = draft;
  if (metadata["table-uuid"] === "") refuse("A new table needs a uuid: send assign-uuid.");
  if (metadata.location === "") refuse("A new table needs a location: send set-location.");
  mustHave(metadata.schemas, "schema-id", metadata["current-schema-id"], "current schema");
  mustHave(metadata["partition-specs"], "spec-id", metadata["default-spec-id"], "default partition spec");
  mustHave(metadata["sort-orders"], "order-id", metadata["default-sort-order-id"], "default sort order");
  for (const [name, ref] of refs) {
    const id = idKey(ref["snapshot-id"]);
    if (!draft.snapshots.has(id)) conflict(`Snapshot ${id} cannot be removed: ref "${name}" points at it.`);
  }
  // Readers refuse logs that are out of order, and a clock may step back.
  const updatedMs = Math.max(context.nowMs, base?.["last-updated-ms"] ?? 0);
  const current = refs.get(MAIN)?.["snapshot-id"];
  const { "current-snapshot-id": _before, ...rest } = metadata;
  const { statistics, partitionStatistics } = draft;
  return {
    ...rest,
    "last-updated-ms": updatedMs,
    ...(current === undefined ? {} : { "current-snapshot-id": current }),
    snapshots: [...draft.snapshots.values()],
    refs: Object.fromEntries(refs),
    "snapshot-log": snapshotLog(draft, base, current, updatedMs),
    "metadata-log": metadataLog(metadata, base, context),
    ...(statistics.length > 0 || base?.statistics !== undefined ? { statistics } : {}),
    ...(partitionStatistics.length > 0 || base?.["partition-statistics"] !== undefined
      ? { "partition-statistics": partitionStatistics }
      : {}),
    ...(metadata["format-version"] >= 3 ? { "next-row-id": metadata["next-row-id"] ?? 0 } : {}),
  };
}

function mustHave<K extends string>(
  list: readonly { readonly [key in K]: number }[],
  key: K,
  id: number,
  what: string,
): void {
  if (!list.some((entry) => entry[key] === id)) refuse(`The ${what} would be ${id}, which the table does not have.`);
}

/**
 * What came before a removed snapshot goes too: a gap would say that another snapshot was current then. A new snapshot
 * counts from its own timestamp, which is what a query as of that timestamp means; a rollback counts from now.
 */
function snapshotLog(
  draft: Draft,
  base: TableMetadata | null,
  current: Id64 | undefined,
  updatedMs: number,
): NonNullable<TableMetadata["snapshot-log"]> {
  const entries = base?.["snapshot-log"] ?? [];
  const cut = entries.findLastIndex((entry) => draft.removed.has(idKey(entry["snapshot-id"])));
  const log = entries.slice(cut + 1);
  const before = base?.refs?.[MAIN]?.["snapshot-id"];
  if (current === undefined || (before !== undefined && idKey(before) === idKey(current))) return log;
  const own = draft.added.has(idKey(current)) ? draft.snapshots.get(idKey(current))?.["timestamp-ms"] : undefined;
  const floor = log.at(-1)?.["timestamp-ms"] ?? 0;
  const timestampMs = Math.max(floor, Math.min(own ?? updatedMs, updatedMs));
  return [...log, { "snapshot-id": current, "timestamp-ms": timestampMs }];
}

function metadataLog(
  metadata: Draft["metadata"],
  base: TableMetadata | null,
  context: CommitContext,
): NonNullable<TableMetadata["metadata-log"]> {
  const log = base?.["metadata-log"] ?? [];
  if (base === null || context.baseLocation === undefined) return log;
  const asked = Number(metadata.properties?.["write.metadata.previous-versions-max"] ?? PREVIOUS_VERSIONS_DEFAULT);
  const max = Number.isInteger(asked) ? Math.max(1, asked) : PREVIOUS_VERSIONS_DEFAULT;
  const entry = { "metadata-file": context.baseLocation, "timestamp-ms": base["last-updated-ms"] };
  return [...log, entry].slice(-max);
}

/**
 * Files that fall out of the metadata log between two versions, where the table asks for them to be deleted. Only files of
 * the table's own metadata folder: a registered table's log may name anything.
 */
export function droppedMetadataFiles(before: TableMetadata, after: TableMetadata): readonly string[] {
  if (after.properties?.["write.metadata.delete-after-commit.enabled"] !== "true") return [];
  const own = `${after.location}/metadata/`;
  const kept = new Set((after["metadata-log"] ?? []).map((entry) => entry["metadata-file"]));
  return (before["metadata-log"] ?? [])
    .map((entry) => entry["metadata-file"])
    .filter((file) => !kept.has(file) && file.startsWith(own));
}

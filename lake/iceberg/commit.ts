/**
 * Commits of a snapshot by compare-and-swap (L2).
 *
 *   prepare(base) -> manifests, written once -> manifest list -> catalogue --> landed
 *         ^                                          ^              |
 *         |                                          +-- the same --+ unknown: load, look for the snapshot's id;
 *         +---- reload, new base -------------------- conflict -----+ it is there, or may be tried again
 *
 * Why a second try after `unknown` is safe: both tries require the same parent, so at most one of them can land, and the
 * snapshot's id tells which. No file is ever deleted here.
 */
import type { LoadedTable, Snapshot, TableIdent, TableMetadata } from "../../core/index.ts";
import { LakeSyncError, unwrap } from "../../schemas/index.ts";
import { fault, type LakeDeps } from "./deps.ts";
import type { ManifestFile } from "./files.ts";
import { currentSchema, readManifestList, type StagedManifest, writeManifestList } from "./manifest.ts";
import { type Counts, summaryTotals } from "./summary.ts";
import { currentSnapshot } from "./watermark.ts";

/** Attempts before a commit gives up; the flush is delivered again later. */
const ATTEMPTS = 10;
/** First pause after a conflict, doubled each time up to the last. Milliseconds. */
const PAUSE_MS = 20;
const PAUSE_MS_MAX = 2_000;
/** Snapshot ids that JavaScript engines hold exactly. */
const SNAPSHOT_IDS = 2 ** 53 - 1;

export interface SnapshotChange {
  readonly operation: "append" | "overwrite" | "delete" | "replace";
  /** Manifests that the change adds. */
  readonly manifests: readonly StagedManifest[];
  /** Manifests of the base that stay; all of them when left out. */
  readonly carried?: readonly ManifestFile[];
  readonly counts: Counts;
  /** Further keys of the summary. */
  readonly summary: Readonly<Record<string, string>>;
  /** Table properties to set in the same commit. */
  readonly properties?: Readonly<Record<string, string>>;
}

/** An id that the table does not have yet. */
export function newSnapshotId(deps: LakeDeps, metadata: TableMetadata): number {
  for (;;) {
    const id = Math.floor(deps.chance() * SNAPSHOT_IDS);
    if (id > 0 && !metadata.snapshots?.some((each) => each["snapshot-id"] === id)) return id;
  }
}

/**
 * Commits what `prepare` says for the table as it is; after a conflict `prepare` is asked again, and writes data files
 * no second time. It answers undefined when the new base leaves nothing to do.
 * @returns the table with the change in it, or undefined when there was nothing to do
 * @throws LakeSyncError `CommitConflict` after too many attempts, `CommitUnknown` when the outcome cannot be looked up
 */
export async function commitSnapshot(
  deps: LakeDeps,
  ident: TableIdent,
  first: LoadedTable,
  snapshotId: number,
  prepare: (base: LoadedTable) => Promise<SnapshotChange | undefined>,
): Promise<LoadedTable | undefined> {
  let base = first;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const change = await prepare(base);
    if (!change) return undefined;
    const snapshot = await stageSnapshot(deps, base.metadata, snapshotId, change, attempt);
    await fault(deps, "commit: after the manifest list, before the catalogue");
    const outcome = unwrap(
      await deps.catalogue.commit(ident, requirements(base.metadata), updates(snapshot, change.properties)),
    );
    await fault(deps, "commit: after the catalogue, before the answer");
    if (outcome.outcome === "landed") return outcome.table;
    await deps.sleep(Math.min(PAUSE_MS_MAX, PAUSE_MS * 2 ** attempt) * (0.5 + deps.chance()));
    base = await lookUp(deps, ident, outcome.outcome);
    if (base.metadata.snapshots?.some((each) => each["snapshot-id"] === snapshotId)) return base;
  }
  throw new LakeSyncError(
    "CommitConflict",
    `${ident.name} was changed by others at each of ${ATTEMPTS} attempts to commit; it will be tried again.`,
    { table: ident.name, attempts: ATTEMPTS },
  );
}

async function lookUp(deps: LakeDeps, ident: TableIdent, outcome: "conflict" | "unknown"): Promise<LoadedTable> {
  const loaded = await deps.catalogue.load(ident);
  if (loaded.ok) return loaded.value;
  if (outcome === "conflict") throw loaded.error;
  throw new LakeSyncError(
    "CommitUnknown",
    `Nobody can say now whether a commit to ${ident.name} landed; the next attempt will look.`,
    { table: ident.name },
    { cause: loaded.error },
  );
}

async function stageSnapshot(
  deps: LakeDeps,
  metadata: TableMetadata,
  snapshotId: number,
  change: SnapshotChange,
  attempt: number,
): Promise<Snapshot> {
  const parent = currentSnapshot(metadata);
  const sequenceNumber = metadata["last-sequence-number"] + 1;
  const added = change.manifests.map(
    (manifest): ManifestFile => ({ min_sequence_number: sequenceNumber, ...manifest, sequence_number: sequenceNumber }),
  );
  const carried = change.carried ?? (await readManifestList(deps.store, parent));
  const live = carried.filter((each) => (each.added_files_count ?? 1) + (each.existing_files_count ?? 1) > 0);
  // Data before deletes, as others write it.
  const manifests = [...live, ...added].sort((a, b) => a.content - b.content || 0);
  const path = `${metadata.location}/metadata/snap-${snapshotId}-${attempt}.avro`;
  await writeManifestList(
    deps.store,
    path,
    { id: snapshotId, parent: parent?.["snapshot-id"], sequenceNumber },
    manifests,
  );
  return {
    "snapshot-id": snapshotId,
    ...(parent ? { "parent-snapshot-id": parent["snapshot-id"] } : {}),
    "sequence-number": sequenceNumber,
    // The log of snapshots has to go forward, also when this clock is behind that of the last writer.
    "timestamp-ms": Math.max(deps.clock.now(), metadata["last-updated-ms"], parent?.["timestamp-ms"] ?? 0),
    "manifest-list": path,
    summary: {
      operation: change.operation,
      ...change.summary,
      ...summaryTotals(parent?.summary, change.counts),
    },
    "schema-id": currentSchema(metadata)["schema-id"],
  };
}

const requirements = (metadata: TableMetadata) => [
  { type: "assert-table-uuid", uuid: metadata["table-uuid"] },
  {
    type: "assert-ref-snapshot-id",
    ref: "main",
    "snapshot-id": currentSnapshot(metadata)?.["snapshot-id"] ?? null,
  },
];

const updates = (snapshot: Snapshot, properties: Readonly<Record<string, string>> | undefined) => [
  { action: "add-snapshot", snapshot },
  { action: "set-snapshot-ref", "ref-name": "main", type: "branch", "snapshot-id": snapshot["snapshot-id"] },
  ...(properties ? [{ action: "set-properties", updates: properties }] : []),
];

/**
 * Snapshot expiry: old snapshots leave the metadata in a commit, their files a grace period later (garbage.ts, L5).
 *
 *   branch   its head, the newest `retainLast` of its ancestors, and those not older than `olderThanMs`; a ref's own
 *            settings (Iceberg spec, "Snapshot Retention Policy") go first
 *   tag      its snapshot
 *   neither  while not older than `olderThanMs`
 *
 * Watermarks are table properties too (docs/decisions/0012), so nothing that a flush needs to know expires.
 */
import type { LoadedTable, Snapshot, SnapshotRef, TableIdent, TableMetadata } from "../../core/index.ts";
import {
  attempt,
  GRACE_MS,
  LakeSyncError,
  type Result,
  SNAPSHOT_AGE_MS,
  SNAPSHOTS_MIN,
  unwrap,
} from "../../schemas/index.ts";
import { fault, type LakeDeps } from "../iceberg/index.ts";
import { markGarbage, sweepGarbage } from "./garbage.ts";
import { filesOfExpired, reachableFrom } from "./reachable.ts";
import { loadTable } from "./tables.ts";

export interface ExpireOptions {
  /** Snapshots younger than this stay. Milliseconds. */
  readonly olderThanMs?: number;
  /** Of each branch so many stay, whatever their age. */
  readonly retainLast?: number;
  /** How long files are kept that no snapshot needs any more. Milliseconds. */
  readonly gracePeriodMs?: number;
}

export interface ExpireSummary {
  /** Snapshots that left the metadata. */
  readonly expired: number;
  /** Files that no snapshot needs since; they go after the grace period. */
  readonly marked: number;
  /** Files, marked before, whose grace period was over. */
  readonly deleted: number;
}

const ATTEMPTS = 10;
const PAUSE_MS = 50;

type Id = Snapshot["snapshot-id"];
type Retention = SnapshotRef & {
  readonly "min-snapshots-to-keep"?: number | null;
  readonly "max-snapshot-age-ms"?: number | null;
};

/** Snapshots that may go. Pure. */
export function expiredSnapshots(
  metadata: TableMetadata,
  { olderThanMs = SNAPSHOT_AGE_MS, retainLast = SNAPSHOTS_MIN }: ExpireOptions,
  nowMs: number,
): Snapshot[] {
  const snapshots = metadata.snapshots ?? [];
  const byId = new Map(snapshots.map((snapshot) => [String(snapshot["snapshot-id"]), snapshot]));
  const parentOf = ({ "parent-snapshot-id": id }: Snapshot) => (id === undefined ? undefined : byId.get(String(id)));
  const kept = new Set<Snapshot>();
  const ancestors = new Set<Snapshot>();
  for (const ref of Object.values(metadata.refs ?? {}) as Retention[]) {
    const head = byId.get(String(ref["snapshot-id"]));
    if (head) kept.add(head);
    if (ref.type !== "branch") continue;
    const least = ref["min-snapshots-to-keep"] ?? retainLast;
    const since = nowMs - (ref["max-snapshot-age-ms"] ?? olderThanMs);
    let keeping = true;
    let count = 0;
    for (let at = head; at && !(ancestors.has(at) && !keeping); at = parentOf(at), count++) {
      keeping &&= count < least || at["timestamp-ms"] >= since;
      if (keeping) kept.add(at);
      ancestors.add(at);
    }
  }
  return snapshots.filter((snapshot) => {
    if (kept.has(snapshot)) return false;
    return ancestors.has(snapshot) || snapshot["timestamp-ms"] < nowMs - olderThanMs;
  });
}

/**
 * Takes old snapshots out of a table, and deletes files that an earlier call marked and whose grace period is over.
 * @returns what was done. Errors: those of the catalogue and the store; it may be called again after any
 */
export function expireSnapshots(
  deps: LakeDeps,
  ident: TableIdent,
  options: ExpireOptions = {},
): Promise<Result<ExpireSummary, LakeSyncError>> {
  return attempt(async () => {
    const base = await loadTable(deps, ident);
    const { after, gone } = await removeSnapshots(deps, ident, base, options);
    const marked = gone.length > 0 ? await markExpired(deps, after, gone) : 0;
    const deleted = await sweepGarbage(deps, after, options.gracePeriodMs ?? GRACE_MS);
    return { expired: gone.length, marked, deleted };
  });
}

async function markExpired(deps: LakeDeps, after: LoadedTable, gone: readonly Snapshot[]): Promise<number> {
  await fault(deps, "expire: after the commit, before the mark");
  const needed = await reachableFrom(deps.store, after);
  const files = await filesOfExpired(deps.store, gone);
  return markGarbage(
    deps,
    after,
    [...files].filter((key) => !needed.has(key)),
  );
}

async function removeSnapshots(
  deps: LakeDeps,
  ident: TableIdent,
  first: LoadedTable,
  options: ExpireOptions,
): Promise<{ readonly after: LoadedTable; readonly gone: readonly Snapshot[] }> {
  let base = first;
  let tried: readonly Snapshot[] = [];
  for (let turn = 0; turn < ATTEMPTS; turn++) {
    // Of a commit whose outcome was unknown: what it asked for is done, or is asked for again.
    const left = new Set((base.metadata.snapshots ?? []).map((snapshot) => String(snapshot["snapshot-id"])));
    const landed = tried.filter((snapshot) => !left.has(String(snapshot["snapshot-id"])));
    if (landed.length > 0) return { after: base, gone: landed };
    tried = expiredSnapshots(base.metadata, options, deps.clock.now());
    if (tried.length === 0) return { after: base, gone: [] };
    await fault(deps, "expire: after the plan, before the commit");
    const ids: readonly Id[] = tried.map((snapshot) => snapshot["snapshot-id"]);
    const outcome = unwrap(
      await deps.catalogue.commit(
        ident,
        [{ type: "assert-table-uuid", uuid: base.metadata["table-uuid"] }],
        [{ action: "remove-snapshots", "snapshot-ids": ids }],
      ),
    );
    if (outcome.outcome === "landed") return { after: outcome.table, gone: tried };
    await deps.sleep(PAUSE_MS * 2 ** turn * (0.5 + deps.chance()));
    base = await loadTable(deps, ident);
  }
  throw new LakeSyncError("CommitConflict", `${ident.name} is being changed by others all the time; try again.`, {
    table: ident.name,
  });
}

/**
 * Orphans: files below a table's folder that no metadata names, left by whoever was killed before a commit. Those that are
 * old enough to be nobody's commit in flight are marked, and deleted a grace period later (garbage.ts, L5).
 */
import type { TableIdent } from "../../core/index.ts";
import { attempt, GARBAGE_MAX, GRACE_MS, type LakeSyncError, ORPHAN_AGE_MS, type Result } from "../../schemas/index.ts";
import { fault, keyOf, type LakeDeps } from "../iceberg/index.ts";
import { isMark, listAll, markedFiles, markGarbage, sweepGarbage } from "./garbage.ts";
import { reachableFrom } from "./reachable.ts";
import { loadTable } from "./tables.ts";

export interface OrphanOptions {
  /** Files younger than this may belong to a commit in flight. Milliseconds; longer than any commit takes. */
  readonly olderThanMs?: number;
  /** How long after they were found orphans are kept. Milliseconds. */
  readonly gracePeriodMs?: number;
}

export interface OrphanSummary {
  /** Files that were found; they go after the grace period. */
  readonly marked: number;
  /** Files, marked before, whose grace period was over. */
  readonly deleted: number;
}

/** Finds a table's orphans, and deletes those that an earlier call found. Errors: those of the catalogue and the store. */
export function removeOrphans(
  deps: LakeDeps,
  ident: TableIdent,
  { olderThanMs = ORPHAN_AGE_MS, gracePeriodMs = GRACE_MS }: OrphanOptions = {},
): Promise<Result<OrphanSummary, LakeSyncError>> {
  return attempt(async () => {
    const seen = await loadTable(deps, ident);
    const before = deps.clock.now() - olderThanMs;
    const old: string[] = [];
    for await (const { key, modifiedMs } of listAll(deps, `${keyOf(deps.store, seen.metadata.location)}/`)) {
      if (modifiedMs < before && !isMark(deps, seen, key)) old.push(key);
    }
    // Loaded after the list: what was committed meanwhile is named.
    const table = await loadTable(deps, ident);
    const needed = await reachableFrom(deps.store, table);
    const known = await markedFiles(deps, table);
    const orphans = old.filter((key) => !needed.has(key) && !known.has(key)).slice(0, GARBAGE_MAX);
    await fault(deps, "orphans: after the listing, before the mark");
    const marked = await markGarbage(deps, table, orphans);
    return { marked, deleted: await sweepGarbage(deps, table, gracePeriodMs) };
  });
}

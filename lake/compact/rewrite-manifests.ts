/** Many small manifests into few, without touching a file: whoever plans a scan reads all of them. */
import type { TableIdent } from "../../core/index.ts";
import type { LakeSyncError, Result } from "../../schemas/index.ts";
import { attempt } from "../../schemas/index.ts";
import {
  carriedSummary,
  commitSnapshot,
  currentSnapshot,
  fault,
  type LakeDeps,
  ManifestMerger,
  newSnapshotId,
  readManifestList,
} from "../iceberg/index.ts";
import { loadTable } from "./tables.ts";

export interface RewriteManifestsOptions {
  /** Small manifests of one content that may stay; more are merged into one. */
  readonly manifestsMax?: number;
}

export interface RewriteManifestsSummary {
  readonly before: number;
  readonly after: number;
}

/** Errors: those of a commit; it may be called again. */
export function rewriteManifests(
  deps: LakeDeps,
  ident: TableIdent,
  { manifestsMax = 1 }: RewriteManifestsOptions = {},
): Promise<Result<RewriteManifestsSummary, LakeSyncError>> {
  return attempt(async () => {
    const table = await loadTable(deps, ident);
    const id = newSnapshotId(deps, table.metadata);
    const merger = new ManifestMerger(deps.store, id, manifestsMax);
    let [before, after] = [0, 0];
    await commitSnapshot(deps, ident, table, id, async ({ metadata }) => {
      const manifests = await readManifestList(deps.store, currentSnapshot(metadata));
      const { carried, merged } = await merger.merge(metadata, manifests);
      before = manifests.length;
      after = carried.length + merged.length;
      if (carried.length === before) return undefined;
      await fault(deps, "manifests: after manifests, before the commit");
      return {
        operation: "replace",
        carried,
        manifests: merged,
        counts: { addedFiles: [] },
        summary: {
          ...carriedSummary(metadata),
          "manifests-created": String(merged.length),
          "manifests-kept": String(carried.length),
          "manifests-replaced": String(before - carried.length),
        },
      };
    });
    return { before, after };
  });
}

/**
 * Removes runs that nobody reads any more: those that a merge took the place of, and those of somebody who was killed. What is read:
 *
 *   runs in force, and others for a while after a merge     the shard says
 *   runs that a checkpoint lists                            as long as the list lies there: in force, kept for downloads, or a draft
 *   runs that are being written                             by their age
 */
import { attempt, HOT_ORPHAN_AGE_MS, type LakeSyncError, type Result, unwrap } from "../../schemas/index.ts";
import {
  type CheckpointDeps,
  type CheckpointPlace,
  isRun,
  listedRuns,
  objectsIn,
  runStartMs,
} from "../checkpoint/index.ts";

/**
 * @param known names of the runs that the shard knows, and did until a while ago
 * @returns how many objects were removed
 */
export function sweepRuns(
  deps: CheckpointDeps,
  { gatewayId, shard }: CheckpointPlace,
  known: () => Promise<Result<readonly string[], LakeSyncError>>,
): Promise<Result<number, LakeSyncError>> {
  return attempt(async () => {
    const place = { gatewayId, shard, cold: true };
    const before = deps.clock.now() - HOT_ORPHAN_AGE_MS;
    let read: Set<string> | undefined;
    let removed = 0;
    for await (const objects of objectsIn(deps.store, place)) {
      const old = objects.filter(({ run }) => isRun(run) && runStartMs(run) < before);
      if (old.length === 0) continue;
      // What is in use is asked for after something was found that is old: nothing as old as that comes into use.
      read ??= new Set([...unwrap(await known()), ...(await listedRuns(deps.store, { gatewayId, shard }))]);
      const gone = old.flatMap(({ run, key }) => (read?.has(run) ? [] : [key]));
      if (gone.length > 0) unwrap(await deps.store.delete(gone));
      removed += gone.length;
    }
    return removed;
  });
}

/** Inside adapters expected failures travel as thrown LakeSyncErrors; at their doors they become values. Bugs throw on. */
import { err, isLakeSyncError, type LakeSyncError, ok, type Result } from "../schemas/index.ts";

export async function attempt<T>(body: () => Promise<T>): Promise<Result<T, LakeSyncError>> {
  try {
    return ok(await body());
  } catch (error) {
    if (isLakeSyncError(error)) return err(error);
    throw error;
  }
}

/** Inside a module expected failures travel as thrown LakeSyncErrors; at its doors they become values. Bugs throw on. */
import { isLakeSyncError, type LakeSyncError } from "./errors.ts";
import { err, ok, type Result } from "./result.ts";

export async function attempt<T>(body: () => Promise<T>): Promise<Result<T, LakeSyncError>> {
  try {
    return ok(await body());
  } catch (error) {
    if (isLakeSyncError(error)) return err(error);
    throw error;
  }
}

/** The failures of object stores, in the words of the port. */
import { LakeSyncError, type Result } from "../../schemas/index.ts";

export type StoreResult<T> = Promise<Result<T, LakeSyncError>>;

export const notFound = (key: string) => new LakeSyncError("NotFound", `There is no object ${key}.`, { key });
export const conflict = (key: string) =>
  new LakeSyncError("Conflict", `Object ${key} exists already and was to be written only if absent.`, { key });
export const unavailable = (key: string, cause: unknown) =>
  new LakeSyncError("DestinationUnavailable", `The object store failed at ${key}; try again.`, { key }, { cause });

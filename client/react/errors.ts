/** Whatever was thrown, as what the hooks give. */
import { isLakeSyncError, LakeSyncError } from "../../schemas/index.ts";

export const asError = (cause: unknown): LakeSyncError =>
  isLakeSyncError(cause) ? cause : new LakeSyncError("Internal", String(cause), {}, { cause });

/**
 * A token bucket a user (S4): so many calls at once, refilled at so many a second. In memory: a shard that slept has
 * nothing to be protected from.
 */
import {
  CALL_BURST,
  CALLS_PER_SECOND,
  err,
  LakeSyncError,
  ok,
  RATED_USERS_MAX,
  type Result,
} from "../schemas/index.ts";

interface Bucket {
  tokens: number;
  filledMs: number;
}

export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>();

  /** @returns `RateLimited`, with when to come again, for a user who has used up what there was */
  take(user: string, nowMs: number): Result<void, LakeSyncError> {
    const bucket = this.#buckets.get(user) ?? { tokens: CALL_BURST, filledMs: nowMs };
    const refill = (Math.max(0, nowMs - bucket.filledMs) / 1000) * CALLS_PER_SECOND;
    const tokens = Math.min(CALL_BURST, bucket.tokens + refill);
    this.#buckets.delete(user); // a Map keeps the order of insertion: the first is who has been quiet longest
    this.#buckets.set(user, { tokens: Math.max(0, tokens - 1), filledMs: nowMs });
    if (this.#buckets.size > RATED_USERS_MAX) this.#buckets.delete(this.#buckets.keys().next().value as string);
    if (tokens >= 1) return ok(undefined);
    const message = `More than ${CALLS_PER_SECOND} calls a second; send larger batches, or wait a moment. Nothing was written.`;
    return err(new LakeSyncError("RateLimited", message, { retryAfterSeconds: 1 }));
  }
}

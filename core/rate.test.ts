import { expect, test } from "vitest";
import { CALL_BURST, CALLS_PER_SECOND, RATED_USERS_MAX } from "../schemas/index.ts";
import { RateLimiter } from "./rate.ts";

const taken = (limiter: RateLimiter, user: string, nowMs: number, calls: number): number =>
  Array.from({ length: calls }, () => limiter.take(user, nowMs)).filter((r) => r.ok).length;

test("[S4] a user has a burst, then a rate; others are not held up", () => {
  const limiter = new RateLimiter();
  expect(taken(limiter, "alice", 1000, CALL_BURST + 50)).toBe(CALL_BURST);
  expect(taken(limiter, "bob", 1000, 1)).toBe(1);
  expect(taken(limiter, "alice", 1500, CALL_BURST)).toBe(CALLS_PER_SECOND / 2);
  expect(taken(limiter, "alice", 60_000, CALL_BURST * 2)).toBe(CALL_BURST);
});

test("[S4] the refusal is a RateLimited that says when to come again; a clock that steps back gives nothing", () => {
  const limiter = new RateLimiter();
  taken(limiter, "alice", 5000, CALL_BURST);
  const refused = limiter.take("alice", 1000);
  expect(refused).toMatchObject({
    ok: false,
    error: { code: "RateLimited", status: 429, details: { retryAfterSeconds: 1 } },
  });
});

test("[S4] what is remembered of users is bounded", () => {
  const limiter = new RateLimiter();
  taken(limiter, "alice", 0, CALL_BURST);
  for (let n = 0; n < RATED_USERS_MAX; n++) limiter.take(`user-${n}`, 0);
  expect(limiter.take("alice", 0).ok).toBe(true); // forgotten, at the price of one more burst
});

/** The clock against walls that stop, jump and step back. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { CLOCK_DRIFT_MS_MAX, type HlcText, hlcMillis, packHlc } from "../schemas/index.ts";
import { HLC, HybridClock } from "./hlc.ts";

const RUNS = { numRuns: 10_000 };
/** Walls are near each other, so that they stand still and step back often. */
const wall = fc.oneof(fc.nat(5), fc.nat(200_000), fc.double({ min: 0, max: 9, noNaN: true }));
const step = fc.oneof(
  fc.record({ kind: fc.constant("tick" as const), wall }),
  fc.record({ kind: fc.constant("receive" as const), wall, remote: fc.tuple(fc.nat(300_000), fc.nat(0xffff)) }),
  fc.record({ kind: fc.constant("restart" as const), wall }),
);

test("[H1] [H2] stamps strictly increase and pass every stamp received, whatever the wall does, across restarts", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      let now = 0;
      let clock = new HybridClock({ now: () => now });
      let past = "" as HlcText; // the greatest stamp given or received
      for (const s of steps) {
        now = s.wall;
        if (s.kind === "restart") clock = new HybridClock({ now: () => now }, clock.last);
        else if (s.kind === "tick") {
          const stamp = clock.tick();
          expect(stamp > past).toBe(true);
          expect(hlcMillis(stamp)).toBeGreaterThanOrEqual(Math.floor(now));
          past = stamp;
        } else {
          const remote = packHlc(...s.remote);
          const before = clock.last;
          const result = clock.receive(remote);
          expect(result.ok).toBe(s.remote[0] - now <= CLOCK_DRIFT_MS_MAX);
          if (!result.ok) {
            expect(result.error).toMatchObject({ code: "ClockDrift", retryable: true });
            expect(clock.last).toBe(before);
          } else if (remote > past) past = remote;
        }
      }
      expect(clock.tick() > past).toBe(true);
    }),
    RUNS,
  );
});

test("[H1] 65,536 events in a millisecond and more borrow the next one", () => {
  const clock = new HybridClock({ now: () => 7 });
  let last = "";
  for (let n = 0; n < 70_000; n++) {
    const stamp = clock.tick();
    if (stamp <= last) expect.fail(`${stamp} after ${last}`);
    last = stamp;
  }
  expect(last).toBe(packHlc(8, 70_000 - 65_536 - 1));
});

test("[H2] exactly 60 s ahead is taken, a millisecond more is not", () => {
  const clock = new HybridClock({ now: () => 1000 });
  expect(clock.receive(packHlc(1000 + CLOCK_DRIFT_MS_MAX + 1, 0)).ok).toBe(false);
  expect(clock.tick()).toBe(packHlc(1000, 0));
  expect(clock.receive(packHlc(1000 + CLOCK_DRIFT_MS_MAX, 0xffff)).ok).toBe(true);
  expect(clock.tick()).toBe(packHlc(1001 + CLOCK_DRIFT_MS_MAX, 0));
});

test("an HLC is its parts, as a number and as text", () => {
  const hlc = HLC.of(2 ** 48 - 1, 3);
  expect([HLC.millis(hlc), HLC.counter(hlc), HLC.toText(hlc), HLC.fromText(HLC.toText(hlc))]).toEqual([
    2 ** 48 - 1,
    3,
    "ffffffffffff0003",
    hlc,
  ]);
  expect(() => HLC.toText((2n ** 64n) as HLC)).toThrow("not a 64-bit HLC");
});

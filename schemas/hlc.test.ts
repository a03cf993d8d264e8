/** 64 bits as text: the same numbers, in the same order. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  HLC_COUNTER_MAX,
  HLC_MILLIS_MAX,
  type HlcText,
  hlcCounter,
  hlcFromBigInt,
  hlcMillis,
  hlcToBigInt,
  isHlcText,
  makeStamp,
  packHlc,
  stampClient,
  stampHlc,
} from "./hlc.ts";
import { type ClientId, isClientId, isGatewayId, isIdentifier, isRowId } from "./ids.ts";

const RUNS = { numRuns: 10_000 };
const bits = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 70_000n }));
const client = fc.constantFrom("a", "b", "a-", "a0", "B", "_").map((c) => c as ClientId);

test("a clock's text, number and parts are one and the same, in one order", () => {
  fc.assert(
    fc.property(bits, bits, (a, b) => {
      const [x, y] = [hlcFromBigInt(a) as HlcText, hlcFromBigInt(b) as HlcText];
      expect(isHlcText(x)).toBe(true);
      expect(hlcToBigInt(x)).toBe(a);
      expect(packHlc(hlcMillis(x), hlcCounter(x))).toBe(x);
      expect(BigInt(hlcMillis(x)) * 65536n + BigInt(hlcCounter(x))).toBe(a);
      expect(x < y).toBe(a < b);
    }),
    RUNS,
  );
  expect(packHlc(HLC_MILLIS_MAX, HLC_COUNTER_MAX)).toBe("ffffffffffffffff");
  expect([hlcFromBigInt(-1n), hlcFromBigInt(2n ** 64n)]).toEqual([undefined, undefined]);
});

test("[M2] stamps compare as (hlc, clientId)", () => {
  fc.assert(
    fc.property(fc.nat(3), fc.nat(3), client, client, (m, n, c, d) => {
      const [x, y] = [packHlc(m, 0), packHlc(n, 0)];
      const stamp = makeStamp(x, c);
      expect([stampHlc(stamp), stampClient(stamp)]).toEqual([x, c]);
      expect(stamp < makeStamp(y, d)).toBe(x < y || (x === y && c < d));
    }),
    RUNS,
  );
});

test("[S3] ids are what one pattern says", () => {
  for (const good of ["a", "Z9_", `x${"y".repeat(62)}`, "constructor"]) expect(isIdentifier(good)).toBe(true);
  for (const bad of [
    "",
    "9a",
    "a-b",
    "a b",
    'a"',
    "é",
    "a\n",
    `x${"y".repeat(63)}`,
    "lakesync_x",
    "LAKESYNC_x",
    "a__changes",
    "__proto__",
  ])
    expect(isIdentifier(bad)).toBe(false);
  for (const bad of ["", "A", "-a", "a-", "a\n", "a".repeat(64), "a/b", "a.b"]) expect(isGatewayId(bad)).toBe(false);
  for (const bad of ["", "a b", "a\n", "é", "a".repeat(65), "a,b"]) expect(isClientId(bad)).toBe(false);
  for (const good of ["1", "a/b", "é\u{1f600}", "x".repeat(512), "é".repeat(256), "'; DROP TABLE rows; --"])
    expect(isRowId(good)).toBe(true);
  for (const bad of ["", "a\u0000", "a\n", "\u0085", "\ud800", "x".repeat(513), "é".repeat(257), 5, null])
    expect(isRowId(bad)).toBe(false);
});

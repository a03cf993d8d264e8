import fc from "fast-check";
import { expect, test } from "vitest";
import { compareCodePoints } from "../../schemas/index.ts";
import { compareBytes } from "../parquet/index.ts";
import { BOUND_CHARS, cutLower, cutUpper, decodeLong, encodeBound } from "./bounds.ts";

const text = fc.string({
  unit: fc.constantFrom("a", "\u007F", "é", "\uD7FF", "\uFFFF", "\u{1F600}", "\u{10FFFF}"),
  maxLength: 40,
});

test("[L1] bounds of strings hold the value, have at most 16 code points, and are well-formed", () => {
  fc.assert(
    fc.property(text, (value) => {
      const [lower, upper] = [cutLower(value) as string, cutUpper(value) as string | undefined];
      expect(compareCodePoints(lower, value)).toBeLessThanOrEqual(0);
      expect([...lower].length).toBeLessThanOrEqual(BOUND_CHARS);
      if (upper === undefined) return expect([...value].slice(0, 16).join("")).toMatch(/^\u{10FFFF}{16}$/u);
      expect(compareCodePoints(upper, value)).toBeGreaterThanOrEqual(0);
      expect([...upper].length).toBeLessThanOrEqual(BOUND_CHARS);
      expect(upper.isWellFormed()).toBe(true);
    }),
    { numRuns: 2000 },
  );
  expect(cutUpper("a".repeat(17))).toBe(`${"a".repeat(15)}b`);
  expect(cutUpper(`${"a".repeat(15)}\u{10FFFF}x`)).toBe(`${"a".repeat(14)}b`);
  expect(cutUpper(`${"a".repeat(15)}\uD7FFx`)).toBe(`${"a".repeat(15)}\uE000`);
  expect(cutUpper("\u{10FFFF}".repeat(17))).toBeUndefined();
  expect(cutUpper("short")).toBe("short");
});

test("[L1] bounds of bytes hold the value", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 24 }), (value) => {
      expect(compareBytes(cutLower(value) as Uint8Array, value)).toBeLessThanOrEqual(0);
      const upper = cutUpper(value) as Uint8Array | undefined;
      if (upper) expect(compareBytes(upper, value)).toBeGreaterThanOrEqual(0);
    }),
  );
  expect(cutUpper(new Uint8Array(17).fill(255))).toBeUndefined();
  expect(cutUpper(new Uint8Array([...new Uint8Array(15), 7, 1]))).toEqual(new Uint8Array([...new Uint8Array(15), 8]));
});

test("[L1] values are serialised as appendix D has them", () => {
  expect(encodeBound("boolean", true)).toEqual(new Uint8Array([1]));
  expect(encodeBound("long", -2n)).toEqual(new Uint8Array([254, 255, 255, 255, 255, 255, 255, 255]));
  expect(encodeBound("timestamptz", 1n)).toEqual(new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]));
  expect(encodeBound("double", 1)).toEqual(new Uint8Array([0, 0, 0, 0, 0, 0, 0xf0, 0x3f]));
  expect(encodeBound("string", "é")).toEqual(new Uint8Array([0xc3, 0xa9]));
  expect(decodeLong(encodeBound("long", -(2n ** 63n)))).toBe(-(2n ** 63n));
  expect(decodeLong(new Uint8Array([255, 255, 255, 255]))).toBe(-1n);
});

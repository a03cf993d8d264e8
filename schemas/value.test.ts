/** One canonical form for each value, whatever a person hands in. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { CELL_BYTES_MAX } from "./limits.ts";
import {
  base64ToBytes,
  bytesToBase64,
  COLUMN_TYPES,
  type ColumnType,
  checkScalar,
  compareCodePoints,
  compareScalars,
  isScalar,
  parseValue,
  type Scalar,
  scalarToJson,
  scalarToNative,
  timestampToIso,
} from "./value.ts";

const RUNS = { numRuns: 10_000 };
const parsed = (type: ColumnType, input: unknown): Scalar | undefined => {
  const result = parseValue(type, input);
  return result.ok ? result.value : undefined;
};

const text = fc.string({ unit: "binary", maxLength: 12 });
const loneSurrogates = fc.array(fc.nat(0xffff), { maxLength: 4 }).map((units) => String.fromCharCode(...units));
const anything = fc.oneof(
  fc.anything({ withBigInt: true, withDate: true, withTypedArray: true, maxDepth: 2 }),
  fc.constantFrom<unknown>(-0, 2 ** 53, -(2 ** 53), 2n ** 63n, -(2n ** 63n), 1e308, "9007199254740992", "-0", "007"),
  text,
  loneSurrogates,
  fc.bigInt({ min: -(2n ** 65n), max: 2n ** 65n }),
  fc.date({ noInvalidDate: false }),
  fc.jsonValue(),
  fc.uint8Array({ maxLength: 8 }),
);
const type = fc.constantFrom(...COLUMN_TYPES);

test("[M5] what is taken of any value is in canonical form, NULL is NULL, and nothing throws", () => {
  fc.assert(
    fc.property(type, anything, (type, input) => {
      const value = parsed(type, input);
      if (value === undefined) return;
      expect(isScalar(type, value)).toBe(true);
      expect(value === null).toBe(input === null);
      expect(parsed(type, JSON.parse(JSON.stringify(scalarToJson(type, value))))).toBe(value);
      expect(checkScalar(type, JSON.parse(JSON.stringify(value)))).toEqual({ ok: true, value });
    }),
    RUNS,
  );
});

test("a value in canonical form has no other: its native form comes back to it", () => {
  const scalar = fc.oneof(
    text,
    loneSurrogates,
    fc.double(),
    fc.maxSafeInteger(),
    fc.boolean(),
    fc.json(),
    fc.base64String(),
  );
  fc.assert(
    fc.property(type, scalar, (type, input) => {
      if (!isScalar(type, input)) return;
      if (type === "timestamp") expect(parsed(type, timestampToIso(input as number))).toBe(input);
      else
        expect(
          parsed(type, type === "json" ? { json: JSON.parse(input as string) } : scalarToNative(type, input)),
        ).toBe(input);
    }),
    RUNS,
  );
});

test.each<[ColumnType, unknown, Scalar | undefined]>([
  ["integer", 2 ** 53 - 1, 9007199254740991],
  ["integer", 2 ** 53, undefined],
  ["integer", 2n ** 53n, "9007199254740992"],
  ["integer", "9007199254740993", "9007199254740993"],
  ["integer", { integer: "-9223372036854775808" }, "-9223372036854775808"],
  ["integer", 2n ** 63n - 1n, "9223372036854775807"],
  ["integer", 2n ** 63n, undefined],
  ["integer", -(2n ** 63n) - 1n, undefined],
  ["integer", "12", 12],
  ["integer", "-0", 0],
  ["integer", -0, 0],
  ["integer", "012", undefined],
  ["integer", 1.5, undefined],
  ["number", -0, 0],
  ["number", Number.MIN_VALUE, 5e-324],
  ["number", Number.NaN, undefined],
  ["number", Number.POSITIVE_INFINITY, undefined],
  ["number", "1", undefined],
  ["boolean", 1, undefined],
  ["string", "a\u0000b", "a\u0000b"],
  ["string", "\ud800", undefined],
  ["string", 5, undefined],
  ["timestamp", "2024-02-29T00:00:00Z", 1709164800000000],
  ["timestamp", "2023-02-29T00:00:00Z", undefined],
  ["timestamp", "2024-02-30", undefined],
  ["timestamp", "2026-01-31T08:00:00.123456Z", 1769846400123456],
  ["timestamp", "2026-01-31T08:00:00,5+01:00", 1769842800500000],
  ["timestamp", "2026-01-31T08:00:00-0530", 1769866200000000],
  ["timestamp", "1969-12-31T23:59:59.999999Z", -1],
  ["timestamp", "0001-01-01T00:00:00Z", "-62135596800000000"],
  ["timestamp", "9999-12-31T23:59:59.999999Z", "253402300799999999"],
  ["timestamp", "0000-12-31T23:59:59Z", undefined],
  ["timestamp", "9999-12-31T23:59:59-01:00", undefined],
  ["timestamp", "2026-01-31T08:00:00", undefined],
  ["timestamp", "2026-01-31T08:00:60Z", undefined],
  ["timestamp", "2026-01-31T08:00:00+99:99", undefined],
  ["timestamp", "2026-01-31T08:00:00+24:00", undefined],
  ["timestamp", "2026-13-01T08:00:00Z", undefined],
  ["timestamp", new Date(Number.NaN), undefined],
  ["timestamp", 1709164800000000, undefined],
  ["json", { json: null }, "null"],
  ["json", { b: 1, a: [undefined] }, '{"b":1,"a":[null]}'],
  ["json", "x", '"x"'],
  ["json", undefined, undefined],
  ["bytes", new Uint8Array([255]), "/w=="],
  ["bytes", { bytes: "/w==" }, "/w=="],
  ["bytes", "/x==", undefined], // decodes to the same byte: not the canonical form
  ["bytes", "//9=", undefined],
  ["bytes", "/w", undefined],
  ["bytes", "", ""],
])("%s from %o", (type, input, expected) => {
  expect(parsed(type, input)).toBe(expected);
  if (typeof input === "string" && type === "bytes") expect(isScalar(type, input)).toBe(expected !== undefined);
});

test("a value that cannot be described is refused, not thrown", () => {
  const loop: Record<string, unknown> = {};
  loop.self = loop;
  for (const type of COLUMN_TYPES)
    expect(parseValue(type, loop)).toMatchObject({ ok: false, error: { code: "WrongType" } });
  expect(parseValue("string", { big: 1n })).toMatchObject({ ok: false, error: { code: "WrongType" } });
  expect(parseValue("integer", Object.create(null))).toMatchObject({ ok: false });
});

test("[S4] a cell is bounded in bytes of UTF-8", () => {
  expect(parseValue("string", "é".repeat(CELL_BYTES_MAX / 2)).ok).toBe(true);
  expect(parseValue("string", "é".repeat(CELL_BYTES_MAX / 2 + 1))).toMatchObject({ error: { code: "CellTooLarge" } });
  expect(checkScalar("string", "x".repeat(CELL_BYTES_MAX + 1))).toMatchObject({ error: { code: "CellTooLarge" } });
});

test("a timestamp's Date is its millisecond, also where microseconds are beyond 2^53", () => {
  for (const iso of ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00.000999Z", "1969-12-31T23:59:59.999999Z"])
    expect(scalarToNative("timestamp", parsed("timestamp", iso) as Scalar)).toEqual(new Date(`${iso.slice(0, 23)}Z`));
});

test("[PL3] strings are ordered by code point, as SQLite orders their UTF-8", () => {
  fc.assert(
    fc.property(text, text, (a, b) => {
      const bytes = Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect(Math.sign(compareCodePoints(a, b))).toBe(bytes);
    }),
    RUNS,
  );
});

test("[PL3] whole numbers and timestamps are ordered as numbers, also beyond 2^53", () => {
  const near = fc.oneof(
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.bigInt({ min: 2n ** 53n - 3n, max: 2n ** 53n + 3n }),
  );
  fc.assert(
    fc.property(near, near, (a, b) => {
      const [x, y] = [parsed("integer", a), parsed("integer", b)] as [number, number];
      expect(Math.sign(compareScalars("integer", x, y))).toBe(a < b ? -1 : a > b ? 1 : 0);
    }),
    RUNS,
  );
});

test("base64 goes there and back", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      expect(bytesToBase64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
      expect(base64ToBytes(bytesToBase64(bytes))).toEqual(bytes);
    }),
    RUNS,
  );
});

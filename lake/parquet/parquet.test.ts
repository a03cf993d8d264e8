import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import type { LakeAdapter } from "../../core/index.ts";
import { ok, type Scalar } from "../../schemas/index.ts";
import { initParquetInNode } from "../node.ts";
import { type LakeType, openParquet, type ParquetColumn, writeParquet } from "./index.ts";

beforeAll(initParquetInNode);

/** A store of one object that counts the bytes asked of it. */
function oneObject(bytes: Uint8Array): LakeAdapter & { fetched: number } {
  const store = {
    fetched: 0,
    async get(_key: string, range?: { offset: number; length?: number }) {
      const part = range ? bytes.slice(range.offset, range.offset + (range.length ?? bytes.length)) : bytes;
      store.fetched += part.length;
      return ok(part);
    },
  };
  return store as unknown as LakeAdapter & { fetched: number };
}

const EXTREMES: Record<LakeType, Scalar[]> = {
  string: ["", "\uFEFFa", "ß", "\u{10FFFF}", "\uFFFF", "𝄞 clef", "x".repeat(100_000), null],
  long: [0, -1, 2 ** 53 - 1, -(2 ** 53 - 1), "9223372036854775807", "-9223372036854775808", 4_294_967_296, null],
  double: [0, -1.5, Number.MAX_VALUE, Number.MIN_VALUE, -Number.MAX_VALUE, 0.1, 2 ** 53, null],
  boolean: [true, false, true, true, false, true, false, null],
  timestamptz: [0, -1, 1_795_000_000_123_457, "253402300799999999", "-62135596800000000", -999, 1, null],
  binary: ["", "AA==", "/////w==", "AAECAw==", "gA==", "fw==", "AP8=", null],
};
const TYPES = Object.keys(EXTREMES) as LakeType[];

const extremeColumns = (): ParquetColumn[] =>
  TYPES.map((type, at) => ({ name: `c_${type}`, fieldId: at + 1, type, required: false, values: EXTREMES[type] }));

test("[L1] every type comes back from Parquet as it went in, at its extremes and as null", async () => {
  const { bytes } = writeParquet({ columns: extremeColumns(), rows: 8 });
  const reader = await openParquet(oneObject(bytes), "a.parquet", bytes.length);
  const read = await reader.readAll(TYPES.map((type, at) => ({ fieldId: at + 1, type })));
  TYPES.forEach((type, at) => {
    expect(read[at], type).toEqual(EXTREMES[type]);
  });
});

test("[L1] metrics name the least and the greatest of each column, strings by code point", () => {
  const { metrics, bytes } = writeParquet({ columns: extremeColumns(), rows: 8 });
  const of = (type: LakeType) => metrics.columns[TYPES.indexOf(type)];
  for (const type of TYPES) expect(of(type)).toMatchObject({ values: 8, nulls: 1 });
  expect(of("string")).toMatchObject({ lower: "", upper: "\u{10FFFF}" });
  expect(of("long")).toMatchObject({ lower: -(2n ** 63n), upper: 2n ** 63n - 1n });
  expect(of("double")).toMatchObject({ lower: -Number.MAX_VALUE, upper: Number.MAX_VALUE, nans: 0 });
  expect(of("boolean")).toMatchObject({ lower: false, upper: true });
  expect(of("binary")).toMatchObject({ lower: new Uint8Array(0), upper: new Uint8Array([255, 255, 255, 255]) });
  expect(metrics.splitOffsets).toEqual([4]);
  const columnBytes = metrics.columns.reduce((sum, column) => sum + column.bytes, 0);
  expect(columnBytes).toBeGreaterThan(0);
  expect(columnBytes).toBeLessThan(bytes.length);
});

test("[L1] any longs survive, in any order of rows", async () => {
  const longs = fc.array(fc.option(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })), {
    minLength: 1,
    maxLength: 60,
  });
  await fc.assert(
    fc.asyncProperty(longs, fc.boolean(), async (bigs, reversed) => {
      const values = bigs.map((big) =>
        big === null ? null : Number.isSafeInteger(Number(big)) ? Number(big) : big.toString(),
      );
      const order = Uint32Array.from(values.keys());
      if (reversed) order.reverse();
      const columns: ParquetColumn[] = [{ name: "n", fieldId: 9, type: "long", required: false, values }];
      const { bytes, metrics } = writeParquet({ columns, rows: values.length, order });
      const reader = await openParquet(oneObject(bytes), "a", bytes.length);
      const [read] = await reader.readAll([{ fieldId: 9, type: "long" }]);
      expect(read).toEqual(reversed ? values.toReversed() : values);
      const real = bigs.filter((big) => big !== null).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
      expect(metrics.columns[0]?.lower).toBe(real[0]);
      expect(metrics.columns[0]?.upper).toBe(real.at(-1));
    }),
    { numRuns: 200 },
  );
});

test("[L4] columns are found by field id, and one that the file does not have is null", async () => {
  const columns: ParquetColumn[] = [
    { name: "old_name", fieldId: 7, type: "string", required: true, values: ["a", "b"] },
  ];
  const { bytes } = writeParquet({ columns, rows: 2 });
  const reader = await openParquet(oneObject(bytes), "a", bytes.length);
  const read = await reader.readAll([
    { fieldId: 8, type: "long" },
    { fieldId: 7, type: "string" },
  ]);
  expect(read).toEqual([
    [null, null],
    ["a", "b"],
  ]);
});

test("reading one column of a large file fetches little of it", async () => {
  const rows = 25_000;
  const noise = Array.from({ length: rows }, (_, i) => `${Math.sin(i)}${Math.cos(i)}${Math.tan(i)}`);
  const columns: ParquetColumn[] = [
    { name: "id", fieldId: 1, type: "string", required: true, values: noise.map((_, i) => `row-${i}`) },
    { name: "noise", fieldId: 2, type: "string", required: true, values: noise },
  ];
  const { bytes } = writeParquet({ columns, rows });
  const store = oneObject(bytes);
  const reader = await openParquet(store, "a", bytes.length);
  const [ids] = await reader.readAll([{ fieldId: 1, type: "string" }]);
  expect(ids?.[24_999]).toBe("row-24999");
  expect(store.fetched).toBeLessThan(bytes.length / 3);
});

test("bytes that are no Parquet are told apart", async () => {
  await expect(openParquet(oneObject(new Uint8Array(100)), "junk", 100)).rejects.toMatchObject({ code: "Corrupt" });
});

import { beforeAll, expect, test } from "vitest";
import { compareCodePoints, type Scalar } from "../../schemas/index.ts";
import { initParquetInNode } from "../node.ts";
import { MemoryStore } from "../store/index.ts";
import { joinMetrics, openParquet, type ParquetColumn, ParquetStitcher, writeParquet } from "./index.ts";
import { decodeThrift, encodeThrift } from "./thrift.ts";

beforeAll(initParquetInNode);

const FIELDS = [
  { name: "_id", fieldId: 1, type: "string", required: true },
  { name: "big", fieldId: 17, type: "long", required: false },
  { name: "real", fieldId: 18, type: "double", required: false },
  { name: "yes", fieldId: 19, type: "boolean", required: false },
  { name: "raw", fieldId: 20, type: "binary", required: false },
] as const;

/** The third part has nothing but nulls in what may be null. */
function columnsOf(part: number, rows: number): ParquetColumn[] {
  const ids = Array.from({ length: rows }, (_, at) => `${part}-\u{1F600}${at}`);
  const empty = part === 2;
  const values: Record<string, Scalar[]> = {
    _id: ids.sort(compareCodePoints),
    big: ids.map((_, at) => (empty || at % 3 === 0 ? null : at % 2 ? "9223372036854775807" : at - 5)),
    real: ids.map((_, at) => (empty ? null : at % 7 === 0 ? Number.NaN : at / 7 - part)),
    yes: ids.map((_, at) => (empty ? null : at % 2 === 0)),
    raw: ids.map(() => (empty ? null : part === 0 ? "AP8=" : "Aw==")),
  };
  return FIELDS.map((field) => ({ ...field, values: values[field.name] as Scalar[] }));
}

test("[L3] [L1] a file stitched from parts reads like its parts, group by group and column by column", async () => {
  const sizes = [1000, 1, 300, 20];
  const parts = sizes.map((rows, part) => writeParquet({ columns: columnsOf(part, rows), rows }));
  const stitcher = new ParquetStitcher();
  const pieces = parts.map(({ bytes }) => stitcher.add(bytes).slice());
  const before = stitcher.bytes;
  const bytes = new Uint8Array(Buffer.concat([...pieces, stitcher.finish()]));
  expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBe(before);

  const store = new MemoryStore({ clock: { now: () => 0 } });
  await store.put("f", bytes);
  const reader = await openParquet(store, "f", bytes.length);
  expect(reader.rows).toBe(1321);
  expect(reader.rowGroups).toEqual([
    { start: 0, rows: 1000 },
    { start: 1000, rows: 1 },
    { start: 1001, rows: 300 },
    { start: 1301, rows: 20 },
  ]);
  for (const [part, rows] of sizes.entries()) {
    const wanted = columnsOf(part, rows).map((column) => column.values);
    expect(await reader.readGroup(part, FIELDS)).toEqual(wanted);
    expect(await reader.readGroup(part, [FIELDS[4]])).toEqual([wanted[4]]);
  }
});

test("[L3] metrics of a stitched file are those of its parts together", () => {
  const all = [0, 1, 2].map((part) => writeParquet({ columns: columnsOf(part, 50), rows: 50 }).metrics);
  const joined = all.slice(1).reduce((a, b) => ({ ...joinMetrics(a, b), splitOffsets: [] }), all[0] as (typeof all)[0]);
  const whole = FIELDS.map((field, at) => ({
    ...field,
    values: [0, 1, 2].flatMap((part) => (columnsOf(part, 50)[at] as ParquetColumn).values as Scalar[]),
  }));
  const { columns } = writeParquet({ columns: whole, rows: 150 }).metrics;
  const withoutBytes = (of: typeof columns) => of.map(({ bytes: _, ...rest }) => rest);
  expect(withoutBytes(joined.columns)).toEqual(withoutBytes(columns));
  expect(joined.rows).toBe(150);
});

test("a Thrift tree of every type survives the way there and back", () => {
  const list = (type: number, items: unknown[]) => ({ type: 9, value: { type, items } });
  const tree = new Map<number, unknown>([
    [1, { type: 1, value: true }],
    [2, { type: 2, value: false }],
    [3, { type: 3, value: 200n }],
    [4, { type: 4, value: -300n }],
    [40, { type: 6, value: -(2n ** 63n) }],
    [41, { type: 6, value: 2n ** 63n - 1n }],
    [42, { type: 7, value: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]) }],
    [43, { type: 8, value: new Uint8Array(300) }],
    [44, list(1, [true, false])],
    [
      45,
      list(
        5,
        Array.from({ length: 40 }, (_, at) => BigInt(at - 20)),
      ),
    ],
    [46, list(12, [new Map([[7, { type: 8, value: new Uint8Array(0) }]]), new Map()])],
  ]);
  expect(decodeThrift(encodeThrift(tree as never))).toEqual(tree);
  expect(() => decodeThrift(encodeThrift(tree as never).subarray(0, 40))).toThrow(/ends too early/);
  expect(() => decodeThrift(new Uint8Array([0x1e, 0]))).toThrow(/type 14/);
});

import { expect, test } from "vitest";
import type { LakeField, LiveEntry } from "../lake/index.ts";
import { predicatesOf, rulesOut } from "./prune.ts";

const field = (fieldId: number, name: string, type: LakeField["type"]): LakeField => ({
  fieldId,
  name,
  type,
  required: false,
});
const FIELDS = [
  field(1, "text", "string"),
  field(2, "whole", "long"),
  field(3, "real", "double"),
  field(4, "made", "timestamptz"),
];

const utf8 = (text: string) => new TextEncoder().encode(text);
function eight(set: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(8);
  set(new DataView(bytes.buffer));
  return bytes;
}
const long = (n: bigint) => eight((view) => view.setBigInt64(0, n, true));
const double = (n: number) => eight((view) => view.setFloat64(0, n, true));
const micros = (iso: string) => long(BigInt(Date.parse(iso)) * 1000n);

/** text b..dog, whole 10..20, real -1..2, made on two days in January. */
const entry = (nans: number | null = 0) =>
  ({
    data_file: {
      lower_bounds: new Map([
        [1, utf8("b")],
        [2, long(10n)],
        [3, double(-1)],
        [4, micros("2026-01-01T00:00:00Z")],
      ]),
      upper_bounds: new Map([
        [1, utf8("dog")],
        [2, long(20n)],
        [3, double(2)],
        [4, micros("2026-01-02T00:00:00Z")],
      ]),
      ...(nans !== null && { nan_value_counts: new Map([[3, nans]]) }),
    },
  }) as unknown as LiveEntry;

const out = (filter: string, of = entry()) => rulesOut(of, FIELDS, predicatesOf([filter]));

test.each([
  "text='a'",
  "text='dogs'",
  "text>'dog'",
  "text<'b'",
  "text>='e' AND text<'f'",
  "whole>20",
  "whole>=21",
  "whole<10",
  "whole<=9",
  "whole=9",
  "whole=-5",
  "real>2.5",
  "real<-1.0",
  "real>1e3",
  "made>='2026-01-02 00:00:00.000001'::TIMESTAMP",
  "made<'2026-01-01'::TIMESTAMP",
  "optional: whole IN (9)",
  "(whole IS NOT NULL) AND whole>99",
])("a file is left out by %s", (filter) => {
  expect(out(filter)).toBe(true);
});

test.each([
  "text='b'",
  "text='c'",
  "text='dog'",
  "text>='dog'",
  "text<='b'",
  "text='c''s AND whole>99'",
  "whole>19",
  "whole>=20",
  "whole<11",
  "whole<=10",
  "whole=10",
  "whole!=15",
  "whole IN (1, 15)",
  "optional: whole>99 OR text='c'",
  "whole>99 OR text='c'",
  "whole>99.5",
  "(whole IS NULL)",
  "(whole + 1)>99",
  "other=1",
  "real>=2.0",
  "made>='2026-01-02 00:00:00'::TIMESTAMP",
  "made>='infinity'::TIMESTAMP",
  "text",
])("a file stays with %s", (filter) => {
  expect(out(filter)).toBe(false);
});

test("NaN, which is in no bounds, is greater than every number to DuckDB", () => {
  for (const nans of [1, null]) {
    expect(out("real>99.0", entry(nans))).toBe(false);
    expect(out("real>=99.0", entry(nans))).toBe(false);
    expect(out("real<-99.0", entry(nans))).toBe(true);
  }
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { type HlcText, packHlc, type Scalar, type Stamp } from "../schemas/index.ts";
import { contentDigest, rowDigest, TableDigest } from "./digest.ts";
import { applyEdit, emptyRow, type RowState } from "./merge.ts";

const NOW = 1_800_000_000_000;
const stampArb = fc
  .record({ ms: fc.nat(1000), counter: fc.nat(3), client: fc.constantFrom("a", "b", "device-1") })
  .map(({ ms, counter, client }) => (packHlc(NOW + ms, counter) + client) as Stamp);
const valueArb: fc.Arbitrary<Scalar> = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.string(),
);
const editArb = fc.record({
  letter: fc.constantFrom("I" as const, "I" as const, "U" as const, "D" as const),
  stamp: stampArb,
  cells: fc.dictionary(fc.constantFrom("title", "done", "at", "x"), valueArb),
});
const rowArb = fc
  .record({ id: fc.string({ minLength: 1 }), edits: fc.array(editArb, { minLength: 1, maxLength: 6 }) })
  .map(({ id, edits }) => {
    const row = emptyRow();
    edits.forEach(
      ({ letter, stamp, cells }, at) => void applyEdit(row, letter, stamp, letter === "D" ? {} : cells, at + 1),
    );
    return { id, row, edits };
  });
const same = (column: string) => column;
const digestOf = (rows: readonly { id: string; row: RowState }[]): string => {
  const digest = new TableDigest();
  for (const { id, row } of rows) digest.add(rowDigest(id, row, same));
  return digest.toString();
};

test("[V1] rows in any order, added, removed and added again, have one digest; so have parts that are added up", () => {
  fc.assert(
    fc.property(fc.array(rowArb, { maxLength: 8 }), fc.nat(8), (rows, cut) => {
      const there = digestOf(rows);
      expect(digestOf([...rows].reverse())).toBe(there);
      const digest = new TableDigest();
      for (const { id, row } of [...rows, ...rows]) digest.add(rowDigest(id, row, same));
      for (const { id, row } of rows) digest.remove(rowDigest(id, row, same));
      expect(digest.toString()).toBe(there);
      const [left, right] = [
        TableDigest.parse(digestOf(rows.slice(0, cut))),
        TableDigest.parse(digestOf(rows.slice(cut))),
      ];
      left?.addTable(right as TableDigest);
      expect(String(left)).toBe(there);
    }),
  );
});

test("[V1] however the edits of a row were batched and ordered, its digest is the same", () => {
  fc.assert(
    fc.property(rowArb, ({ id, row, edits }) => {
      const other = emptyRow();
      for (const { letter, stamp, cells } of [...edits].reverse())
        applyEdit(other, letter, stamp, letter === "D" ? {} : cells, 0);
      expect(digestOf([{ id, row: other }])).toBe(digestOf([{ id, row }]));
    }),
  );
});

/** Every way to change one thing of a row: a bit of a character of a value or stamp, a column's name, the id. */
function* changes({ id, row }: { id: string; row: RowState }): Generator<{ id: string; row: RowState }> {
  const flip = (text: string, at: number, bit: number) =>
    text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << bit)) + text.slice(at + 1);
  for (let bit = 0; bit < 8; bit++) yield { id: flip(id, id.length - 1, bit), row };
  for (const [at, layer] of row.layers.entries()) {
    const withLayer = (change: Partial<typeof layer>) => {
      const layers = row.layers.map((each, k) => (k === at ? { ...each, ...change } : each));
      return { id, row: { ...row, layers } };
    };
    for (let bit = 0; bit < 4; bit++) yield withLayer({ stamp: flip(layer.stamp, 15, bit) as Stamp });
    const { columns, values } = layer;
    for (const [k, column] of columns.entries()) {
      const value = values[k];
      const withValue = (other: Scalar) => withLayer({ values: values.with(k, other) });
      yield withLayer({ columns: columns.toSpliced(k, 1), values: values.toSpliced(k, 1) });
      yield withLayer({ columns: columns.with(k, `${column}'`) });
      if (typeof value === "string" && value.length > 0)
        for (let bit = 0; bit < 16; bit++) yield withValue(flip(value, 0, bit));
      if (typeof value === "number") yield withValue(String(value));
      yield withValue(value === null ? "" : null);
    }
  }
  yield { id, row: { ...row, inserted: `${row.inserted}x` as Stamp } };
}

test("[V1] one changed bit of an id, a cell or a stamp changes the digest", () => {
  fc.assert(
    fc.property(rowArb, (one) => {
      const before = digestOf([one]);
      if (before.startsWith("0-")) return;
      for (const changed of changes(one)) expect(digestOf([changed])).not.toBe(before);
    }),
  );
});

test("[V1] what the lake knows of a row, values and newest clock, is the content of what the shard knows", () => {
  fc.assert(
    fc.property(rowArb, ({ id, row }) => {
      const digest = new TableDigest();
      digest.add(rowDigest(id, row, same));
      const lake = new TableDigest();
      if (digest.rows > 0) {
        const cells = row.layers.flatMap(({ columns, values }) =>
          columns.map((name, k) => [name, values[k] as Scalar] as const),
        );
        const newest = [row.inserted, ...row.layers.map((l) => l.stamp)].sort().at(-1) as string;
        lake.add(contentDigest(id, newest.slice(0, 16) as HlcText, [...cells, ["never written", null]]));
      }
      expect(lake.content).toBe(digest.content);
    }),
  );
});

test("[V1] digests of a hundred thousand rows that hardly differ are all different", () => {
  const seen = new Set<string>();
  for (let n = 0; n < 100_000; n++) {
    const row = emptyRow();
    applyEdit(row, "I", `${packHlc(NOW, n % 60_000)}c` as Stamp, { n: n % 2 }, 1);
    const digest = new TableDigest();
    digest.add(rowDigest(`row-${n}`, row, same));
    seen.add(digest.toString());
  }
  expect(seen.size).toBe(100_000);
});

test("a digest's text is read again; anything else is none", () => {
  const text = "12-00000001ffffffff-abcdef0123456789";
  expect(String(TableDigest.parse(text))).toBe(text);
  for (const bad of ["", "12", "12-1-2", "-1-0000000000000000-0000000000000000", `${text} `])
    expect(TableDigest.parse(bad)).toBeUndefined();
});

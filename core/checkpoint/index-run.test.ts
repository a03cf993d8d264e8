import fc from "fast-check";
import { expect, test } from "vitest";
import type { ColumnType, Operator, Scalar } from "../../schemas/index.ts";
import { selectorsOf, tableAccess } from "../sync-rules.ts";
import { INDEX_PARTS, IndexRun, idsIn, partsFor } from "./index-run.ts";

/** Values as rows keep them, of each type that has an index. */
const VALUES: Record<Exclude<ColumnType, "json">, fc.Arbitrary<Exclude<Scalar, null>>> = {
  string: fc.constantFrom("", "a", "ab", "b", "\u{1f600}", "\uffee", "é"),
  integer: fc.constantFrom<string | number>(-1, 0, 7, 2 ** 53 - 1, "9007199254740993", "-9007199254740993"),
  number: fc.constantFrom(-0.5, 0, 0.1, 1e300),
  boolean: fc.boolean(),
  timestamp: fc.constantFrom<string | number>(-1, 0, 1_700_000_000_000_000, "-62135596800000000"),
  bytes: fc.constantFrom("", "AQI=", "AQ=="),
};
const UNORDERED = new Set(["boolean", "bytes"]);

const caseArb = fc.constantFrom(...(Object.keys(VALUES) as (keyof typeof VALUES)[])).chain((type) => {
  const value = VALUES[type];
  const ops: Operator[] = ["eq", "neq", "in", ...(UNORDERED.has(type) ? [] : (["gt", "lt", "gte", "lte"] as const))];
  const filter = fc.constantFrom(...ops).chain((op) =>
    (op === "in" ? fc.array(value, { maxLength: 3 }) : value).map((given) => ({
      column: "c",
      op,
      value: type === "bytes" ? (given as string) : given,
    })),
  );
  return fc.record({
    type: fc.constant(type),
    rows: fc.array(value, { maxLength: 600 }),
    buckets: fc.array(fc.array(filter, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 2 }),
  });
});

test("[PL3] [PL7] an index names the rows that rules let a token see, whatever they compare", () => {
  fc.assert(
    fc.property(caseArb, ({ type, rows, buckets }) => {
      const table = {
        table: "t",
        version: 1,
        columns: [{ id: 1, name: "c", type, nullable: true }],
        lastColumnId: 1,
        shards: 0,
      };
      const rules = { buckets: buckets.map((filters, at) => ({ name: `b${at}`, tables: ["t"], filters })) };
      const claims = { sub: "u", role: "client" } as const;
      const { sees } = tableAccess(rules, table, claims);
      const selectors = selectorsOf(rules, table, claims);
      // Where nothing but differences is asked for, a scan is cheaper.
      expect(selectors === undefined).toBe(buckets.some((filters) => filters.every(({ op }) => op === "neq")));
      if (!selectors) return;
      const run = new IndexRun(type);
      rows.forEach((value, n) => {
        run.add(value, `r${n}`);
      });
      const parts = run.parts();
      expect(parts.length).toBeLessThanOrEqual(INDEX_PARTS);
      const wanted = partsFor(parts[0] as string, selectors);
      const found = new Set(wanted.flatMap((part) => idsIn(parts[part] as string, selectors)));
      const expected = rows.flatMap((value, n) => (sees(() => value) ? [`r${n}`] : []));
      expect([...found].sort()).toEqual(expected.sort());
    }),
    { numRuns: 1000 },
  );
});

test("[PL7] a look-up reads the parts that can hold what is asked for, also where one value has most rows", () => {
  const run = new IndexRun("integer");
  for (let n = 0; n < 100_000; n++) run.add(n % 2 === 0 ? 50_000 : n, `row-${n}`);
  const parts = run.parts();
  expect(parts.length).toBeGreaterThan(INDEX_PARTS - 10);
  const column = { id: 1, name: "c", type: "integer" as const, nullable: true };
  const partsOf = (from: number | undefined, to: number | undefined) => {
    const range = { ...(from !== undefined && { from }), ...(to !== undefined && { to }) };
    return partsFor(parts[0] as string, [{ column, ranges: [range], holds: () => true }]).length;
  };
  expect(partsOf(77, 77)).toBeLessThan(3);
  expect(partsOf(1000, 1200)).toBeLessThan(4);
  expect(partsOf(99_990, undefined)).toBeLessThan(3);
  expect(partsOf(50_000, 50_000)).toBeGreaterThan(INDEX_PARTS / 2 - 5);
  expect(partsOf(undefined, undefined)).toBe(parts.length - 1);
  expect(partsFor(parts[0] as string, [{ column, ranges: [], holds: () => true }])).toEqual([]);
});

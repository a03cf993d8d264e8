/** What a database leaves out of a source's pages by itself, against the judge of sync rules: 200 rows of a table `things`. */
import fc from "fast-check";
import { expect } from "vitest";
import { resolvedFilters, tableAccess } from "../../core/index.ts";
import {
  type Claims,
  type Filter,
  OPERATORS,
  type Operator,
  type Scalar,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import type { RowSource } from "../sql/source.ts";

const TABLE: TableSchema = {
  table: "things",
  version: 1,
  columns: [
    { id: 1, name: "word", type: "string", nullable: true },
    { id: 2, name: "count", type: "integer", nullable: true },
    { id: 3, name: "price", type: "number", nullable: true },
    { id: 4, name: "done", type: "boolean", nullable: true },
    { id: 5, name: "due", type: "timestamp", nullable: true },
  ],
  lastColumnId: 5,
  shards: 0,
};
const CLAIMS: Claims = { sub: "b", role: "client", words: ["a", "Z"] };
const VALUES: Record<string, readonly (string | number | boolean)[]> = {
  word: ["a", "B", "jwt:sub", "jwt:words", "jwt:none", "é", ""],
  count: [0, 2, "9007199254740993", "-1"],
  price: [0.1, 2, -1e300],
  done: [true, "false"],
  due: ["2026-01-01T00:00:00.000001Z", "1999-12-31T23:59:59Z"],
};

const filter: fc.Arbitrary<Filter> = fc.constantFrom(...TABLE.columns).chain(({ name, type }) => {
  const ordered: readonly Operator[] = ["gt", "lt", "gte", "lte"];
  const ops = OPERATORS.filter((op) => type !== "boolean" || !ordered.includes(op));
  return fc.record({
    column: fc.constant(name),
    op: fc.constantFrom(...ops),
    value: fc.constantFrom(...(VALUES[name] ?? [])),
  });
});

/** Rows that the rules show are there, and no others where the database compares as they do. @param schema that `things` is in */
export async function agreesWithRules(source: RowSource, schema: string): Promise<void> {
  const relation = { schema, table: "things", key: "id", columns: TABLE.columns };
  const all = unwrap(await source.page(relation, [[]], undefined, 1000));
  expect(all.rowIds).toHaveLength(200);
  const cells = new Map(all.rowIds.map((id, at) => [id, all.rows[at] as readonly Scalar[]]));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(filter, { maxLength: 3 }), { maxLength: 3 }), async (buckets) => {
      const rules = { buckets: buckets.map((filters, at) => ({ name: `${at}`, tables: ["things"], filters })) };
      const { sees } = tableAccess(rules, TABLE, CLAIMS);
      const wanted = all.rowIds.filter((id) => sees((column) => cells.get(id)?.[column - 1]));
      const page = unwrap(await source.page(relation, resolvedFilters(rules, TABLE, CLAIMS), undefined, 1000));
      const exact = buckets.flat().every(({ column, op }) => column !== "word" || op === "eq" || op === "in");
      if (exact) expect(page.rowIds).toEqual(wanted);
      else expect(page.rowIds).toEqual(expect.arrayContaining(wanted));
    }),
    { numRuns: 300 },
  );
}

/** Sync rules against a naive evaluator that compares values as people think of them, not in canonical form. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type Claims,
  type ColumnType,
  OPERATORS,
  type Operator,
  parseValue,
  type Scalar,
  type SyncRules,
  syncRulesSchema,
  unwrap,
} from "../schemas/index.ts";
import { accessFingerprint, claimAt, evaluate, tableAccess, validateSyncRules } from "./sync-rules.ts";
import { ADMIN, tableOf, user } from "./testing/shard-kit.ts";

/** Values as people write them, by type, and what they mean: something that `compare` orders. */
const SAMPLES: Record<ColumnType, readonly (readonly [literal: string | number | boolean, meaning: unknown])[]> = {
  string: ["", "a", "B", "10", "9", "2026-06-01", "\uffff", "\u{1f600}"].map((s) => [s, Buffer.from(s)] as const),
  integer: [
    ["-2", -2n],
    [3, 3n],
    ["10", 10n],
    ["9007199254740993", 9007199254740993n],
    ["9007199254740992", 9007199254740992n],
  ],
  number: [
    ["-1.5", -1.5],
    [0, 0],
    [3, 3],
    ["10", 10],
    [1e300, 1e300],
    ["1e-7", 1e-7],
  ],
  boolean: [
    [true, true],
    ["false", false],
  ],
  timestamp: [
    ["2026-01-15T00:00:00Z", 1n],
    ["2026-01-15T00:00:00.000001Z", 2n],
    ["2026-06-01T01:00:00+02:00", 3n],
    ["2026-05-31T23:30:00Z", 4n],
    ["9999-12-31T23:59:59.999999Z", 5n],
  ],
  json: [
    ['{"a":1}', "x"],
    ["[1,2]", "y"],
    ['"b"', "z"],
  ],
  bytes: [
    ["", "x"],
    ["AQ==", "y"],
    ["/w==", "z"],
  ],
};
const ORDERED: readonly ColumnType[] = ["string", "integer", "number", "timestamp"];
const TYPES = Object.keys(SAMPLES) as ColumnType[];
const TABLE = tableOf("rows", Object.fromEntries(TYPES.map((type) => [`c_${type}`, type])));

function compare(a: unknown, b: unknown): number {
  if (Buffer.isBuffer(a)) return Buffer.compare(a, b as Buffer);
  return (a as number) < (b as number) ? -1 : a === b ? 0 : 1;
}

interface PlannedFilter {
  readonly type: ColumnType;
  readonly op: Operator;
  /** Which samples it compares with; more than one for `in` only. */
  readonly picks: readonly number[];
  /** Written into the rule, into a claim, into a nested claim; "missing" names a claim that no token has. */
  readonly given: "literal" | "claim" | "nested" | "missing";
  readonly cell: number | null;
}
const sampleAt = (type: ColumnType, pick: number) =>
  SAMPLES[type][pick % SAMPLES[type].length] as (typeof SAMPLES)[ColumnType][number];

const planned: fc.Arbitrary<PlannedFilter> = fc
  .record({
    type: fc.constantFrom(...TYPES),
    op: fc.constantFrom(...OPERATORS),
    picks: fc.array(fc.nat(7), { minLength: 1, maxLength: 3 }),
    given: fc.constantFrom(
      "literal" as const,
      "literal" as const,
      "claim" as const,
      "nested" as const,
      "missing" as const,
    ),
    cell: fc.option(fc.nat(7), { freq: 6 }),
  })
  .filter(({ type, op }) => ORDERED.includes(type) || ["eq", "neq", "in"].includes(op))
  .map((f) => (f.op === "in" ? f : { ...f, picks: f.picks.slice(0, 1) }));

/** The plan as rule and claims; each filter has a claim of its own. */
function written(plan: readonly PlannedFilter[]) {
  const claims: Record<string, unknown> = { org: {} };
  const filters = plan.map(({ type, op, picks, given }, at) => {
    const literals = picks.map((p) => sampleAt(type, p)[0]);
    const value = op === "in" ? literals : (literals[0] as string);
    if (given === "claim") claims[`k${at}`] = value;
    if (given === "nested") (claims.org as Record<string, unknown>)[`k${at}`] = { id: value };
    const named = { claim: `jwt:k${at}`, nested: `jwt:org.k${at}.id`, missing: `jwt:nobody.k${at}` };
    return { column: `c_${type}`, op, value: given === "literal" ? value : named[given] };
  });
  return { filters, claims: user("me", claims) };
}

/** Columns of the plan: one cell a type, the first plan that speaks of the type says which. */
function rowFor(plan: readonly PlannedFilter[]) {
  const meanings = new Map<ColumnType, unknown>();
  const row: Record<string, Scalar> = {};
  for (const { type, cell } of plan) {
    if (meanings.has(type)) continue;
    const sample = cell === null ? undefined : sampleAt(type, cell);
    const literal =
      type === "json" ? { json: JSON.parse(String(sample?.[0] ?? "null")) } : { [type]: naturalOf(type, sample?.[0]) };
    meanings.set(type, sample?.[1] ?? null);
    row[`c_${type}`] = sample ? unwrap(parseValue(type, literal)) : null;
  }
  return { row, meanings };
}
const naturalOf = (type: ColumnType, literal: unknown) =>
  type === "number" ? Number(literal) : type === "boolean" ? String(literal) === "true" : literal;

const holds = ({ type, op, picks, given }: PlannedFilter, meaning: unknown): boolean => {
  if (meaning === null || given === "missing") return false;
  const order = picks.map((p) => compare(meaning, sampleAt(type, p)[1]));
  if (op === "in") return order.includes(0);
  const c = order[0] as number;
  return { eq: c === 0, neq: c !== 0, gt: c > 0, lt: c < 0, gte: c >= 0, lte: c <= 0 }[op];
};

test("[PL3] every operator on every type, literals and claims, buckets by OR and filters by AND, is what it means", () => {
  fc.assert(
    fc.property(fc.array(fc.array(planned, { maxLength: 3 }), { maxLength: 3 }), (buckets) => {
      const all = written(buckets.flat());
      const rules: SyncRules = {
        buckets: buckets.map((plan, b) => {
          const from = buckets.slice(0, b).flat().length;
          return { name: `b${b}`, tables: ["rows"], filters: all.filters.slice(from, from + plan.length) };
        }),
      };
      expect(syncRulesSchema.safeParse(rules).success).toBe(true);
      expect(validateSyncRules(rules, [TABLE])).toEqual({ ok: true, value: undefined });
      const { row, meanings } = rowFor(buckets.flat());
      const expected = buckets.some((plan) => plan.every((f) => holds(f, meanings.get(f.type))));
      expect(evaluate(rules, TABLE, row, all.claims)).toBe(expected);
      expect(evaluate(rules, TABLE, row, ADMIN)).toBe(true);
      expect(evaluate(rules, { ...TABLE, table: "others" }, row, all.claims)).toBe(false);
    }),
    { numRuns: 10_000 },
  );
});

const rulesOf = (column: string, op: Operator, value: never | string | number | boolean | string[]): SyncRules => ({
  buckets: [{ name: "b", tables: ["rows"], filters: [{ column, op, value }] }],
});
const sees = (rules: SyncRules, row: Record<string, Scalar>, claims: Claims = user("me")) =>
  evaluate(rules, TABLE, row, claims);

test("[PL3] what cannot be decided is decided against the reader", () => {
  const x = { c_string: "x" };
  expect(sees({ buckets: [] }, x)).toBe(false);
  expect(sees(rulesOf("c_string", "neq", "jwt:nothing"), x)).toBe(false);
  expect(sees(rulesOf("c_string", "neq", "y"), {})).toBe(false);
  expect(sees(rulesOf("c_string", "neq", "y"), { c_string: null })).toBe(false);
  expect(sees(rulesOf("c_string", "in", []), x)).toBe(false);
  expect(sees(rulesOf("no_such_column", "neq", "y"), x)).toBe(false);
  expect(sees(rulesOf("constructor", "neq", "y"), x)).toBe(false);
  for (const odd of [null, undefined, {}, [], ["x"], () => "x"])
    for (const op of ["eq", "neq", "gte", "lte"] as const)
      expect(sees(rulesOf("c_string", op, "jwt:odd"), x, user("me", { odd }))).toBe(false);
  expect(sees(rulesOf("c_integer", "neq", "jwt:odd"), { c_integer: 1 }, user("me", { odd: 1.5 }))).toBe(false);
  expect(sees(rulesOf("c_number", "lt", "jwt:odd"), { c_number: 1 }, user("me", { odd: "  " }))).toBe(false);
});

test("[PL3] a row that lacks a column of a name that objects inherit is a row with NULL there", () => {
  const table = tableOf("rows", { ["constructor" as string]: "string" });
  expect(evaluate(rulesOf("constructor", "neq", "y"), table, {}, user("me"))).toBe(false);
});

test("[PL3] claims: own properties only, by path; lists for `in`, also among literals; numbers and booleans as text", () => {
  const claims = user("me", { org: { id: "o1", teams: ["a", "b"] }, level: 3, staff: true });
  expect([claimAt(claims, "org.id"), claimAt(claims, "org.none"), claimAt(claims, "toString")]).toEqual([
    "o1",
    undefined,
    undefined,
  ]);
  expect(claimAt(claims, "sub.length")).toBeUndefined();
  expect(sees(rulesOf("c_string", "in", "jwt:org.teams"), { c_string: "b" }, claims)).toBe(true);
  expect(sees(rulesOf("c_string", "in", ["x", "jwt:org.teams", "jwt:org.id"]), { c_string: "o1" }, claims)).toBe(true);
  expect(sees(rulesOf("c_string", "eq", "jwt:org.teams"), { c_string: "a" }, claims)).toBe(false);
  expect(sees(rulesOf("c_string", "eq", "jwt:level"), { c_string: "3" }, claims)).toBe(true);
  expect(sees(rulesOf("c_integer", "lte", "jwt:level"), { c_integer: 3 }, claims)).toBe(true);
  expect(sees(rulesOf("c_boolean", "eq", "jwt:staff"), { c_boolean: true }, claims)).toBe(true);
  // A role in a claim of another name makes nobody an admin.
  expect(sees({ buckets: [] }, {}, user("me", { roles: ["admin"], admin: true }))).toBe(false);
});

test("[PL3] `write` replaces the filters for writing; an empty list lets write what may not be seen", () => {
  const own = { column: "c_string", op: "eq" as const, value: "jwt:sub" };
  const accessOf = (write?: (typeof own)[]) =>
    tableAccess(
      { buckets: [{ name: "b", tables: ["rows"], filters: [own], ...(write && { write }) }] },
      TABLE,
      user("me"),
    );
  const others = () => "you";
  const mine = (id: number) => (id === 1 ? "me" : null);
  expect([accessOf().writes(mine), accessOf().writes(others)]).toEqual([true, false]);
  expect([accessOf([]).writes(others), accessOf([]).sees(others)]).toEqual([true, false]);
  expect(accessOf([]).seesAll).toBe(false);
});

test.each<[string, Operator, string | number | boolean | string[], RegExp | undefined]>([
  ["c_nothing", "eq", "x", /no column "c_nothing"/],
  ["c_boolean", "gt", true, /gt does not go with column "c_boolean" of type boolean/],
  ["c_json", "lte", "1", /lte does not go/],
  ["c_bytes", "gt", "AQ==", /gt does not go/],
  ["c_integer", "gte", "3.5", /"3.5" cannot be read as integer/],
  ["c_integer", "in", ["1", "two"], /"two" cannot be read as integer/],
  ["c_number", "eq", "", /cannot be read as number/],
  ["c_timestamp", "gt", "yesterday", /cannot be read as timestamp/],
  ["c_bytes", "eq", "!", /cannot be read as bytes/],
  ["c_json", "eq", "{", /cannot be read as json/],
  ["c_boolean", "eq", "yes", /cannot be read as boolean/],
  ["c_string", "eq", "jwt:", /names no claim/],
  ["c_string", "eq", "jwt:a..b", /names no claim/],
  ["c_string", "eq", 5, undefined],
  ["c_number", "eq", "1e3", undefined],
])("rules are checked against the tables: %s %s %o", (column, op, value, message) => {
  const result = validateSyncRules(rulesOf(column, op, value as string), [TABLE]);
  if (message) expect(result).toMatchObject({ error: { code: "BadConfig", message: expect.stringMatching(message) } });
  else expect(result.ok).toBe(true);
});

test("rules are checked: tables that are there, buckets with names of their own, write filters too, lists for `in` only", () => {
  const bucket = { name: "b", tables: ["rows"], filters: [] };
  const problem = (buckets: SyncRules["buckets"]) => {
    const result = validateSyncRules({ buckets }, [TABLE]);
    return result.ok ? "" : result.error.message;
  };
  expect(problem([{ ...bucket, tables: ["rows", "gone"] }])).toMatch(/no table "gone"/);
  expect(problem([bucket, bucket])).toMatch(/Two buckets are called "b"/);
  expect(problem([{ ...bucket, write: [{ column: "c_none", op: "eq", value: "x" }] }])).toMatch(/no column "c_none"/);
  expect(
    syncRulesSchema.safeParse({ buckets: [{ ...bucket, filters: [{ column: "a", op: "eq", value: ["x"] }] }] }).success,
  ).toBe(false);
  expect(syncRulesSchema.safeParse({ buckets: [{ ...bucket, tables: ["a;b"] }] }).success).toBe(false);
  expect(syncRulesSchema.safeParse({ buckets: [{ ...bucket, color: "red" }] }).success).toBe(false);
});

test("[PL5] what a cursor is bound to changes with the rules' version, the role, and the claims that rules name, and with no other", () => {
  const rules: SyncRules = {
    buckets: [
      {
        name: "b",
        tables: ["rows"],
        filters: [{ column: "c_string", op: "in", value: ["x", "jwt:org.teams", "jwt:sub"] }],
      },
    ],
  };
  const print = (version: number, claims: Claims) => accessFingerprint(rules, version, claims);
  const mine = user("me", { org: { teams: ["a"] }, exp: 1 });
  expect(print(1, { ...mine, exp: 2, org: { teams: ["a"], other: 1 } })).toBe(print(1, mine));
  const changed = [
    print(2, mine),
    print(1, { ...mine, sub: "you" }),
    print(1, { ...mine, org: { teams: ["a", "b"] } }),
    print(1, ADMIN),
    print(2, ADMIN),
  ];
  expect(new Set([print(1, mine), ...changed]).size).toBe(changed.length + 1);
});

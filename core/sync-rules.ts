/**
 * Sync rules decide, on the merged row, what a token may see and write (PL3, PL7, S6).
 *
 *   rules  = bucket OR bucket OR ...        bucket = its tables, filter AND filter AND ...
 *
 * Everything that cannot be decided is decided against the reader: a NULL cell, a claim that is missing or of the wrong
 * kind, a table that no bucket names, and no rules at all (decision 13).
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import {
  type Bucket,
  type Claims,
  type Column,
  type ColumnType,
  compareScalars,
  err,
  type Filter,
  LakeSyncError,
  type Operator,
  ok,
  parseValue,
  type Result,
  type Scalar,
  type SyncRules,
  type TableSchema,
} from "../schemas/index.ts";

/** Gives the cell of a column, by column id; undefined and null alike mean NULL. */
export type CellReader = (columnId: number) => Scalar | undefined;
export type Predicate = (cell: CellReader) => boolean;

/** What one token may do with one table's rows. */
export interface TableAccess {
  readonly sees: Predicate;
  readonly writes: Predicate;
  /** Whether it sees every row of the table. */
  readonly seesAll: boolean;
}

const CLAIM = "jwt:";
const ORDERED: ReadonlySet<Operator> = new Set(["gt", "lt", "gte", "lte"]);
const UNORDERED_TYPES: ReadonlySet<ColumnType> = new Set(["boolean", "json", "bytes"]);

const NOTHING: TableAccess = { sees: () => false, writes: () => false, seesAll: false };
const EVERYTHING: TableAccess = { sees: () => true, writes: () => true, seesAll: true };

/** A filter's value read as its column's type; undefined where it cannot be. */
export function readAs(type: ColumnType, value: unknown): Exclude<Scalar, null> | undefined {
  let input = value;
  if (type === "string" && (typeof value === "number" || typeof value === "boolean")) input = String(value);
  else if (type === "number" && typeof value === "string") input = value.trim() === "" ? undefined : Number(value);
  else if (type === "boolean" && (value === "true" || value === "false")) input = value === "true";
  else if (type === "json" && typeof value === "string") input = tryJson(value);
  if (input === undefined || input === null) return undefined;
  const parsed = parseValue(type, input);
  return parsed.ok && parsed.value !== null ? parsed.value : undefined;
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const isClaim = (value: unknown): value is string => typeof value === "string" && value.startsWith(CLAIM);

/** The claim at a dotted path, such as `org.id`; undefined when there is none. */
export function claimAt(claims: Claims, path: string): unknown {
  let value: unknown = claims;
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** The values that a filter compares with: a claim that is a list counts as several, for `in` only. */
function operands(filter: Filter, type: ColumnType, claims: Claims): Exclude<Scalar, null>[] | undefined {
  const given = Array.isArray(filter.value) ? filter.value : [filter.value];
  const resolved = given.flatMap((v) => {
    const value = isClaim(v) ? claimAt(claims, v.slice(CLAIM.length)) : v;
    return Array.isArray(value) && filter.op === "in" ? value : [value];
  });
  const values = resolved.map((v) => readAs(type, v));
  if (filter.op === "in") return values.filter((v) => v !== undefined);
  return values[0] === undefined ? undefined : [values[0]];
}

function compileFilter(filter: Filter, table: TableSchema, claims: Claims): Predicate {
  const column = table.columns.find((c) => c.name === filter.column);
  const values = column && operands(filter, column.type, claims);
  if (!column || !values) return () => false;
  const { id, type } = column;
  if (filter.op === "in") {
    const set = new Set<Scalar>(values);
    return (cell) => set.has(cell(id) ?? null);
  }
  const operand = values[0] as Exclude<Scalar, null>;
  const holds = COMPARISONS[filter.op];
  return (cell) => {
    const value = cell(id);
    return value !== undefined && value !== null && holds(compareScalars(type, value, operand));
  };
}

const COMPARISONS: Record<Exclude<Operator, "in">, (order: number) => boolean> = {
  eq: (order) => order === 0,
  neq: (order) => order !== 0,
  gt: (order) => order > 0,
  lt: (order) => order < 0,
  gte: (order) => order >= 0,
  lte: (order) => order <= 0,
};

const allOf = (filters: readonly Filter[], table: TableSchema, claims: Claims): Predicate => {
  const predicates = filters.map((f) => compileFilter(f, table, claims));
  return (cell) => predicates.every((p) => p(cell));
};

/** What a token may see and write of a table. Admins may do everything. */
export function tableAccess(rules: SyncRules, table: TableSchema, claims: Claims): TableAccess {
  if (claims.role === "admin") return EVERYTHING;
  const buckets = rules.buckets.filter((b) => b.tables.includes(table.table));
  if (buckets.length === 0) return NOTHING;
  const sees = buckets.map((b) => allOf(b.filters, table, claims));
  const writes = buckets.map((b) => allOf(b.write ?? b.filters, table, claims));
  return {
    sees: (cell) => sees.some((p) => p(cell)),
    writes: (cell) => writes.some((p) => p(cell)),
    seesAll: buckets.some((b) => b.filters.length === 0),
  };
}

type Value = Exclude<Scalar, null>;

/** A filter whose values are known. */
export interface ResolvedFilter {
  readonly column: Column;
  readonly op: Operator;
  /** One, but for `in`. */
  readonly values: readonly Value[];
}

/** Each bucket's filters with a token's claims put in; a bucket that shows it nothing is left out. */
export function resolvedFilters(rules: SyncRules, table: TableSchema, claims: Claims): ResolvedFilter[][] {
  return rules.buckets.flatMap((bucket) => {
    if (!bucket.tables.includes(table.table)) return [];
    const filters = bucket.filters.map((filter): ResolvedFilter | undefined => {
      const column = table.columns.find((c) => c.name === filter.column);
      const values = column && operands(filter, column.type, claims);
      return column && values && values.length > 0 ? { column, op: filter.op, values } : undefined;
    });
    return filters.every((filter) => filter !== undefined) ? [filters] : [];
  });
}

/** What every row of a bucket has in one column: a value in one of the ranges that holds. */
export interface Selector {
  readonly column: Column;
  /** Ends included; one that is left out is open. */
  readonly ranges: readonly { readonly from?: Value; readonly to?: Value }[];
  readonly holds: (value: Value) => boolean;
}

/**
 * What to look up in indexes to find all rows that a token sees; rows that come of it still have to be judged.
 * @returns undefined where a bucket says nothing that an index could answer
 */
export function selectorsOf(rules: SyncRules, table: TableSchema, claims: Claims): Selector[] | undefined {
  const buckets = rules.buckets.filter((b) => b.tables.includes(table.table));
  const selectors = buckets.map((b) => selectorOf(b, table, claims));
  return selectors.every((s) => s !== undefined) ? selectors : undefined;
}

function selectorOf(bucket: Bucket, table: TableSchema, claims: Claims): Selector | undefined {
  const [column] = selectiveColumns(bucket, table);
  if (!column) return undefined;
  const { type } = column;
  const filters = bucket.filters.filter((f) => f.column === column.name);
  const sees = allOf(filters, table, claims);
  const holds = (value: Value) => sees(() => value);
  const given = filters.map((f) => ({ op: f.op, values: operands(f, type, claims) ?? [] }));
  if (given.some(({ values }) => values.length === 0)) return { column, ranges: [], holds }; // nothing is seen
  const equal = given.find(({ op }) => isEquality(op));
  if (equal) return { column, ranges: equal.values.map((value) => ({ from: value, to: value })), holds };
  const least = given.flatMap(({ op, values }) => (op === "gt" || op === "gte" ? values : []));
  const most = given.flatMap(({ op, values }) => (op === "lt" || op === "lte" ? values : []));
  const [from] = least.sort((a, b) => compareScalars(type, b, a));
  const [to] = most.sort((a, b) => compareScalars(type, a, b));
  return { column, ranges: [{ ...(from !== undefined && { from }), ...(to !== undefined && { to }) }], holds };
}

const isEquality = (op: Operator): boolean => op === "eq" || op === "in";

/**
 * Columns that a bucket's rows may be found by, the best first: those of equalities, or else one that is compared. What differs
 * from a value is most of the table: a scan is cheaper (decision 0087).
 */
function selectiveColumns({ filters }: Bucket, table: TableSchema): Column[] {
  // Equal values have one form, but for JSON.
  const columnOf = (f: Filter) => table.columns.find((c) => c.name === f.column && c.type !== "json");
  const equal = filters.filter((f) => isEquality(f.op)).flatMap((f) => columnOf(f) ?? []);
  return equal.length > 0 ? equal : filters.flatMap((f) => (f.op === "neq" ? [] : (columnOf(f) ?? []))).slice(0, 1);
}

/** Ids of the columns that selectors may be of. */
export function indexedColumns(rules: SyncRules, table: TableSchema): number[] {
  const buckets = rules.buckets.filter((b) => b.tables.includes(table.table));
  return [...new Set(buckets.flatMap((b) => selectiveColumns(b, table).map((c) => c.id)))];
}

/** Whether a token may see a row, given by column name. */
export function evaluate(
  rules: SyncRules,
  table: TableSchema,
  row: Readonly<Record<string, Scalar>>,
  claims: Claims,
): boolean {
  // A column may be called "constructor".
  const byId = new Map(table.columns.map((c) => [c.id, Object.hasOwn(row, c.name) ? row[c.name] : null]));
  return tableAccess(rules, table, claims).sees((id) => byId.get(id));
}

/** Ids of the columns that decide who sees a table's rows, and of those that decide who sees or writes them. */
export function decidingColumns(
  rules: SyncRules,
  table: TableSchema,
): { readonly sees: readonly number[]; readonly decides: readonly number[] } {
  const buckets = rules.buckets.filter((b) => b.tables.includes(table.table));
  const idsOf = (filters: readonly Filter[]) => {
    const names = new Set(filters.map((f) => f.column));
    return table.columns.filter((c) => names.has(c.name)).map((c) => c.id);
  };
  return {
    sees: idsOf(buckets.flatMap((b) => b.filters)),
    decides: idsOf(buckets.flatMap((b) => [...b.filters, ...(b.write ?? [])])),
  };
}

/**
 * A short text that changes whenever the answer to "what may this token see" may change: the rules' version and the claims
 * that they name (PL5). A cursor is bound to it.
 */
export function accessFingerprint(rules: SyncRules, version: number, claims: Claims): string {
  const paths = new Set<string>();
  for (const bucket of rules.buckets)
    for (const filter of bucket.filters)
      for (const value of [filter.value].flat()) if (isClaim(value)) paths.add(value.slice(CLAIM.length));
  const named = [...paths].sort().map((path) => [path, claimAt(claims, path) ?? null]);
  return shortHash(JSON.stringify([version, claims.role === "admin" ? "admin" : named]));
}

/** Hashes made a while ago: a gateway asks for the same few again and again. */
const hashes = new Map<string, string>();
const HASHES_MAX = 1000;

function shortHash(text: string): string {
  const known = hashes.get(text);
  if (known !== undefined) return known;
  const hash = bytesToHex(sha256(new TextEncoder().encode(text))).slice(0, 16);
  if (hashes.size >= HASHES_MAX) hashes.clear();
  hashes.set(text, hash);
  return hash;
}

/** Checks rules against the tables that are there: every table and column known, every value of its column's type. */
export function validateSyncRules(rules: SyncRules, tables: readonly TableSchema[]): Result<void, LakeSyncError> {
  const byName = new Map(tables.map((t) => [t.table, t]));
  for (const bucket of rules.buckets) {
    const problem = bucketProblem(bucket, byName);
    if (problem)
      return err(
        new LakeSyncError("BadConfig", `Bucket ${JSON.stringify(bucket.name)}: ${problem}`, { bucket: bucket.name }),
      );
  }
  const names = rules.buckets.map((b) => b.name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined)
    return err(
      new LakeSyncError("BadConfig", `Two buckets are called ${JSON.stringify(twice)}; give each a name of its own.`),
    );
  return ok(undefined);
}

function bucketProblem(bucket: Bucket, tables: ReadonlyMap<string, TableSchema>): string | undefined {
  for (const name of bucket.tables) {
    const table = tables.get(name);
    if (!table) return `there is no table ${JSON.stringify(name)}; put its schema first.`;
    for (const filter of [...bucket.filters, ...(bucket.write ?? [])]) {
      const column = table.columns.find((c) => c.name === filter.column);
      if (!column) return `table ${JSON.stringify(name)} has no column ${JSON.stringify(filter.column)}.`;
      const problem = filterProblem(filter, column);
      if (problem) return problem;
    }
  }
  return undefined;
}

function filterProblem(filter: Filter, column: Column): string | undefined {
  if (ORDERED.has(filter.op) && UNORDERED_TYPES.has(column.type))
    return `operator ${filter.op} does not go with column ${JSON.stringify(column.name)} of type ${column.type}; use eq, neq or in.`;
  for (const value of [filter.value].flat()) {
    if (isClaim(value)) {
      if (!/^[^.]+(\.[^.]+)*$/.test(value.slice(CLAIM.length)))
        return `${JSON.stringify(value)} names no claim; write jwt:sub or jwt:org.id.`;
    } else if (readAs(column.type, value) === undefined)
      return `${JSON.stringify(value)} cannot be read as ${column.type}, the type of column ${JSON.stringify(column.name)}.`;
  }
  return undefined;
}

/** What a query needs of each table: DuckDB's own plan over empty tables of the same shape, with nothing folded away. */
import { quoted, type SqlEngine } from "./engine.ts";
import { type Predicate, predicatesOf } from "./prune.ts";

/** Statistics of empty tables would prove every query empty. */
export const PLAN_SETTINGS = "SET disabled_optimizers = 'statistics_propagation,empty_result_pullup'";
export const RUN_SETTINGS = "SET disabled_optimizers = ''";

export interface Need {
  /** Names of columns. */
  readonly columns: ReadonlySet<string>;
  /** What every scan of the table asks of its rows; empty where scans differ. */
  readonly predicates: readonly Predicate[];
}

interface PlanNode {
  readonly name?: string;
  readonly children?: readonly PlanNode[];
  readonly extra_info?: Readonly<Record<string, unknown>>;
}

const texts = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : value ? [String(value)] : []);

function* scansOf(node: PlanNode): Generator<{ table: string; projections: string[]; filters: string[] }> {
  const { Table, Projections, Filters, Text } = node.extra_info ?? {};
  const table = Table ?? Text;
  if (typeof table === "string" && /SCAN/.test(node.name ?? ""))
    yield { table: table.split(".").at(-1) ?? "", projections: texts(Projections), filters: texts(Filters) };
  for (const child of node.children ?? []) yield* scansOf(child);
}

/**
 * @param tables the columns of each table there is
 * @returns the tables that the query reads. One that it names and the plan does not is needed whole
 */
export async function needsOf(
  engine: SqlEngine,
  sql: string,
  tables: ReadonlyMap<string, readonly string[]>,
): Promise<Map<string, Need>> {
  const needs = new Map<string, Need>();
  const { values } = await engine.query(`EXPLAIN (FORMAT json) ${sql}`);
  const plan: PlanNode[] = JSON.parse(String(values[1]?.[0] ?? "[]"));
  for (const root of plan)
    for (const { table, projections, filters } of scansOf(root)) {
      const name = [...tables.keys()].find((each) => each.toLowerCase() === table.replaceAll('"', "").toLowerCase());
      if (name === undefined) continue;
      const seen = needs.get(name);
      const named = (tables.get(name) ?? []).filter(
        (column) =>
          projections.some((each) => each === column || each === quoted(column)) ||
          filters.some((filter) => filter.includes(column)),
      );
      const columns = new Set([...(seen?.columns ?? []), ...named]);
      needs.set(name, { columns, predicates: seen ? [] : predicatesOf(filters) });
    }
  for (const [name, columns] of tables)
    if (!needs.has(name) && mentions(sql, name)) needs.set(name, { columns: new Set(columns), predicates: [] });
  return needs;
}

const mentions = (sql: string, name: string): boolean =>
  new RegExp(`(?<![\\w])${name.replace(/[^\w]/g, "\\$&")}(?![\\w])`, "i").test(sql);

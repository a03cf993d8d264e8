/**
 * `useQuery`: rows that follow the database (C5).
 *
 *   useQuery(client.todos, { done: false }, { orderBy: "rank" })     rows as the app has them, typed by the schema
 *   useQuery<{ n: number }>("SELECT count(*) AS n FROM todos")       SQL, with parameters as a second argument
 *   useQuery(kysely.selectFrom("todos").selectAll().compile())       what a query builder compiled
 */
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type { SqlParam } from "../db/driver.ts";
import type { LocalDB, Row } from "../db/local-db.ts";
import type { Columns, RowOf } from "../typed/columns.ts";
import { type FindOptions, Table, type Where } from "../typed/table.ts";
import { asError } from "./errors.ts";
import { useClient } from "./provider.ts";
import { LOADING, type QueryResult } from "./query-result.ts";
import { reuseRows } from "./reuse.ts";
import { type Start, shared } from "./shared.ts";

/** A compiled query of Kysely, or of anything else that has SQL and its parameters. */
export interface Statement {
  readonly sql: string;
  readonly parameters?: readonly unknown[];
}

/** A query to run: what it reads from, its name among the owner's queries, how to begin. */
interface Source<T> {
  readonly owner: object;
  readonly key: string;
  readonly live: (onRows: (rows: T[]) => void, onError: (error: unknown) => void) => () => void;
}

/** Rows of a table with these very values. */
export function useQuery<C extends Columns>(
  table: Table<C>,
  where?: Where<C>,
  options?: FindOptions<C>,
): QueryResult<RowOf<C>>;
/** Rows of a SQL query. */
export function useQuery<T = Row>(sql: string | Statement, params?: readonly SqlParam[]): QueryResult<T>;
export function useQuery(
  what: string | Statement | Table<Columns>,
  second?: unknown,
  third?: unknown,
): QueryResult<unknown> {
  const { db } = useClient();
  const source = what instanceof Table ? ofTable(what, second, third) : ofSql(db, what, second);
  const { owner, key } = source;
  // biome-ignore lint/correctness/useExhaustiveDependencies: owner and key say all that the source depends on
  const store = useMemo(() => shared<QueryResult<unknown>>(owner, key, LOADING, starting(source)), [owner, key]);
  const result = useSyncExternalStore(store.subscribe, store.snapshot, () => LOADING);
  const kept = useRef<{ readonly owner: object; readonly result: QueryResult<unknown> }>(undefined);
  useEffect(() => {
    if (!result.loading) kept.current = { owner, result };
  });
  const before = result.loading && kept.current?.owner === owner ? kept.current.result : undefined;
  return useMemo(() => (before ? { ...before, loading: true } : result), [before, result]);
}

function ofTable(table: Table<Columns>, where: unknown, options: unknown): Source<unknown> {
  return {
    owner: table,
    key: keyOf([where, options]),
    live: (onRows, onError) => table.live((where ?? {}) as Where<Columns>, onRows, { ...(options as object), onError }),
  };
}

function ofSql(db: LocalDB, what: string | Statement, second: unknown): Source<unknown> {
  const sql = typeof what === "string" ? what : what.sql;
  const params = ((typeof what === "string" ? second : what.parameters) ?? []) as readonly SqlParam[];
  return {
    owner: db,
    key: keyOf([sql, params]),
    live: (onRows, onError) => db.live<unknown>(sql, params, onRows, { onError }),
  };
}

const starting =
  ({ live }: Source<unknown>): Start<QueryResult<unknown>> =>
  (set) =>
    live(
      (next) =>
        set((held) => {
          const rows = reuseRows(held.rows, next);
          const same = rows === held.rows && !held.loading && held.error === undefined;
          return same ? held : { rows, loading: false, error: undefined };
        }),
      (cause) => set(({ rows }) => ({ rows, loading: false, error: asError(cause) })),
    );

/** Equal for equal parameters, of whatever kind SQLite takes. */
const keyOf = (parts: readonly unknown[]): string =>
  JSON.stringify(parts, (_, value) => (typeof value === "bigint" ? `${value}n` : value));

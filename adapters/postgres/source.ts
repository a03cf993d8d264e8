/**
 * Rows of a table or a query in Postgres, page by page in order of a key, for clients that pull them by name.
 *
 * What a filter can leave out is left out by the database; where SQL compares otherwise than sync rules do (strings by a
 * collation), it gives more rows than asked for, and never fewer: whoever asks judges each row.
 */
import type pg from "pg";
import type { ResolvedFilter } from "../../core/index.ts";
import {
  attempt,
  type Column,
  type ColumnType,
  isRowId,
  isScalar,
  LakeSyncError,
  parseValue,
  type Result,
  type Scalar,
} from "../../schemas/index.ts";
import { inTransaction } from "../sql/again.ts";
import { isLost } from "./errors.ts";
import type { PostgresOptions } from "./index.ts";
import { BEGIN, PostgresPool, quote } from "./pool.ts";
import { ARRAY_TYPES, fromSql, SQL_TYPES, selectOf, typed } from "./values.ts";

/** A source is somebody else's database: a page has to be quick. Milliseconds. */
const PAGE_MS = 20_000;
const READ_ONLY = `${BEGIN} READ ONLY; SET LOCAL statement_timeout = ${PAGE_MS}; SET LOCAL extra_float_digits = 1`;

/** By SQLSTATE. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/^57014/, `a page took longer than ${PAGE_MS / 1000} s; give its key an index`],
  [/^42501/, "the user of its connection may not read it; grant SELECT"],
  [/^(25006|0A000)/, "its query does more than read rows; let it be a SELECT that others may wrap"],
  [
    /^42/,
    "the database does not know a table, column or function of it, or they are of other types; correct it in lakesync.config.ts",
  ],
  [
    /^22/,
    "a value does not fit the type that its column has in lakesync.config.ts; correct that, or convert it in the query",
  ],
];

export interface SourceRelation {
  readonly schema: string;
  /** Either of these. */
  readonly table?: string | undefined;
  readonly query?: string | undefined;
  readonly key: string;
  readonly columns: readonly Column[];
}

export interface SourcePage {
  /** Keys that the rows are ordered by, as text. */
  readonly rowIds: readonly string[];
  /** In the order of the columns. */
  readonly rows: readonly (readonly Scalar[])[];
}

const SIGNS = { eq: "=", neq: "<>", gt: ">", lt: "<", gte: ">=", lte: "<=" } as const;

export class PostgresSource {
  readonly #pool: PostgresPool;
  readonly #name: string;

  /** @param name of the source, for errors */
  constructor(options: PostgresOptions, name: string) {
    this.#pool = new PostgresPool(options);
    this.#name = name;
  }

  /**
   * @param buckets filters joined by AND, lists of them by OR @param after a key, as text
   * @returns at most `limit` rows after it, among them all that the filters show
   */
  page(
    relation: SourceRelation,
    buckets: readonly (readonly ResolvedFilter[])[],
    after: string | undefined,
    limit: number,
  ): Promise<Result<SourcePage, LakeSyncError>> {
    const { sql, params } = statementOf(relation, buckets, after, limit);
    return attempt(async () => {
      try {
        return await this.#pool.run((client) => this.#read(client, relation, sql, params));
      } catch (error) {
        throw this.#told(error);
      }
    });
  }

  async #read(client: pg.PoolClient, relation: SourceRelation, sql: string, params: unknown[]): Promise<SourcePage> {
    const run = (text: string) => client.query(text);
    const { rows } = await inTransaction({ begin: READ_ONLY, run, isLost }, () =>
      client.query<(string | boolean | Buffer | null)[]>({ text: sql, values: params, rowMode: "array" }),
    );
    return {
      rowIds: rows.map(([key]) => this.#keyOf(relation, key)),
      rows: rows.map(([key, ...cells]) =>
        relation.columns.map((column, at) => this.#cellOf(column, cells[at] ?? null, String(key))),
      ),
    };
  }

  #keyOf({ key }: SourceRelation, value: unknown): string {
    if (isRowId(value)) return value;
    const shown = JSON.stringify(value)?.slice(0, 80);
    throw this.#refused(
      `its key ${key} has ${shown}, which is no row id; give it a column with short text, never NULL`,
    );
  }

  #cellOf({ name, type }: Column, value: string | boolean | Buffer | null, key: string): Scalar {
    const read = fromSql(type, value);
    const parsed = type === "json" && read !== null ? parseValue("json", JSON.parse(read as string)) : undefined;
    const cell = parsed?.ok ? parsed.value : read;
    if (isScalar(type, cell)) return cell;
    throw this.#refused(
      `column ${name} of row ${key.slice(0, 80)} is no ${type} that sync can hold; change it in the source's query`,
    );
  }

  #refused(why: string, options?: { cause: unknown }): LakeSyncError {
    const message = `The source ${this.#name} cannot be read: ${why}.`;
    return new LakeSyncError("DestinationRefused", message, { source: this.#name }, options);
  }

  /** A database's own words may hold rows: they stay in the cause. */
  #told(error: unknown): unknown {
    const state = error instanceof LakeSyncError ? String(error.details.sqlState ?? "") : "";
    const why = REASONS.find(([pattern]) => pattern.test(state))?.[1];
    return why === undefined ? error : this.#refused(`${why} (SQLSTATE ${state})`, { cause: (error as Error).cause });
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

/** Names are quoted, values are parameters (S3); a query is the operator's. */
function statementOf(
  { schema, table, query, key, columns }: SourceRelation,
  buckets: readonly (readonly ResolvedFilter[])[],
  after: string | undefined,
  limit: number,
): { sql: string; params: unknown[] } {
  const params: unknown[] = [];
  const bind = (type: ColumnType, value: Scalar): string => {
    return typed(type, `$${params.push(String(value))}::text::${ARRAY_TYPES[type]}`);
  };
  const cast = ({ name, type }: Column) => `s.${quote(name)}::${SQL_TYPES[type]}`;
  const condition = ({ column, op, values }: ResolvedFilter): string | undefined => {
    const { type } = column;
    const unlike = type === "json" || type === "bytes" || (type === "string" && op !== "eq" && op !== "in");
    if (unlike) return undefined;
    const bound = values.map((value) => bind(type, value));
    return op === "in" ? `${cast(column)} IN (${bound.join(", ")})` : `${cast(column)} ${SIGNS[op]} ${bound[0]}`;
  };
  const shown = buckets.map((filters) => filters.map(condition).filter((each) => each !== undefined));
  const some = shown.map((all) => (all.length === 0 ? "true" : `(${all.join(" AND ")})`)).join(" OR ");
  const from = query === undefined ? `${quote(schema)}.${quote(table ?? "")}` : `(${query}\n)`;
  const id = `s.${quote(key)}`;
  const later = after === undefined ? "" : `AND ${id} > $${params.push(after)}`;
  const list = columns.map((column) => `, ${selectOf(column.type, `(${cast(column)})`)}`).join("");
  return {
    sql: `SELECT ${id}::text${list} FROM ${from} AS s WHERE (${some || "false"}) ${later} ORDER BY ${id} LIMIT $${params.push(limit)}`,
    params,
  };
}

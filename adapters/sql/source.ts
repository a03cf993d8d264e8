/**
 * Rows of a table or a query in a SQL database, page by page in order of a key, for clients that pull them by name.
 *
 * What a filter can leave out is left out by the database; where SQL compares otherwise than sync rules do (strings by a
 * collation), it gives more rows than asked for, and never fewer: whoever asks judges each row.
 */
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

/** A source is somebody else's database: a page has to be quick. Milliseconds. */
export const PAGE_MS = 20_000;

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

export interface RowSource {
  /**
   * @param buckets filters joined by AND, lists of them by OR @param after a key, as text
   * @returns at most `limit` rows after it, among them all that the filters show
   */
  page(
    relation: SourceRelation,
    buckets: readonly (readonly ResolvedFilter[])[],
    after: string | undefined,
    limit: number,
  ): Promise<Result<SourcePage, LakeSyncError>>;
  close(): Promise<void>;
}

export interface SourceDialect<V> {
  quote(name: string): string;
  /** The nth parameter in a statement, from 1. */
  param(n: number): string;
  /** What filters compare of a column. @param name quoted */
  column(type: ColumnType, name: string): string;
  /** What they compare it with. @param param of what `bind` gives */
  operand(type: ColumnType, param: string): string;
  bind(type: ColumnType, value: Scalar): unknown;
  /** How a column is read. @param name quoted */
  select(type: ColumnType, name: string): string;
  keyText(name: string): string;
  /** The canonical value of what `select` gives, or anything that is none. */
  read(type: ColumnType, value: V | null): Scalar | undefined;
  /** By the database's code of an error: what a person can do. */
  readonly reasons: readonly (readonly [RegExp, string])[];
}

const SIGNS = { eq: "=", neq: "<>", gt: ">", lt: "<", gte: ">=", lte: "<=" } as const;

export const SOURCE_REASONS = {
  slow: `a page took longer than ${PAGE_MS / 1000} s; give its key an index`,
  rights: "the user of its connection may not read it; grant SELECT",
  writes: "its query does more than read rows; let it be a SELECT that others may wrap",
  unknown:
    "the database does not know a table, column or function of it, or they are of other types; correct it in lakesync.config.ts",
  unfit:
    "a value does not fit the type that its column has in lakesync.config.ts; correct that, or convert it in the query",
};

/** A table or query, in brackets. */
export const relationSql = (
  { quote }: Pick<SourceDialect<unknown>, "quote">,
  { schema, table, query }: SourceRelation,
): string => (query === undefined ? `${quote(schema)}.${quote(table ?? "")}` : `(${query}\n)`);

/**
 * Names are quoted, values are parameters (S3); a query is the operator's.
 * @param after what the key is later than: a parameter, and what SQL makes of it
 */
export function pageStatement<V>(
  dialect: SourceDialect<V>,
  relation: SourceRelation,
  buckets: readonly (readonly ResolvedFilter[])[],
  after: { readonly value: unknown; readonly as?: (param: string) => string } | undefined,
  limit: number,
): { sql: string; params: unknown[] } {
  const params: unknown[] = [];
  const param = (value: unknown) => dialect.param(params.push(value));
  const name = (column: string) => `s.${dialect.quote(column)}`;
  const condition = ({ column, op, values }: ResolvedFilter): string | undefined => {
    const { type } = column;
    const unlike = type === "json" || type === "bytes" || (type === "string" && op !== "eq" && op !== "in");
    if (unlike) return undefined;
    const operands = values.map((value) => dialect.operand(type, param(dialect.bind(type, value))));
    const compared = dialect.column(type, name(column.name));
    return op === "in" ? `${compared} IN (${operands.join(", ")})` : `${compared} ${SIGNS[op]} ${operands[0]}`;
  };
  const shown = buckets.map((filters) => filters.map(condition).filter((each) => each !== undefined));
  const some = shown.map((all) => (all.length === 0 ? "true" : `(${all.join(" AND ")})`)).join(" OR ");
  const id = name(relation.key);
  const { value, as = (sql: string) => sql } = after ?? {};
  const later = after === undefined ? "" : `AND ${id} > ${as(param(value))}`;
  const list = relation.columns.map((column) => `, ${dialect.select(column.type, name(column.name))}`).join("");
  const from = relationSql(dialect, relation);
  return {
    sql: `SELECT ${dialect.keyText(id)}${list} FROM ${from} AS s WHERE (${some || "false"}) ${later} ORDER BY ${id} LIMIT ${param(limit)}`,
    params,
  };
}

export abstract class SqlSource<V> implements RowSource {
  readonly #dialect: SourceDialect<V>;
  readonly #name: string;

  /** @param name of the source, for errors */
  constructor(dialect: SourceDialect<V>, name: string) {
    this.#dialect = dialect;
    this.#name = name;
  }

  abstract close(): Promise<void>;

  /** @returns of each row its key as text, and its columns as `select` has them */
  protected abstract read(
    relation: SourceRelation,
    buckets: readonly (readonly ResolvedFilter[])[],
    after: string | undefined,
    limit: number,
  ): Promise<(V | null)[][]>;

  page(...[relation, ...which]: Parameters<RowSource["page"]>): Promise<Result<SourcePage, LakeSyncError>> {
    return attempt(async () => {
      try {
        const rows = await this.read(relation, ...which);
        return {
          rowIds: rows.map(([key]) => this.#keyOf(relation, key)),
          rows: rows.map(([key, ...cells]) =>
            relation.columns.map((column, at) => this.#cellOf(column, cells[at] ?? null, String(key))),
          ),
        };
      } catch (error) {
        throw this.#told(error);
      }
    });
  }

  #keyOf({ key }: SourceRelation, value: unknown): string {
    if (isRowId(value)) return value;
    const shown = JSON.stringify(value)?.slice(0, 80);
    throw this.#refused(
      `its key ${key} has ${shown}, which is no row id; give it a column with short text, never NULL`,
    );
  }

  #cellOf({ name, type }: Column, value: V | null, key: string): Scalar {
    const read = this.#dialect.read(type, value);
    const parsed = type === "json" && typeof read === "string" ? parseValue("json", JSON.parse(read)) : undefined;
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
    const { sqlState, errno } = error instanceof LakeSyncError ? error.details : {};
    const code = String(sqlState ?? errno ?? "");
    const why = this.#dialect.reasons.find(([pattern]) => pattern.test(code))?.[1];
    const called = sqlState === undefined ? "error" : "SQLSTATE";
    return why === undefined ? error : this.#refused(`${why} (${called} ${code})`, { cause: (error as Error).cause });
  }
}

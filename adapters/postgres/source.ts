/** Rows that clients pull by name, of a table or a query in Postgres. */
import type { Buffer } from "node:buffer";
import { inTransaction } from "../sql/again.ts";
import { PAGE_MS, pageStatement, SOURCE_REASONS, type SourceDialect, SqlSource } from "../sql/source.ts";
import { isLost } from "./errors.ts";
import type { PostgresOptions } from "./index.ts";
import { BEGIN, PostgresPool, quote } from "./pool.ts";
import { ARRAY_TYPES, fromSql, SQL_TYPES, selectOf, typed } from "./values.ts";

const READ_ONLY = `${BEGIN} READ ONLY; SET LOCAL statement_timeout = ${PAGE_MS}; SET LOCAL extra_float_digits = 1`;

type Cell = string | boolean | Buffer;

const POSTGRES: SourceDialect<Cell> = {
  quote,
  param: (n) => `$${n}`,
  column: (type, name) => `${name}::${SQL_TYPES[type]}`,
  operand: (type, param) => typed(type, `${param}::text::${ARRAY_TYPES[type]}`),
  bind: (_, value) => String(value),
  select: (type, name) => selectOf(type, `(${name}::${SQL_TYPES[type]})`),
  keyText: (name) => `${name}::text`,
  read: fromSql,
  // By SQLSTATE.
  reasons: [
    [/^57014/, SOURCE_REASONS.slow],
    [/^42501/, SOURCE_REASONS.rights],
    [/^(25006|0A000)/, SOURCE_REASONS.writes],
    [/^42/, SOURCE_REASONS.unknown],
    [/^22/, SOURCE_REASONS.unfit],
  ],
};

export class PostgresSource extends SqlSource<Cell> {
  readonly #pool: PostgresPool;

  /** @param name of the source, for errors */
  constructor(options: PostgresOptions, name: string) {
    super(POSTGRES, name);
    this.#pool = new PostgresPool(options);
  }

  protected async read(...[relation, buckets, after, limit]: Parameters<SqlSource<Cell>["read"]>) {
    const { sql, params } = pageStatement(
      POSTGRES,
      relation,
      buckets,
      after === undefined ? undefined : { value: after },
      limit,
    );
    const { rows } = await this.#pool.run((client) => {
      const run = (text: string) => client.query(text);
      return inTransaction({ begin: READ_ONLY, run, isLost }, () =>
        client.query<(Cell | null)[]>({ text: sql, values: params, rowMode: "array" }),
      );
    });
    return rows;
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

/**
 * Rows that clients pull by name, of a table or a query in MySQL or MariaDB. What a filter compares is what is read, to the digit; text
 * is compared by its bytes, whatever its collation.
 *
 *   type       compared as          read as
 *   string     binary               text
 *   integer    decimal              text: '9.7' and 'abc', which the server would round, are no integers
 *   number     double               number
 *   boolean    not 0                1, 0
 *   timestamp  datetime(6), in UTC  text
 */
import type { Buffer } from "node:buffer";
import type { Connection } from "mysql2/promise";
import type { ColumnType, Scalar } from "../../schemas/index.ts";
import {
  PAGE_MS,
  pageStatement,
  relationSql,
  SOURCE_REASONS,
  type SourceDialect,
  type SourceRelation,
  SqlSource,
} from "../sql/source.ts";
import { isDeadlock } from "./errors.ts";
import type { MySQLOptions } from "./index.ts";
import { MysqlPool, quote } from "./pool.ts";
import { fromSql, toSql } from "./values.ts";

type Cell = string | number | Buffer;

const asText = (sql: string): string => `CAST(${sql} AS CHAR CHARACTER SET utf8mb4)`;

function comparable(type: ColumnType, sql: string): string {
  switch (type) {
    case "string":
      return `CAST(${asText(sql)} AS BINARY)`;
    case "integer":
      return `CAST(${sql} AS DECIMAL(65, 0))`;
    case "number":
      return `(${sql} + 0e0)`;
    case "boolean":
      return `(${sql} <> 0)`;
    case "timestamp":
      return `CAST(${sql} AS DATETIME(6))`;
    default:
      return sql;
  }
}

function selectOf(type: ColumnType, name: string): string {
  switch (type) {
    case "bytes":
      return `CAST(${name} AS BINARY)`;
    case "number":
    case "boolean":
      return comparable(type, name);
    case "timestamp":
      return asText(comparable(type, name));
    default:
      return asText(name);
  }
}

function read(type: ColumnType, value: Cell | null): Scalar | undefined {
  if (value === null) return null;
  if (type === "integer" && !/^-?\d{1,19}$/.test(String(value))) return undefined;
  try {
    return fromSql(type, value);
  } catch {
    return undefined; // a day that there is not, such as 0000-00-00
  }
}

const MYSQL: SourceDialect<Cell> = {
  quote,
  param: () => "?",
  column: comparable,
  operand: comparable,
  bind: (type, value) => (type === "boolean" ? Number(value) : String(toSql(type, value))),
  select: selectOf,
  keyText: asText,
  read,
  // By the server's number of the error.
  reasons: [
    [/^(1969|3024)$/, SOURCE_REASONS.slow],
    [/^(1044|1142|1143|1370)$/, SOURCE_REASONS.rights],
    [/^(1792|1221)$/, SOURCE_REASONS.writes],
    [/^(1052|1054|1060|1064|1146|1248|1267|1271|1305|1049|4078)$/, SOURCE_REASONS.unknown],
    [/^(1264|1292|1365|1366|1411|1690|3140|3141)$/, SOURCE_REASONS.unfit],
  ],
};

/** What mysql2 says of a column that holds numbers: decimals, whole ones of all sizes. */
const EXACT = new Set([0, 1, 2, 3, 8, 9, 13, 246]);
const APPROXIMATE = new Set([4, 5]);

export class MySQLSource extends SqlSource<Cell> {
  readonly #pool: MysqlPool;

  /** @param name of the source, for errors */
  constructor(options: MySQLOptions, name: string) {
    super(MYSQL, name);
    this.#pool = new MysqlPool(options, isDeadlock);
  }

  protected read(...[relation, buckets, after, limit]: Parameters<SqlSource<Cell>["read"]>) {
    return this.#pool.transaction(async (connection) => {
      await prepare(connection);
      const later = after === undefined ? undefined : await keyOf(connection, relation, after);
      const { sql, params } = pageStatement(MYSQL, relation, buckets, later, limit);
      const [rows] = await connection.query({ sql, values: params, rowsAsArray: true });
      return rows as unknown as (Cell | null)[][];
    }, "START TRANSACTION READ ONLY");
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

/** A day's time is read in UTC, also where a column is a TIMESTAMP; MariaDB and MySQL have each a limit of their own. */
async function prepare(connection: Connection): Promise<void> {
  const [rows] = await connection.query("SELECT VERSION() AS version");
  const mariadb = /mariadb/i.test(String((rows as { version: string }[])[0]?.version));
  const limit = mariadb ? `max_statement_time = ${PAGE_MS / 1000}` : `max_execution_time = ${PAGE_MS}`;
  await connection.query(`SET time_zone = '+00:00', ${limit}`);
}

/** MySQL compares a computed number beside text as a double, which takes neighbours for one: what comes after a key of numbers is a number. */
async function keyOf(connection: Connection, relation: SourceRelation, after: string) {
  const value = after;
  if (!/^-?\d/.test(after)) return { value };
  const key = `SELECT s.${quote(relation.key)} FROM ${relationSql(MYSQL, relation)} AS s LIMIT 0`;
  const [, fields] = await connection.query(key);
  const type = fields[0]?.columnType ?? -1;
  if (APPROXIMATE.has(type)) return { value, as: (param: string) => `(${param} + 0e0)` };
  if (!EXACT.has(type)) return { value };
  return /^-?\d+$/.test(after)
    ? { value: BigInt(after) }
    : { value, as: (param: string) => `CAST(${param} AS DECIMAL(65, 30))` };
}

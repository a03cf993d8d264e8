/**
 * Canonical values on their way into Postgres and back. What can be converted by SQL is: an array of values as they are
 * costs next to nothing here.
 *
 *   type       column             travels as         read as
 *   string     text               text (sql/text.ts) text
 *   integer    bigint             digits             text
 *   number     double precision   shortest digits    text
 *   boolean    boolean            true, false        boolean
 *   timestamp  timestamptz        microseconds       microseconds
 *   json       json               text; jsonb would reorder it
 *   bytes      bytea              base64             Buffer
 */
import type { Buffer } from "node:buffer";
import type { ColumnType, Scalar } from "../../schemas/index.ts";
import { readText, writeText } from "../sql/text.ts";
import { wholeOf } from "../sql/values.ts";

export const SQL_TYPES: Record<ColumnType, string> = {
  string: "text",
  integer: "bigint",
  number: "double precision",
  boolean: "boolean",
  timestamp: "timestamptz",
  json: "json",
  bytes: "bytea",
};

/** As Postgres calls them itself. */
export const FULL_TYPES: Record<ColumnType, string> = { ...SQL_TYPES, timestamp: "timestamp with time zone" };

/** What an array of canonical values of a type is an array of, on its way. */
export const ARRAY_TYPES: Record<ColumnType, string> = {
  ...SQL_TYPES,
  timestamp: "bigint",
  json: "text",
  bytes: "text",
};

/** A value of the column's type. @param expression of the array's type */
export function typed(type: ColumnType, expression: string): string {
  if (type === "json") return `${expression}::json`;
  if (type === "bytes") return `decode(${expression}, 'base64')`;
  if (type !== "timestamp") return expression;
  // In two parts: an interval is multiplied as a double, which has not all digits of a far year's microseconds.
  const part = (of: string, unit: string) => `${of} * interval '1 ${unit}'`;
  return `(timestamptz 'epoch' + ${part(`(${expression} / 1000000)`, "second")} + ${part(`(${expression} % 1000000)`, "microsecond")})`;
}

/** How a column is read. @param column quoted */
export const selectOf = (type: ColumnType, column: string): string =>
  type === "timestamp"
    ? `(extract(epoch from ${column}) * 1000000)::bigint::text`
    : type === "boolean" || type === "bytes"
      ? column
      : `${column}::text`;

/** The canonical value of what `selectOf` gives. */
export function fromSql(type: ColumnType, value: string | boolean | Buffer | null): Scalar {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value !== "string") return value.toString("base64");
  switch (type) {
    case "string":
      return readText(value);
    case "integer":
    case "timestamp":
      return wholeOf(value);
    case "number":
      return Number(value);
    default:
      return value;
  }
}

/** JSON's escapes that an array's text does not know, and text that is written otherwise. */
const UNLIKE_JSON = /\\[^"\\]|[\ufdd0\ufdd1]/;

/**
 * An array as Postgres reads it, which is mostly as JSON has it but for the brackets; pg's own way takes several times as
 * long.
 */
export function arrayText(values: readonly Scalar[]): string {
  const json = JSON.stringify(values);
  if (!UNLIKE_JSON.test(json)) return `{${json.slice(1, -1)}}`;
  const cells = values.map((value) =>
    typeof value === "string" ? `"${writeText(value).replace(/["\\]/g, "\\$&")}"` : String(value),
  );
  return `{${cells.join(",")}}`;
}

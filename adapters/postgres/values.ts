/**
 * Canonical values on their way into Postgres and back.
 *
 *   type       column             written as                    read as
 *   string     text               text (sql/text.ts)            text
 *   integer    bigint             digits                        text
 *   number     double precision   shortest digits               text
 *   boolean    boolean            t, f                          boolean
 *   timestamp  timestamptz        ISO 8601                      microseconds
 *   json       json               text; jsonb would reorder it  text
 *   bytes      bytea              hex                           Buffer
 */
import { Buffer } from "node:buffer";
import { type ColumnType, type Scalar, timestampToIso } from "../../schemas/index.ts";
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

/** Text that Postgres reads as a value of the column's type; null for NULL. */
export function toText(type: ColumnType, value: Scalar | undefined): string | null {
  if (value === null || value === undefined) return null;
  switch (type) {
    case "string":
      return writeText(value as string);
    case "timestamp":
      return isoOf(value as string | number);
    case "bytes":
      return `\\x${Buffer.from(value as string, "base64").toString("hex")}`;
    default:
      return String(value);
  }
}

/** The years from 1970 on, as most are, without bigints. */
function isoOf(micros: string | number): string {
  if (typeof micros === "string" || micros < 0) return timestampToIso(micros);
  const below = micros % 1000;
  const iso = new Date((micros - below) / 1000).toISOString();
  return below === 0 ? iso : `${iso.slice(0, -1)}${String(below).padStart(3, "0")}Z`;
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

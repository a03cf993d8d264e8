/**
 * Canonical values on their way into MySQL or MariaDB and back.
 *
 *   type       column        written as              read as
 *   string     mediumtext    text                    text
 *   integer    bigint        digits                  digits
 *   number     double        shortest digits         number
 *   boolean    boolean       1, 0                    1, 0
 *   timestamp  datetime(6)   UTC                     text, UTC
 *   json       mediumtext    text; MySQL's own type reorders it
 *   bytes      mediumblob    bytes                   bytes
 */
import { Buffer } from "node:buffer";
import { type ColumnType, invariant, parseValue, type Scalar, timestampToIso, unwrap } from "../../schemas/index.ts";
import { wholeOf } from "../sql/values.ts";

/** @param collation of text: by code point, trailing spaces counted */
export function sqlType(type: ColumnType, collation: string): string {
  switch (type) {
    case "string":
    case "json":
      return `mediumtext CHARACTER SET utf8mb4 COLLATE ${collation}`;
    case "integer":
      return "bigint";
    case "number":
      return "double";
    case "boolean":
      return "boolean";
    case "timestamp":
      return "datetime(6)";
    case "bytes":
      return "mediumblob";
  }
}

export function toSql(type: ColumnType, value: Scalar | undefined): string | number | boolean | Buffer | null {
  if (value === null || value === undefined) return null;
  if (type === "bytes") return Buffer.from(value as string, "base64");
  if (type === "timestamp")
    return timestampToIso(value as string | number)
      .replace("T", " ")
      .slice(0, -1);
  return value;
}

export function fromSql(type: ColumnType, value: string | number | Buffer | null): Scalar {
  if (value === null) return null;
  switch (type) {
    case "integer":
      return wholeOf(String(value));
    case "number":
      return Number(value);
    case "boolean":
      return Number(value) === 1;
    case "timestamp":
      return unwrap(parseValue("timestamp", `${String(value).replace(" ", "T")}Z`));
    case "bytes":
      invariant(typeof value === "object", "a blob is bytes");
      return Buffer.from(value).toString("base64");
    default:
      return String(value);
  }
}

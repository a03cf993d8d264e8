/**
 * A cell in its three forms on the device:
 *
 *   type       SQL column   outbox JSON (written by triggers)     canonical Scalar
 *   string     TEXT         string                                string
 *   integer    INTEGER      number; decimal string beyond 2^53    the same
 *   number     REAL         17 digits                             number
 *   boolean    INTEGER      0, 1                                  boolean
 *   timestamp  INTEGER      like integer: microseconds            the same
 *   json       TEXT         string: the text as written           compact JSON text
 *   bytes      BLOB         hex                                   base64
 *   any        ANY          what it is; a boolean is 0 or 1       the same
 *
 * `any` is the type of a column that the app never declared: a table first met in a page or in an untyped tracker call.
 */
import {
  base64ToBytes,
  bytesToBase64,
  type ColumnType,
  canonicalJson,
  checkScalar,
  err,
  isScalar,
  LakeSyncError,
  ok,
  parseValue,
  type Result,
  type Scalar,
  type ValueError,
} from "../../schemas/index.ts";
import type { SqlValue } from "./driver.ts";

export type DeviceType = ColumnType | "any";

export const SQL_TYPES: Readonly<Record<DeviceType, string>> = {
  string: "TEXT",
  integer: "INTEGER",
  number: "REAL",
  boolean: "INTEGER",
  timestamp: "INTEGER",
  json: "TEXT",
  bytes: "BLOB",
  any: "ANY",
};

/** What is bound for a canonical value. */
export function toStored(type: DeviceType, scalar: Scalar): SqlValue {
  if (scalar === null) return null;
  switch (type) {
    case "integer":
    case "timestamp":
      return typeof scalar === "string" ? BigInt(scalar) : (scalar as number);
    case "boolean":
      return scalar ? 1 : 0;
    case "bytes":
      return base64ToBytes(scalar as string);
    case "any":
      if (typeof scalar === "boolean") return scalar ? 1 : 0;
      return typeof scalar === "number" && Number.isSafeInteger(scalar) ? BigInt(scalar) : scalar;
    default:
      return scalar as SqlValue;
  }
}

/** The canonical value of what a column holds. JSON that the app wrote by SQL is as it wrote it until it is acknowledged. */
export function fromStored(type: DeviceType, value: SqlValue): Scalar {
  if (value === null) return null;
  switch (type) {
    case "boolean":
      return value !== 0;
    case "number":
      return Number(value) + 0;
    case "bytes":
      return bytesToBase64(value as Uint8Array);
    case "integer":
    case "timestamp":
      return Number.isSafeInteger(value) ? (value as number) : BigInt(value as number | bigint).toString();
    default:
      return typeof value === "bigint" ? value.toString() : (value as Scalar);
  }
}

/** The canonical value of what a trigger wrote into the outbox, checked like the gateway will. */
export function fromOutbox(type: DeviceType, value: unknown): Result<Scalar, ValueError> {
  if (value === null) return ok(null);
  switch (type) {
    case "any":
      return ok(value as Scalar);
    case "boolean":
      return checkScalar(type, value !== 0);
    case "number":
      return checkScalar(type, Number(value) + 0);
    case "bytes":
      return checkScalar(type, bytesToBase64(hexToBytes(value as string)));
    case "json":
      return checkScalar(type, canonicalJson(value as string) ?? (value as string));
    default:
      return checkScalar(type, value);
  }
}

/** Canonical form of what an app hands to the tracker. */
export function parseInput(type: DeviceType, input: unknown): Result<Scalar, ValueError> {
  if (type !== "any") return parseValue(type, type === "boolean" && (input === 0 || input === 1) ? input === 1 : input);
  if (input === null || typeof input === "boolean") return ok(input);
  if (typeof input === "number") return parseValue("number", input);
  if (typeof input === "bigint") return parseValue("integer", input);
  if (typeof input === "string") return parseValue("string", input);
  return err({
    code: "WrongType",
    message: "Declare the column's type for more than strings, numbers, booleans and null.",
  });
}

/** Refuses what a gateway sends for a column that this app declared otherwise, before it could corrupt the column. */
export function assertType(table: string, column: string, type: DeviceType, scalar: Scalar): void {
  if (type === "any" || isScalar(type, scalar)) return;
  throw new LakeSyncError(
    "WrongType",
    `The gateway holds ${JSON.stringify(scalar).slice(0, 60)} in ${table}.${column}, which this app declares as ${type}. Make them agree.`,
    { table, column },
  );
}

function hexToBytes(hex: string): Uint8Array {
  const bytes = new Uint8Array(hex.length / 2);
  for (let at = 0; at < bytes.length; at++) bytes[at] = Number.parseInt(hex.slice(at * 2, at * 2 + 2), 16);
  return bytes;
}

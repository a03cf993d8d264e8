/**
 * Values of cells. A `Scalar` is a value's one canonical form, a JSON primitive, given its column's type:
 *
 *   type       canonical form                                        what people may hand in
 *   string     string, well-formed Unicode                           string
 *   integer    number; decimal string outside ±(2^53-1); 64 bits     number, bigint, decimal string, { integer }
 *   number     finite IEEE 754 double, never -0                      number, bigint
 *   boolean    boolean                                               boolean
 *   timestamp  microseconds since 1970 UTC, written like an integer  Date, ISO 8601 with zone, { timestamp }
 *   json       compact JSON text                                     any JSON value, { json }
 *   bytes      base64, padded                                        Uint8Array, { bytes }
 *
 * One form per value: equality is `===`, and merging, hashing, storing and sending never need the type. NULL is null (M5).
 */
import { CELL_BYTES_MAX, JSON_DEPTH_MAX } from "./limits.ts";
import { err, ok, type Result } from "./result.ts";

export const COLUMN_TYPES = ["string", "integer", "number", "boolean", "timestamp", "json", "bytes"] as const;
export type ColumnType = (typeof COLUMN_TYPES)[number];

export type Scalar = string | number | boolean | null;

/** Why a value was not taken: the code that a refused delta carries, and a sentence. */
export interface ValueError {
  readonly code: "WrongType" | "CellTooLarge";
  readonly message: string;
}

const INTEGER_MIN = -(2n ** 63n);
const INTEGER_MAX = 2n ** 63n - 1n;
/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z, the years that SQL and Iceberg engines agree on. */
const TIMESTAMP_MIN = -62_135_596_800_000_000n;
const TIMESTAMP_MAX = 253_402_300_799_999_999n;

const DECIMAL = /^-?(?:0|[1-9][0-9]{0,18})$/;
/** Bits that padding leaves unused are zero: bytes have one text (RFC 4648, 3.5). */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$/;
const ISO = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:[.,](\d{1,6}))?)?(Z|[+-]\d{2}:?\d{2}))?$/i;
const utf8 = new TextEncoder();

const wrongType = (type: ColumnType, value: unknown, hint: string): Result<never, ValueError> =>
  err({ code: "WrongType", message: `${describe(value)} is not a value of type ${type}; ${hint}.` });

function describe(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Uint8Array) return "A byte array";
  const text = typeof value === "number" ? String(value) : (jsonText(value) ?? `A ${typeof value}`);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

const fits = (scalar: string): Result<Scalar, ValueError> => {
  const long = scalar.length * 3 > CELL_BYTES_MAX && utf8.encode(scalar).length > CELL_BYTES_MAX;
  if (!long) return ok(scalar);
  return err({
    code: "CellTooLarge",
    message: `The value is larger than ${CELL_BYTES_MAX} bytes; keep large objects elsewhere, and a reference here.`,
  });
};

/** JSON text that everyone who reads it later can read. */
function jsonFits(text: string): Result<Scalar, ValueError> {
  if (text.length > JSON_DEPTH_MAX && depthOf(text) > JSON_DEPTH_MAX)
    return err({
      code: "CellTooLarge",
      message: `The JSON is nested deeper than ${JSON_DEPTH_MAX} levels; make it a string.`,
    });
  return fits(text);
}

/** How deep the arrays and objects of sound JSON text are nested. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const c = text[at];
    if (quoted && c === "\\") at++;
    else if (c === '"') quoted = !quoted;
    else if (quoted) continue;
    else if (c === "[" || c === "{") deepest = Math.max(deepest, ++depth);
    else if (c === "]" || c === "}") depth--;
  }
  return deepest;
}

/** A 64-bit whole number in canonical form, or undefined when it is outside [min, max]. */
function wholeNumber(value: bigint, min: bigint, max: bigint): Scalar | undefined {
  if (value < min || value > max) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

/** The number that a canonical integer or timestamp stands for. */
export const scalarToBigInt = (scalar: string | number): bigint => BigInt(scalar);

/** The safe integers lie within both bounds, or the bounds within them: comparing a number with a bigint is exact. */
const isWhole = (v: unknown, min: bigint, max: bigint): v is string | number =>
  typeof v === "number"
    ? Number.isSafeInteger(v) && !Object.is(v, -0) && v >= min && v <= max
    : typeof v === "string" && DECIMAL.test(v) && wholeNumber(BigInt(v), min, max) === v;

/** Whether a value already is the canonical form for its type. Cheap: it runs for every cell that is pushed in bulk. */
export function isScalar(type: ColumnType, value: unknown): value is Scalar {
  if (value === null) return true;
  switch (type) {
    case "string":
      return typeof value === "string" && value.isWellFormed();
    case "integer":
      return isWhole(value, INTEGER_MIN, INTEGER_MAX);
    case "number":
      return typeof value === "number" && Number.isFinite(value) && !Object.is(value, -0);
    case "boolean":
      return typeof value === "boolean";
    case "timestamp":
      return isWhole(value, TIMESTAMP_MIN, TIMESTAMP_MAX);
    case "json":
      return typeof value === "string" && canonicalJson(value) === value;
    case "bytes":
      return typeof value === "string" && value.length % 4 === 0 && BASE64.test(value);
  }
}

/** Like `isScalar`, with the reason and the size of the cell checked. */
export function checkScalar(type: ColumnType, value: unknown): Result<Scalar, ValueError> {
  if (!isScalar(type, value)) return wrongType(type, value, HINTS[type]);
  if (typeof value !== "string") return ok(value);
  return type === "json" ? jsonFits(value) : fits(value);
}

const HINTS: Record<ColumnType, string> = {
  string: "use a string of well-formed Unicode",
  integer: "use a whole number of 64 bits: a number up to 2^53-1, a bigint, or a decimal string",
  number: "use a finite number",
  boolean: "use true or false",
  timestamp: "use a Date or ISO 8601 text with a zone, such as 2026-01-31T08:00:00Z, in the years 1 to 9999",
  json: "use any JSON value",
  bytes: 'use a Uint8Array, or { "bytes": "<base64>" } in JSON',
};

/** Canonical form of what a person or a JSON body hands in for a column of this type. */
export function parseValue(type: ColumnType, input: unknown): Result<Scalar, ValueError> {
  if (input === null) return ok(null);
  const bad = () => wrongType(type, input, HINTS[type]);
  const value = unwrapTagged(type, input);
  switch (type) {
    case "string":
      return typeof value === "string" && value.isWellFormed() ? fits(value) : bad();
    case "boolean":
      return typeof value === "boolean" ? ok(value) : bad();
    case "number": {
      const number = typeof value === "bigint" ? Number(value) : value;
      return typeof number === "number" && Number.isFinite(number) ? ok(number + 0) : bad();
    }
    case "integer": {
      const whole = toBigInt(value);
      const scalar = whole === undefined ? undefined : wholeNumber(whole, INTEGER_MIN, INTEGER_MAX);
      return scalar === undefined ? bad() : ok(scalar);
    }
    case "timestamp": {
      const micros = toMicros(value);
      const scalar = micros === undefined ? undefined : wholeNumber(micros, TIMESTAMP_MIN, TIMESTAMP_MAX);
      return scalar === undefined ? bad() : ok(scalar);
    }
    case "json": {
      const text = jsonText(value);
      return text === undefined ? bad() : jsonFits(text);
    }
    case "bytes": {
      if (value instanceof Uint8Array) return fits(bytesToBase64(value));
      return typeof value === "string" && BASE64.test(value) ? fits(value) : bad();
    }
  }
}

/** `{ integer: "9007199254740993" }` and its kin, where plain JSON cannot say it; only the tag of the column's own type counts. */
function unwrapTagged(type: ColumnType, input: unknown): unknown {
  if (typeof input !== "object" || input === null || input instanceof Uint8Array || input instanceof Date) return input;
  const keys = Object.keys(input);
  return keys.length === 1 && keys[0] === type ? (input as Record<string, unknown>)[type] : input;
}

function toBigInt(value: unknown): bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  return typeof value === "string" && DECIMAL.test(value) ? BigInt(value) : undefined;
}

function toMicros(value: unknown): bigint | undefined {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : BigInt(value.getTime()) * 1000n;
  if (typeof value !== "string") return undefined;
  const parts = ISO.exec(value);
  if (!parts) return undefined;
  const [, date, minutes = "00:00", seconds = "00", fraction = "", zone = "Z"] = parts;
  const millis = Date.parse(`${date}T${minutes}:${seconds}${zone.toUpperCase()}`);
  if (Number.isNaN(millis) || new Date(`${date}T00:00:00Z`).toJSON()?.slice(0, 10) !== date) return undefined;
  return BigInt(millis) * 1000n + BigInt(fraction.padEnd(6, "0"));
}

function jsonText(value: unknown): string | undefined {
  try {
    const text = JSON.stringify(value);
    return text?.isWellFormed() ? text : undefined;
  } catch {
    return undefined; // a cycle, or a bigint inside
  }
}

/** JSON text as `JSON.stringify` writes it, or undefined when it is not JSON. */
export function canonicalJson(text: string): string | undefined {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** A canonical timestamp, and the microseconds that a Date has no room for. */
function instantOf(scalar: string | number): { readonly date: Date; readonly below: bigint } {
  const micros = scalarToBigInt(scalar);
  const below = ((micros % 1000n) + 1000n) % 1000n;
  return { date: new Date(Number((micros - below) / 1000n)), below };
}

/** ISO 8601 text of a canonical timestamp, with as many digits of a second as it needs. */
export function timestampToIso(scalar: string | number): string {
  const { date, below } = instantOf(scalar);
  const iso = date.toISOString();
  return below === 0n ? iso : iso.replace("Z", `${below.toString().padStart(3, "0")}Z`);
}

/** What a JSON body shows for a canonical value: plain where JSON can say it, tagged where it cannot. */
export function scalarToJson(type: ColumnType, scalar: Scalar): unknown {
  if (scalar === null) return null;
  switch (type) {
    case "integer":
      return typeof scalar === "string" ? { integer: scalar } : scalar;
    case "timestamp":
      return { timestamp: timestampToIso(scalar as string | number) };
    case "json":
      return { json: JSON.parse(scalar as string) };
    case "bytes":
      return { bytes: scalar };
    default:
      return scalar;
  }
}

/** What an app gets for a canonical value: number or bigint, Date, parsed JSON, Uint8Array. A Date drops microseconds. */
export function scalarToNative(type: ColumnType, scalar: Scalar): unknown {
  if (scalar === null) return null;
  switch (type) {
    case "integer":
      return typeof scalar === "string" ? BigInt(scalar) : scalar;
    case "timestamp":
      return instantOf(scalar as string | number).date;
    case "json":
      return JSON.parse(scalar as string);
    case "bytes":
      return base64ToBytes(scalar as string);
    default:
      return scalar;
  }
}

const CHUNK = 0x8000;

export function bytesToBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK) binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(binary);
}

export const bytesToHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export function base64ToBytes(base64: string): Uint8Array {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** Order of strings by Unicode code point, as SQLite, Iceberg and Postgres ("C" collation) have it; UTF-16 order differs. */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const x = a.charCodeAt(at);
    const y = b.charCodeAt(at);
    if (x !== y) return surrogateLast(x) - surrogateLast(y);
  }
  return a.length - b.length;
}

/** Code units reordered so that surrogates (code points above U+FFFF) come after U+E000 to U+FFFF. */
const surrogateLast = (unit: number): number => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800);

/** Order of two non-null canonical values of one type; booleans false before true. */
export function compareScalars(type: ColumnType, a: Exclude<Scalar, null>, b: Exclude<Scalar, null>): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (type === "integer" || type === "timestamp") {
    const [x, y] = [scalarToBigInt(a as string | number), scalarToBigInt(b as string | number)];
    return x < y ? -1 : x > y ? 1 : 0;
  }
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  return compareCodePoints(String(a), String(b));
}

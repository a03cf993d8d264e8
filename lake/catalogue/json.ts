/**
 * JSON without loss. Iceberg's snapshot ids are 64-bit integers and travel as JSON numbers (table spec, appendix C), which
 * JSON.parse rounds above 2^53. Here an integer that a double cannot hold comes out as a bigint, and a bigint goes in as
 * a bare number. Every other value is what JSON.parse and JSON.stringify make of it.
 */

/** ECMAScript's source text access, in V8 since 11.4; the compiler's library does not know it yet. */
interface SourceTextAccess {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
}
const json = JSON as unknown as SourceTextAccess;

/** A number that could be unsafe has at least 16 digits. Without such a run of digits the reviver, which is slow, is not needed. */
const MAYBE_UNSAFE = /\d{16}/;
const INTEGER = /^-?\d+$/;

/** Parses JSON text; unsafe integers become bigint. Throws SyntaxError for what is not JSON. */
export function parseJson(text: string): unknown {
  if (!MAYBE_UNSAFE.test(text)) return JSON.parse(text);
  return json.parse(text, (_key, value, { source }) =>
    typeof value === "number" && !Number.isSafeInteger(value) && source !== undefined && INTEGER.test(source)
      ? BigInt(source)
      : value,
  );
}

/** JSON text of a value; a bigint becomes a bare integer. */
export function stringifyJson(value: unknown): string {
  return JSON.stringify(value, (_key, part) => (typeof part === "bigint" ? json.rawJSON(part.toString()) : part));
}

/** A 64-bit id as JSON gives it: a number while a double can hold it, a bigint above. */
export type Id64 = number | bigint;

/** Ids compare by their digits: 7 and 7n are one id. Also the form in which SQLite keeps them. */
export const idKey = (id: Id64): string => id.toString();

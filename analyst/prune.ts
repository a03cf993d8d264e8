/**
 * Which files a query cannot need, by the bounds in their manifest entries (Iceberg spec, "Scan Planning"). The predicates
 * are those that DuckDB itself would push down to the scan, as it prints them; what is not understood prunes nothing.
 */
import { decodeLong, decodeString, type LakeField, type LiveEntry } from "../lake/index.ts";
import { compareCodePoints } from "../schemas/index.ts";
import { microsOf } from "./engine.ts";

export interface Predicate {
  readonly column: string;
  readonly op: "=" | "<" | "<=" | ">" | ">=";
  /** As DuckDB prints it, without quotes and type. */
  readonly value: string;
}

const COMPARISON = /^"?([^"'<>=!()]+?)"?\s*(<=|>=|=|<|>)\s*(.+)$/s;
const LITERAL = /^(?:'((?:[^']|'')*)'(?:::[A-Z ]+)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false))$/s;
const IN = /^"?([^"'<>=!()]+?)"? IN \((.+)\)$/s;

/** Predicates that all rows of a scan must fulfil. */
export function predicatesOf(filters: readonly string[]): Predicate[] {
  return filters.flatMap((filter) => splitOutside(filter, " AND ").flatMap(predicateOf));
}

function predicateOf(part: string): Predicate[] {
  const text = part.trim().replace(/^optional: /, "");
  if (splitOutside(text, " OR ").length > 1) return [];
  const list = IN.exec(text);
  if (list) {
    const values = splitOutside(list[2] ?? "", ", ").map(literalOf);
    const [column = "", first] = [list[1], values[0]];
    // Only of one value; the least and greatest of several depend on the type.
    return values.length === 1 && first !== undefined ? [{ column, op: "=", value: first }] : [];
  }
  const [, column = "", op = "", right = ""] = COMPARISON.exec(text) ?? [];
  const value = literalOf(right);
  return column === "" || value === undefined ? [] : [{ column, op: op as Predicate["op"], value }];
}

function literalOf(text: string): string | undefined {
  const [, string, number, boolean] = LITERAL.exec(text.trim()) ?? [];
  return string?.replaceAll("''", "'") ?? number ?? boolean;
}

/** Parts between separators that are in no quotes and no brackets. */
function splitOutside(text: string, separator: string): string[] {
  const parts: string[] = [];
  let [start, depth, quote] = [0, 0, ""];
  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string;
    if (quote !== "") quote = char === quote ? "" : quote;
    else if (char === "'" || char === '"') quote = char;
    else if (char === "(") depth++;
    else if (char === ")") depth--;
    else if (depth === 0 && text.startsWith(separator, at)) {
      parts.push(text.slice(start, at));
      start = at + separator.length;
      at = start - 1;
    }
  }
  return [...parts, text.slice(start)];
}

/** Whether no row of a file can fulfil all of the predicates. */
export function rulesOut(entry: LiveEntry, fields: readonly LakeField[], predicates: readonly Predicate[]): boolean {
  return predicates.some((predicate) => {
    const field = fields.find(({ name }) => name === predicate.column);
    return field !== undefined && misses(entry, field, predicate);
  });
}

function misses({ data_file: file }: LiveEntry, field: LakeField, { op, value }: Predicate): boolean {
  const id = field.fieldId;
  const [lower, upper] = [file.lower_bounds?.get(id), file.upper_bounds?.get(id)];
  const comparable = (bytes: Uint8Array | undefined) => (bytes ? compareTo(field, bytes, value) : undefined);
  const [low, high] = [comparable(lower), comparable(upper)];
  // DuckDB's NaN is greater than every number, and in no bounds.
  const nans = Number(file.nan_value_counts?.get(id) ?? 0) > 0 || (field.type === "double" && !file.nan_value_counts);
  const below = high !== undefined && !nans && (op === ">" ? high <= 0 : high < 0);
  const above = low !== undefined && (op === "<" ? low >= 0 : low > 0);
  if (op === "=") return (high !== undefined && high < 0 && !nans) || (low !== undefined && low > 0);
  return op === ">" || op === ">=" ? below : above;
}

/** A bound against a printed value: negative where it is less; undefined where the two do not compare. */
function compareTo({ type }: LakeField, bound: Uint8Array, value: string): number | undefined {
  const sign = <T extends number | bigint>(a: T, b: T) => (a < b ? -1 : Number(a > b));
  if (type === "string") return compareCodePoints(decodeString(bound), value);
  if (type === "long") return /^-?\d+$/.test(value) ? sign(decodeLong(bound), BigInt(value)) : undefined;
  if (type === "timestamptz") {
    const iso = /^(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?)?$/.exec(value);
    if (!iso) return undefined;
    const [, day = "", time = "00:00:00", rest = ""] = iso;
    return sign(decodeLong(bound), microsOf(`${day}T${time}.${rest.padEnd(6, "0")}Z`));
  }
  if (type !== "double" || !/\d/.test(value)) return undefined;
  const number = new DataView(bound.buffer, bound.byteOffset, 8).getFloat64(0, true);
  return Number.isNaN(number) ? undefined : sign(number, Number(value));
}

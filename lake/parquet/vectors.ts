/**
 * Columns of scalars as Arrow vectors, with what the manifest has to know of them: how many nulls, the least, the
 * greatest. One pass a column, straight into typed arrays; flechette only carries them into an IPC stream.
 */
import { base64ToBytes, compareCodePoints, type Scalar } from "../../schemas/index.ts";
import type { Bound, ParquetColumn } from "./types.ts";

/** Buffers of an Arrow array (Arrow columnar format, "Physical memory layout"), and the column's metrics. */
export interface Vector {
  readonly length: number;
  readonly nulls: number;
  /** One bit a row, least significant first, set where there is a value; empty where there are no nulls. */
  readonly validity: Uint8Array;
  readonly values: Uint8Array | Float64Array | BigInt64Array;
  readonly offsets?: Int32Array;
  readonly nans?: number;
  readonly lower?: Bound;
  readonly upper?: Bound;
  /** Whether so many values repeat that a dictionary pays. */
  readonly repeats: boolean;
}

/** Rows in the order in which they are written. */
export type RowOrder = Uint32Array | undefined;

/** @param rows how many @param order row i of the file is entry order[i] of the column */
export function buildVector(column: ParquetColumn, rows: number, order: RowOrder): Vector {
  if (column.values instanceof BigInt64Array) return bigVector(column.values, rows, order);
  const values = column.values;
  const at = order ? (i: number) => values[order[i] as number] as Scalar : (i: number) => values[i] as Scalar;
  const { validity, nulls } = validityOf(at, rows);
  const base = { length: rows, nulls, validity, repeats: repeats(at, rows) };
  switch (column.type) {
    case "string":
      return { ...base, ...utf8(at, rows) };
    case "long":
    case "timestamptz":
      return { ...base, ...longs(at, rows) };
    case "double":
      return { ...base, ...doubles(at, rows) };
    case "boolean":
      return { ...base, ...booleans(at, rows) };
    case "binary":
      return { ...base, ...binaries(at, rows) };
  }
}

type At = (row: number) => Scalar;

function validityOf(at: At, rows: number): { validity: Uint8Array; nulls: number } {
  let nulls = 0;
  for (let i = 0; i < rows; i++) if (at(i) === null) nulls++;
  if (nulls === 0) return { validity: new Uint8Array(0), nulls };
  const validity = new Uint8Array((rows + 7) >> 3);
  for (let i = 0; i < rows; i++) if (at(i) !== null) validity[i >> 3] = (validity[i >> 3] as number) | (1 << (i & 7));
  return { validity, nulls };
}

const SAMPLE = 1024;
/** A dictionary of values that hardly repeat costs time and bytes: it holds the column once more (docs/decisions). */
const DISTINCT_MAX = 0.5;

/** Judges by a sample spread over the column. */
function repeats(at: At, rows: number): boolean {
  const step = Math.max(1, Math.floor(rows / SAMPLE));
  const seen = new Set<Scalar>();
  let looked = 0;
  for (let i = 0; i < rows; i += step) {
    seen.add(at(i));
    looked++;
  }
  return seen.size <= looked * DISTINCT_MAX;
}

const encoder = new TextEncoder();

function utf8(at: At, rows: number): Pick<Vector, "values" | "offsets" | "lower" | "upper"> {
  const texts: string[] = new Array(rows);
  for (let i = 0; i < rows; i++) texts[i] = (at(i) as string | null) ?? "";
  const joined = texts.join("");
  const values = encoder.encode(joined);
  const ascii = values.length === joined.length;
  const compare = ascii ? (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0) : compareCodePoints;
  const offsets = new Int32Array(rows + 1);
  let lower: string | undefined;
  let upper: string | undefined;
  for (let i = 0, end = 0; i < rows; i++) {
    const text = texts[i] as string;
    end += ascii ? text.length : utf8Bytes(text);
    offsets[i + 1] = end;
    if (text === upper || (text === "" && at(i) === null)) continue;
    // Most columns ascend, or hold few values: one look at each text is enough.
    if (upper === undefined || compare(text, upper) > 0) upper = text;
    else if (lower === undefined || compare(text, lower) < 0) lower = text;
    lower ??= text;
  }
  return { values, offsets, ...bounds(lower, upper) };
}

/** Length in UTF-8 of well-formed text. */
function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // Two surrogates are four bytes, so each adds one to its code unit.
    if (unit >= 0x80) bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}

const TWO_32 = 2 ** 32;

function longs(at: At, rows: number): Pick<Vector, "values" | "lower" | "upper"> {
  const values = new BigInt64Array(rows);
  const words = new Int32Array(values.buffer);
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  let lowBig: bigint | undefined;
  let highBig: bigint | undefined;
  for (let i = 0; i < rows; i++) {
    const value = at(i);
    if (typeof value === "number") {
      words[i * 2] = value; // both halves modulo 2^32, as ToInt32 has it: exact for whole numbers
      words[i * 2 + 1] = Math.floor(value / TWO_32);
      if (value < low) low = value;
      if (value > high) high = value;
    } else if (value !== null) {
      const big = BigInt(value);
      values[i] = big;
      if (lowBig === undefined || big < lowBig) lowBig = big;
      if (highBig === undefined || big > highBig) highBig = big;
    }
  }
  const small = low <= high;
  const lower = small && (lowBig === undefined || lowBig > low) ? BigInt(low) : lowBig;
  const upper = small && (highBig === undefined || highBig < high) ? BigInt(high) : highBig;
  return { values, ...bounds(lower, upper) };
}

function bigVector(source: BigInt64Array, rows: number, order: RowOrder): Vector {
  const values = order ? new BigInt64Array(rows) : source.subarray(0, rows);
  let lower: bigint | undefined;
  let upper: bigint | undefined;
  for (let i = 0; i < rows; i++) {
    const value = source[order ? (order[i] as number) : i] as bigint;
    if (order) values[i] = value;
    if (lower === undefined || value < lower) lower = value;
    if (upper === undefined || value > upper) upper = value;
  }
  return { length: rows, nulls: 0, validity: new Uint8Array(0), values, repeats: false, ...bounds(lower, upper) };
}

function doubles(at: At, rows: number): Pick<Vector, "values" | "nans" | "lower" | "upper"> {
  const values = new Float64Array(rows);
  let lower: number | undefined;
  let upper: number | undefined;
  let nans = 0;
  for (let i = 0; i < rows; i++) {
    const value = at(i) as number | null;
    if (value === null) continue;
    values[i] = value;
    if (Number.isNaN(value)) nans++;
    else {
      if (lower === undefined || value < lower) lower = value;
      if (upper === undefined || value > upper) upper = value;
    }
  }
  return { values, nans, ...bounds(lower, upper) };
}

function booleans(at: At, rows: number): Pick<Vector, "values" | "lower" | "upper"> {
  const values = new Uint8Array((rows + 7) >> 3);
  let some = 0;
  let yes = 0;
  for (let i = 0; i < rows; i++) {
    const value = at(i);
    if (value === null) continue;
    some++;
    if (value === true) {
      yes++;
      values[i >> 3] = (values[i >> 3] as number) | (1 << (i & 7));
    }
  }
  return { values, ...(some > 0 ? bounds(yes === some, yes > 0) : {}) };
}

function binaries(at: At, rows: number): Pick<Vector, "values" | "offsets" | "lower" | "upper"> {
  const chunks: Uint8Array[] = [];
  const offsets = new Int32Array(rows + 1);
  let lower: Uint8Array | undefined;
  let upper: Uint8Array | undefined;
  let end = 0;
  for (let i = 0; i < rows; i++) {
    const value = at(i) as string | null;
    if (value !== null) {
      const bytes = base64ToBytes(value);
      chunks.push(bytes);
      end += bytes.length;
      if (lower === undefined || compareBytes(bytes, lower) < 0) lower = bytes;
      if (upper === undefined || compareBytes(bytes, upper) > 0) upper = bytes;
    }
    offsets[i + 1] = end;
  }
  const values = new Uint8Array(end);
  let start = 0;
  for (const chunk of chunks) {
    values.set(chunk, start);
    start += chunk.length;
  }
  return { values, offsets, ...bounds(lower, upper) };
}

/** Unsigned, byte by byte. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return (a[i] as number) - (b[i] as number);
  return a.length - b.length;
}

const bounds = (lower: Bound | undefined, upper: Bound | undefined): { lower?: Bound; upper?: Bound } =>
  lower === undefined || upper === undefined ? {} : { lower, upper };

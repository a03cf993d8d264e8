/** Metrics of a file out of those of its parts. */
import { compareCodePoints } from "../../schemas/index.ts";
import type { Bound, ColumnMetrics, ParquetMetrics } from "./types.ts";
import { compareBytes } from "./vectors.ts";

/** Of parts with the same columns that follow each other; where row groups begin is not known here. */
export function joinMetrics(a: ParquetMetrics, b: ParquetMetrics): Omit<ParquetMetrics, "splitOffsets"> {
  return { rows: a.rows + b.rows, columns: a.columns.map((column, at) => joined(column, b.columns[at] ?? column)) };
}

function joined(a: ColumnMetrics, b: ColumnMetrics): ColumnMetrics {
  const lower = outer(a.lower, b.lower, -1);
  const upper = outer(a.upper, b.upper, 1);
  return {
    fieldId: a.fieldId,
    type: a.type,
    values: a.values + b.values,
    nulls: a.nulls + b.nulls,
    ...(a.nans === undefined ? {} : { nans: a.nans + (b.nans ?? 0) }),
    ...(lower === undefined || upper === undefined ? {} : { lower, upper }),
    bytes: a.bytes + b.bytes,
  };
}

/** The lesser of two bounds (side -1) or the greater (1); one that is not there says nothing. */
function outer(a: Bound | undefined, b: Bound | undefined, side: -1 | 1): Bound | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareBounds(b, a) * side > 0 ? b : a;
}

/** Order of two bounds of one type. */
function compareBounds(a: Bound, b: Bound): number {
  if (typeof a === "string") return compareCodePoints(a, b as string);
  if (a instanceof Uint8Array) return compareBytes(a, b as Uint8Array);
  return a < b ? -1 : a > b ? 1 : 0;
}

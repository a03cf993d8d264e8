/** Columns of an answer as Arrow, and back (https://arrow.apache.org/docs/format/Columnar.html). */
import { arrowOf, type LakeType, type ParquetColumn } from "../lake/index.ts";
import { bytesToBase64, type Scalar } from "../schemas/index.ts";
import { microsOf } from "./engine.ts";

/** An IPC stream. Types that the lake does not have become the nearest that it has: decimals doubles, others text. */
export function answerArrow(
  names: readonly string[],
  types: readonly string[],
  values: readonly (readonly unknown[])[],
): Uint8Array {
  const columns = names.map((name, at): ParquetColumn => {
    const type = lakeTypeOf(types[at] ?? "");
    return { name, fieldId: at + 1, type, required: false, values: (values[at] ?? []).map((v) => scalarOf(type, v)) };
  });
  return arrowOf(columns, values[0]?.length ?? 0);
}

function lakeTypeOf(type: string): LakeType {
  if (/^U?(TINY|SMALL|BIG)?INT$|^U?INTEGER$/.test(type)) return "long";
  if (/^(DOUBLE|FLOAT|DECIMAL|U?HUGEINT)/.test(type)) return "double";
  if (type === "BOOLEAN") return "boolean";
  if (/^TIMESTAMP/.test(type)) return "timestamptz";
  return type === "BLOB" ? "binary" : "string";
}

function scalarOf(type: LakeType, value: unknown): Scalar {
  if (value === null || value === undefined) return null;
  if (type === "long") return typeof value === "bigint" ? value.toString() : (value as number);
  if (type === "double") return Number(value);
  if (type === "timestamptz") return microsOf(value as string).toString();
  if (value instanceof Uint8Array) return bytesToBase64(value);
  return type === "string" && typeof value !== "string" ? JSON.stringify(value) : (value as Scalar);
}

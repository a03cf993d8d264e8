/** The SQL engine below the analyst: DuckDB in Node (duckdb-node.ts) or in a browser (duckdb-wasm.ts). */
import type { LakeType } from "../lake/index.ts";
import type { Scalar } from "../schemas/index.ts";

/** How DuckDB calls the lake's types. Timestamps are UTC without a zone, so that no time zone database is needed. */
export const SQL_TYPES: Readonly<Record<LakeType, string>> = {
  string: "VARCHAR",
  long: "BIGINT",
  double: "DOUBLE",
  boolean: "BOOLEAN",
  timestamptz: "TIMESTAMP",
  binary: "BLOB",
};

/** Where a query's tables are; made anew for each. */
export const QUERY_SCHEMA = "lake";

/** A column that goes in; no values are nulls throughout. */
export interface EngineColumn {
  readonly name: string;
  readonly type: LakeType;
  readonly values: readonly Scalar[] | undefined;
}

/**
 * What a query answers, column by column. Values are null, booleans, strings, numbers, bigints past 2^53, bytes; timestamps
 * and dates as ISO 8601; nested values as the engine has them in JSON.
 */
export interface Answer {
  readonly names: readonly string[];
  /** DuckDB's names. */
  readonly types: readonly string[];
  readonly values: readonly (readonly unknown[])[];
  /** The same as an Arrow IPC stream. */
  arrow(): Uint8Array;
}

export interface SqlEngine {
  /** Runs a statement that answers nothing. */
  run(sql: string): Promise<void>;
  query(sql: string): Promise<Answer>;
  /** Appends rows to a table of the query's schema, all of its columns in their order. */
  insert(table: string, columns: readonly EngineColumn[], rows: number): Promise<void>;
  close(): Promise<void>;
}

export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** Microseconds since 1970 as ISO 8601, without the zeros at the end. */
export function isoOf(micros: bigint): string {
  const millis = micros >= 0n ? micros / 1000n : -((-micros + 999n) / 1000n);
  const rest = Number(micros - millis * 1000n);
  const text = new Date(Number(millis)).toISOString();
  return rest === 0 ? text : text.replace("Z", `${String(rest).padStart(3, "0")}Z`);
}

/** As a number where it is one without loss. */
export const plainInteger = (value: bigint): number | bigint => {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
};

/** Microseconds of an ISO 8601 text in UTC, as `isoOf` writes it. */
export function microsOf(iso: string): bigint {
  const [, upToMillis = iso, rest = "0"] = /^(.*\.\d{3})(\d{3})Z$/.exec(iso) ?? [];
  return BigInt(Date.parse(upToMillis.endsWith("Z") ? upToMillis : `${upToMillis}Z`)) * 1000n + BigInt(rest);
}

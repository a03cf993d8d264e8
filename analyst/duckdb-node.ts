/** DuckDB in Node: `@duckdb/node-api`, an optional peer dependency. */
import { zstdDecompressSync } from "node:zlib";
import type { DuckDBConnection, DuckDBType, DuckDBValue } from "@duckdb/node-api";
import { initZstd, type LakeType } from "../lake/index.ts";
import { base64ToBytes, type Scalar } from "../schemas/index.ts";
import { answerArrow } from "./arrow.ts";
import { type Answer, type EngineColumn, isoOf, plainInteger, QUERY_SCHEMA, type SqlEngine } from "./engine.ts";

type Api = typeof import("@duckdb/node-api");

/** Rows of a chunk; DuckDB's own vectors have as many. */
const CHUNK = 2048;

export interface DuckDbNodeOptions {
  /** Settings of DuckDB, such as `{ threads: "2", memory_limit: "1GB" }`. */
  readonly config?: Readonly<Record<string, string>>;
}

export async function openDuckDb(options: DuckDbNodeOptions): Promise<SqlEngine> {
  const api = await import("@duckdb/node-api");
  initZstd(zstdDecompressSync);
  const instance = await api.DuckDBInstance.create(":memory:", { ...options.config });
  return new DuckDbNode(api, await instance.connect(), () => instance.closeSync());
}

class DuckDbNode implements SqlEngine {
  readonly #api: Api;
  readonly #connection: DuckDBConnection;
  readonly #close: () => void;

  constructor(api: Api, connection: DuckDBConnection, close: () => void) {
    this.#api = api;
    this.#connection = connection;
    this.#close = close;
  }

  async run(sql: string): Promise<void> {
    await this.#connection.run(sql);
  }

  async query(sql: string): Promise<Answer> {
    const result = await this.#connection.runAndReadAll(sql);
    const names = result.deduplicatedColumnNames();
    const types = result.columnTypes();
    const json = types.some(isNested) ? result.getColumnsJson() : [];
    const values = result
      .getColumns()
      .map((column, at) =>
        isNested(types[at] as DuckDBType) ? (json[at] ?? []) : column.map((v) => plain(v, this.#api)),
      );
    const typeNames = types.map(String);
    return { names, types: typeNames, values, arrow: () => answerArrow(names, typeNames, values) };
  }

  async insert(table: string, columns: readonly EngineColumn[], rows: number): Promise<void> {
    const appender = await this.#connection.createAppender(table, QUERY_SCHEMA);
    const types = columns.map((_, at) => appender.columnType(at));
    for (let from = 0; from < rows; from += CHUNK) {
      const count = Math.min(CHUNK, rows - from);
      const chunk = this.#api.DuckDBDataChunk.create(types, count);
      chunk.setColumns(
        columns.map(({ type, values }) =>
          values
            ? values.slice(from, from + count).map((value) => this.#value(type, value))
            : new Array(count).fill(null),
        ),
      );
      appender.appendDataChunk(chunk);
    }
    appender.closeSync();
  }

  #value(type: LakeType, value: Scalar): DuckDBValue {
    if (value === null) return null;
    if (type === "long") return BigInt(value as string | number);
    if (type === "timestamptz") return new this.#api.DuckDBTimestampValue(BigInt(value as string | number));
    return type === "binary" ? new this.#api.DuckDBBlobValue(base64ToBytes(value as string)) : value;
  }

  async close(): Promise<void> {
    this.#connection.closeSync();
    this.#close();
  }
}

const isNested = (type: DuckDBType): boolean => /[[({]/.test(String(type)) && !/^DECIMAL/.test(String(type));

function plain(value: DuckDBValue, api: Api): unknown {
  if (typeof value === "bigint") return plainInteger(value);
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof api.DuckDBTimestampValue || value instanceof api.DuckDBTimestampTZValue)
    return isoOf(value.micros);
  if (value instanceof api.DuckDBBlobValue) return value.bytes;
  return value instanceof api.DuckDBDecimalValue ? value.toDouble() : value.toString();
}

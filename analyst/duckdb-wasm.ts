/**
 * DuckDB in a browser: an `AsyncDuckDB` of `@duckdb/duckdb-wasm`, an optional peer dependency, which the app instantiates,
 * since only its bundler knows where worker and wasm are. Named here by shape: nothing is imported.
 */
import { tableFromIPC } from "@uwdata/flechette";
import { arrowOf, type ParquetColumn } from "../lake/index.ts";
import { type Answer, type EngineColumn, isoOf, plainInteger, quoted, SQL_TYPES, type SqlEngine } from "./engine.ts";

interface WasmConnection {
  useUnsafe<R>(callback: (bindings: WasmBindings, connection: number) => R): R;
  insertArrowFromIPCStream(
    buffer: Uint8Array,
    options: { name: string; create?: boolean; schema?: string },
  ): Promise<void>;
  close(): Promise<void>;
}
interface WasmBindings {
  runQuery(connection: number, sql: string): Promise<Uint8Array>;
}

/** What is used of an `AsyncDuckDB`. */
export interface WasmDatabase {
  connect(): Promise<WasmConnection>;
  terminate(): Promise<void>;
}

export async function duckdbWasm(database: WasmDatabase): Promise<SqlEngine> {
  return new DuckDbWasm(database, await database.connect());
}

const ARRIVING = "arriving";

class DuckDbWasm implements SqlEngine {
  readonly #database: WasmDatabase;
  readonly #connection: WasmConnection;

  constructor(database: WasmDatabase, connection: WasmConnection) {
    this.#database = database;
    this.#connection = connection;
  }

  async run(sql: string): Promise<void> {
    await this.#ipc(sql);
  }

  #ipc(sql: string): Promise<Uint8Array> {
    // biome-ignore lint/correctness/useHookAtTopLevel: no hook of React
    return this.#connection.useUnsafe((bindings, connection) => bindings.runQuery(connection, sql));
  }

  async query(sql: string): Promise<Answer> {
    const ipc = await this.#ipc(sql);
    const table = tableFromIPC(ipc, { useBigInt: true });
    const names = table.schema.fields.map(({ name }) => name);
    const types = table.schema.fields.map(({ type }) => typeName(type as ArrowType));
    const values = names.map((_, at) => Array.from(table.getChildAt(at), (value) => plain(types[at] ?? "", value)));
    return { names, types, values, arrow: () => ipc };
  }

  /** Through a table of its own, since times arrive with a zone. */
  async insert(table: string, columns: readonly EngineColumn[], rows: number): Promise<void> {
    const filled = columns.filter((column) => column.values !== undefined);
    const arrow = filled.map(
      ({ name, type, values = [] }, at): ParquetColumn => ({
        name,
        fieldId: at + 1,
        type: type === "timestamptz" ? "long" : type,
        required: false,
        values,
      }),
    );
    await this.#connection.insertArrowFromIPCStream(arrowOf(arrow, rows), { name: ARRIVING, create: true });
    const names = filled.map(({ name }) => quoted(name)).join(", ");
    const casts = filled.map(({ name, type }) =>
      type === "timestamptz" ? `make_timestamp(${quoted(name)})` : `${quoted(name)}::${SQL_TYPES[type]}`,
    );
    await this.run(`INSERT INTO ${quoted(table)} (${names}) SELECT ${casts.join(", ")} FROM ${ARRIVING}`);
    await this.run(`DROP TABLE ${ARRIVING}`);
  }

  async close(): Promise<void> {
    await this.#connection.close();
    await this.#database.terminate();
  }
}

interface ArrowType {
  readonly typeId: number;
  readonly bitWidth?: number;
  readonly signed?: boolean;
}

/** Arrow's type ids (Arrow format, Schema.fbs), by DuckDB's names. */
const NAMES: Readonly<Record<number, string>> = {
  3: "DOUBLE",
  4: "BLOB",
  5: "VARCHAR",
  6: "BOOLEAN",
  7: "DECIMAL",
  8: "DATE",
  10: "TIMESTAMP",
};

function typeName({ typeId, bitWidth, signed }: ArrowType): string {
  if (typeId !== 2) return NAMES[typeId] ?? "JSON";
  const name = { 8: "TINYINT", 16: "SMALLINT", 32: "INTEGER" }[bitWidth ?? 64] ?? "BIGINT";
  return signed === false ? `U${name}` : name;
}

/** Times come as milliseconds with a fraction. */
function plain(type: string, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (typeof value === "bigint") return plainInteger(value);
  if (type === "TIMESTAMP") return isoOf(BigInt(Math.round(Number(value) * 1000)));
  return type === "DATE" ? new Date(Number(value)).toISOString().slice(0, 10) : value;
}

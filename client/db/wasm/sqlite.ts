/**
 * wa-sqlite's synchronous build behind the driver port. Runs where the module runs: in a dedicated worker, and under Node in
 * tests. SQLite itself is called directly; only a file system that keeps its pages elsewhere (idb-vfs.ts) is awaited,
 * after each commit.
 */
import type { Clock } from "../../../core/index.ts";
import type { Driver, ResultSet, SqlParam, SqlValue, TableUse } from "../driver.ts";
import { DriverError, sqlError } from "../errors.ts";
import { isSchemaChange, StatementCache } from "../statement-cache.ts";
import { TableWatch } from "../table-watch.ts";
import { trackingFunctions } from "../tracking.ts";

type Pointer = number;

/** What the module exports, as far as it is used; integers of 64 bits come as two halves. */
export interface SqliteModule {
  readonly HEAPU8: Uint8Array;
  getValue(at: Pointer, type: "*"): Pointer;
  getTempRet0(): number;
  UTF8ToString(at: Pointer): string;
  ccall(name: string, result: string | null, types: string[], args: unknown[]): number;
  registerVFS(vfs: object, makeDefault: boolean): number;
  setAuthorizer(
    db: Pointer,
    allow: (context: unknown, action: number, arg1: string | null, arg2: string | null) => number,
    context: unknown,
  ): number;
  createFunction(
    db: Pointer,
    name: string,
    arity: number,
    encoding: number,
    context: unknown,
    call: (context: Pointer, values: Uint32Array) => void,
  ): number;
  _sqlite3_malloc(bytes: number): Pointer;
  _sqlite3_free(at: Pointer): void;
  _sqlite3_prepare_v2(db: Pointer, sql: Pointer, bytes: number, statement: Pointer, tail: Pointer): number;
  _sqlite3_step(statement: Pointer): number;
  _sqlite3_reset(statement: Pointer): number;
  _sqlite3_finalize(statement: Pointer): number;
  _sqlite3_bind_null(statement: Pointer, at: number): number;
  _sqlite3_bind_double(statement: Pointer, at: number, value: number): number;
  _sqlite3_bind_int(statement: Pointer, at: number, value: number): number;
  _sqlite3_bind_int64(statement: Pointer, at: number, low: number, high: number): number;
  _sqlite3_bind_text(statement: Pointer, at: number, text: Pointer, bytes: number, free: Pointer): number;
  _sqlite3_bind_blob(statement: Pointer, at: number, blob: Pointer, bytes: number, free: Pointer): number;
  _sqlite3_column_count(statement: Pointer): number;
  _sqlite3_column_name(statement: Pointer, at: number): Pointer;
  _sqlite3_column_type(statement: Pointer, at: number): number;
  _sqlite3_column_double(statement: Pointer, at: number): number;
  _sqlite3_column_int64(statement: Pointer, at: number): number;
  _sqlite3_column_text(statement: Pointer, at: number): Pointer;
  _sqlite3_column_blob(statement: Pointer, at: number): Pointer;
  _sqlite3_column_bytes(statement: Pointer, at: number): number;
  _sqlite3_value_type(value: Pointer): number;
  _sqlite3_value_double(value: Pointer): number;
  _sqlite3_value_text(value: Pointer): Pointer;
  _sqlite3_result_null(context: Pointer): void;
  _sqlite3_result_int64(context: Pointer, low: number, high: number): void;
  _sqlite3_result_text(context: Pointer, text: Pointer, bytes: number, free: Pointer): void;
  _sqlite3_changes(db: Pointer): number;
  _sqlite3_errmsg(db: Pointer): Pointer;
  _sqlite3_get_autocommit(db: Pointer): number;
  _sqlite3_close(db: Pointer): number;
  _getSqliteFree(): Pointer;
}

/** Where the pages are kept. */
export interface FileSystem {
  readonly backend: "memory" | "opfs" | "idb";
  readonly identity: string;
  /** Registered with SQLite; absent for memory. wa-sqlite's build holds paths to 64 bytes, so all of them use `DB_PATH`. */
  readonly vfs?: { readonly name: string };
  /** Settings that suit it. */
  readonly pragmas: string;
  /** Makes what was committed durable; absent where SQLite's own writes are. */
  flush?(): Promise<void>;
  close(): Promise<void>;
}

/** What a driver says of itself once a call was cut off in its middle. */
const torn = () => new DriverError("StorageUnavailable", "The database was cut off in a call.");

/** Of the database within its file system. */
export const DB_PATH = "db";

const ROW = 100;
const DONE = 101;
const INTEGER = 1;
const FLOAT = 2;
const TEXT = 3;
const BLOB = 4;
const UTF8 = 1;
const READWRITE_CREATE = 2 | 4;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

interface Prepared {
  readonly at: Pointer;
  readonly use: TableUse;
  readonly columns: readonly string[];
}

export class WasmDriver implements Driver {
  readonly backend: FileSystem["backend"];
  readonly identity: string;
  readonly #m: SqliteModule;
  readonly #files: FileSystem;
  readonly #db: Pointer;
  readonly #free: Pointer;
  readonly #watch = new TableWatch();
  readonly #statements: StatementCache<Prepared>;
  /** A call is inside SQLite. */
  #inside = false;

  /** @throws DriverError `StorageUnavailable`, `Corrupt` */
  static async open(module: SqliteModule, files: FileSystem, name: string, clock: Clock): Promise<WasmDriver> {
    const driver = new WasmDriver(module, files, name);
    try {
      await driver.script(`${files.pragmas} PRAGMA recursive_triggers = ON; PRAGMA temp_store = MEMORY;`);
      driver.#extend(clock);
      await driver.execute("SELECT count(*) FROM sqlite_schema");
      return driver;
    } catch (error) {
      await driver.close();
      throw error;
    }
  }

  private constructor(module: SqliteModule, files: FileSystem, name: string) {
    this.#m = module;
    this.#files = files;
    this.backend = files.backend;
    this.identity = files.identity;
    this.#free = module._getSqliteFree();
    this.#statements = new StatementCache(({ at }) => module._sqlite3_finalize(at));
    if (files.vfs) module.registerVFS(files.vfs, false);
    const out = module._sqlite3_malloc(8);
    const vfs = files.vfs?.name ?? null;
    const args = [files.vfs ? DB_PATH : ":memory:", out, READWRITE_CREATE, vfs];
    const result = module.ccall("sqlite3_open_v2", "number", ["string", "number", "number", "string"], args);
    this.#db = module.getValue(out, "*");
    module._sqlite3_free(out);
    this.#check(result, `open ${name}`);
  }

  /**
   * True once something (a browser that ends its worker, a trap, an exception that came through SQLite) has cut a call off
   * in the middle. Such a SQLite still answers, and may acknowledge writes that it never commits: nobody must ask it again.
   */
  get torn(): boolean {
    return this.#inside;
  }

  async execute(sql: string, params: readonly SqlParam[] = []): Promise<ResultSet> {
    const result = this.#whole(() => {
      const statement = this.#prepare(sql);
      const { columns, use } = statement;
      const rows = this.#run(statement, params, sql);
      if (isSchemaChange(sql)) this.#statements.clear();
      const changes = columns.length > 0 || use.writes.length === 0 ? 0 : this.#m._sqlite3_changes(this.#db);
      return { columns, rows, changes, writes: changes > 0 || rows.length > 0 ? use.writes : [] };
    });
    await this.#settle();
    return result;
  }

  async executeMany(sql: string, paramLists: readonly (readonly SqlParam[])[]): Promise<ResultSet> {
    const result = this.#whole(() => {
      const statement = this.#prepare(sql);
      let changes = 0;
      for (const params of paramLists) {
        this.#run(statement, params, sql);
        changes += this.#m._sqlite3_changes(this.#db);
      }
      return { columns: [], rows: [], changes, writes: changes > 0 ? statement.use.writes : [] };
    });
    await this.#settle();
    return result;
  }

  async script(sql: string): Promise<void> {
    this.#whole(() => {
      this.#statements.clear();
      const types = ["number", "string", "number", "number", "number"];
      this.#check(this.#m.ccall("sqlite3_exec", "number", types, [this.#db, sql, 0, 0, 0]), sql);
    });
    await this.#settle();
  }

  async tablesOf(sql: string): Promise<TableUse> {
    return this.#whole(() => this.#prepare(sql).use);
  }

  async close(): Promise<void> {
    if (!this.#inside) {
      this.#statements.clear();
      this.#m._sqlite3_close(this.#db);
      await this.#files.flush?.();
    }
    await this.#files.close();
  }

  /** Code that is ended by the browser passes through neither `catch` nor `finally`: what is left set, tells it. */
  #whole<T>(work: () => T): T {
    if (this.#inside) throw torn();
    this.#inside = true;
    try {
      const result = work();
      this.#inside = false;
      return result;
    } catch (error) {
      if (!(error instanceof DriverError)) throw torn();
      this.#inside = false;
      throw error;
    }
  }

  /** Outside of a transaction everything is committed, and has to be kept. */
  async #settle(): Promise<void> {
    if (this.#files.flush && this.#m._sqlite3_get_autocommit(this.#db) !== 0) await this.#files.flush();
  }

  #extend(clock: Clock): void {
    const m = this.#m;
    for (const [name, { arity, call }] of trackingFunctions(clock)) {
      m.createFunction(this.#db, name, arity, UTF8, 0, (context, values) => {
        try {
          this.#result(context, call(...Array.from({ length: arity }, (_, at) => this.#value(values[at] as Pointer))));
        } catch (cause) {
          throw new Error("torn", { cause }); // torn, whatever it was
        }
      });
    }
    m.setAuthorizer(
      this.#db,
      (_, action, arg1, arg2) => {
        this.#watch.note(action, arg1, arg2);
        return 0;
      },
      0,
    );
  }

  #prepare(sql: string): Prepared {
    return this.#statements.get(sql, () => {
      const m = this.#m;
      const text = this.#copy(encoder.encode(sql));
      const out = m._sqlite3_malloc(8);
      this.#watch.start();
      const result = m._sqlite3_prepare_v2(this.#db, text, encoder.encode(sql).length, out, out + 4);
      const use = this.#watch.stop();
      const at = m.getValue(out, "*");
      m._sqlite3_free(text);
      m._sqlite3_free(out);
      this.#check(result, sql);
      const columns = Array.from({ length: at === 0 ? 0 : m._sqlite3_column_count(at) }, (_, column) =>
        m.UTF8ToString(m._sqlite3_column_name(at, column)),
      );
      return { at, use, columns };
    });
  }

  #run({ at, columns }: Prepared, params: readonly SqlParam[], sql: string): SqlValue[][] {
    const m = this.#m;
    if (at === 0) return []; // nothing but a comment
    const rows: SqlValue[][] = [];
    try {
      for (let index = 0; index < params.length; index++)
        this.#check(this.#bind(at, index + 1, params[index] as SqlParam), sql);
      for (;;) {
        const result = m._sqlite3_step(at);
        if (result === DONE) return rows;
        if (result !== ROW) this.#check(result, sql);
        rows.push(columns.map((_, column) => this.#column(at, column)));
      }
    } finally {
      m._sqlite3_reset(at);
    }
  }

  #bind(at: Pointer, index: number, param: SqlParam): number {
    const m = this.#m;
    if (param === null) return m._sqlite3_bind_null(at, index);
    if (typeof param === "boolean") return m._sqlite3_bind_int(at, index, Number(param));
    if (typeof param === "number") {
      if (param === (param | 0)) return m._sqlite3_bind_int(at, index, param);
      return m._sqlite3_bind_double(at, index, param);
    }
    if (typeof param === "bigint")
      return m._sqlite3_bind_int64(
        at,
        index,
        Number(BigInt.asIntN(32, param)),
        Number(BigInt.asIntN(64, param) >> 32n),
      );
    const bytes = typeof param === "string" ? encoder.encode(param) : param;
    if (!(bytes instanceof Uint8Array)) throw new DriverError("WrongType", `SQLite takes no ${typeof param}.`);
    const copy = this.#copy(bytes);
    return typeof param === "string"
      ? m._sqlite3_bind_text(at, index, copy, bytes.length, this.#free)
      : m._sqlite3_bind_blob(at, index, copy, bytes.length, this.#free);
  }

  #column(at: Pointer, column: number): SqlValue {
    const m = this.#m;
    switch (m._sqlite3_column_type(at, column)) {
      case INTEGER: {
        const low = m._sqlite3_column_int64(at, column);
        return wholeNumber(low, m.getTempRet0());
      }
      case FLOAT:
        return m._sqlite3_column_double(at, column);
      case TEXT: {
        const text = m._sqlite3_column_text(at, column);
        return decoder.decode(m.HEAPU8.subarray(text, text + m._sqlite3_column_bytes(at, column)));
      }
      case BLOB: {
        const blob = m._sqlite3_column_blob(at, column);
        return m.HEAPU8.slice(blob, blob + m._sqlite3_column_bytes(at, column));
      }
      default:
        return null;
    }
  }

  /** Arguments of our own functions: numbers and ASCII text. */
  #value(value: Pointer): SqlValue {
    const type = this.#m._sqlite3_value_type(value);
    if (type === TEXT) return this.#m.UTF8ToString(this.#m._sqlite3_value_text(value));
    return type === INTEGER || type === FLOAT ? this.#m._sqlite3_value_double(value) : null;
  }

  #result(context: Pointer, value: SqlValue): void {
    const m = this.#m;
    if (typeof value === "number" || typeof value === "bigint") {
      const whole = BigInt(value);
      m._sqlite3_result_int64(context, Number(BigInt.asIntN(32, whole)), Number(whole >> 32n));
    } else if (typeof value === "string") {
      const bytes = encoder.encode(value);
      m._sqlite3_result_text(context, this.#copy(bytes), bytes.length, this.#free);
    } else m._sqlite3_result_null(context);
  }

  #copy(bytes: Uint8Array): Pointer {
    const at = this.#m._sqlite3_malloc(bytes.length + 1);
    if (at === 0) throw sqlError({ message: "out of memory", errcode: 7 }, "");
    this.#m.HEAPU8.set(bytes, at);
    this.#m.HEAPU8[at + bytes.length] = 0;
    return at;
  }

  #check(result: number, what: string): void {
    if (result === 0) return;
    throw sqlError({ message: this.#m.UTF8ToString(this.#m._sqlite3_errmsg(this.#db)), errcode: result }, what);
  }
}

function wholeNumber(low: number, high: number): number | bigint {
  const value = high * 2 ** 32 + (low >>> 0);
  return Number.isSafeInteger(value) ? value : (BigInt(high) << 32n) | BigInt(low >>> 0);
}

export const MEMORY: FileSystem = { backend: "memory", identity: "memory", pragmas: "", close: async () => undefined };

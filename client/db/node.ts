/**
 * `node:sqlite` behind the driver port. Calls run at once on this thread; the promises are there for the port.
 *
 * A file is locked for as long as it is open: a second process would have a clock of its own and give out the same stamps
 * (C3), so it is refused instead.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { LakeSyncError } from "../../schemas/index.ts";
import type { Driver, DriverOptions, ResultSet, SqlParam, SqlValue, TableUse } from "./driver.ts";
import { sqlError } from "./errors.ts";
import { isSchemaChange, StatementCache } from "./statement-cache.ts";
import { TableWatch } from "./table-watch.ts";
import { trackingFunctions } from "./tracking.ts";

interface Prepared {
  readonly statement: StatementSync;
  readonly use: TableUse;
  readonly columns: readonly string[];
}

/** @throws LakeSyncError `StorageUnavailable` when the file cannot be opened or another process has it */
export async function openNodeDriver(options: DriverOptions): Promise<Driver> {
  if (options.backend === "opfs" || options.backend === "idb")
    throw new LakeSyncError(
      "StorageUnavailable",
      `Backend "${options.backend}" exists in browsers only; in Node use "file" or "memory".`,
    );
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
  const path = options.backend === "memory" ? ":memory:" : (options.path ?? `${options.name}.sqlite`);
  let opened: DatabaseSync | undefined;
  try {
    const db = new DatabaseSync(path, { timeout: 0 });
    opened = db;
    db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
    db.exec("PRAGMA recursive_triggers = ON; PRAGMA cache_size = -16000; BEGIN IMMEDIATE; COMMIT;");
    return new NodeDriver(db, path, options);
  } catch (cause) {
    opened?.close();
    throw failed(cause, `open ${path}`);
  }
}

function failed(cause: unknown, what: string): LakeSyncError {
  const { code, message, details } = sqlError(cause, what);
  return new LakeSyncError(code, message, details, { cause });
}

class NodeDriver implements Driver {
  readonly backend: "memory" | "file";
  readonly identity: string;
  readonly #db: DatabaseSync;
  readonly #watch = new TableWatch();
  readonly #statements = new StatementCache<Prepared>(() => undefined);

  constructor(db: DatabaseSync, path: string, options: DriverOptions) {
    this.#db = db;
    this.backend = path === ":memory:" ? "memory" : "file";
    this.identity = this.backend === "memory" ? "memory" : fileIdentity(path);
    for (const [name, { call }] of trackingFunctions(options.clock))
      db.function(name, { useBigIntArguments: false }, call as (...args: unknown[]) => SqlValue);
    db.setAuthorizer((action, arg1, arg2) => {
      this.#watch.note(action, arg1, arg2);
      return 0;
    });
  }

  async execute(sql: string, params: readonly SqlParam[] = []): Promise<ResultSet> {
    try {
      const { statement, use, columns } = this.#prepare(sql);
      if (columns.length > 0) {
        const rows = allRows(statement, params);
        return { columns, rows, changes: 0, writes: rows.length > 0 ? use.writes : [] };
      }
      const changes = Number(statement.run(...params.map(bind)).changes);
      if (isSchemaChange(sql)) this.#statements.clear();
      return { columns, rows: [], changes, writes: changes > 0 ? use.writes : [] };
    } catch (cause) {
      throw failed(cause, sql);
    }
  }

  async executeMany(sql: string, paramLists: readonly (readonly SqlParam[])[]): Promise<ResultSet> {
    try {
      const { statement, use } = this.#prepare(sql);
      let changes = 0;
      for (const params of paramLists) changes += Number(statement.run(...(params as SqlValue[])).changes);
      return { columns: [], rows: [], changes, writes: changes > 0 ? use.writes : [] };
    } catch (cause) {
      throw failed(cause, sql);
    }
  }

  async script(sql: string): Promise<void> {
    try {
      this.#statements.clear();
      this.#db.exec(sql);
    } catch (cause) {
      throw failed(cause, sql);
    }
  }

  async tablesOf(sql: string): Promise<TableUse> {
    try {
      return this.#prepare(sql).use;
    } catch (cause) {
      throw failed(cause, sql);
    }
  }

  async close(): Promise<void> {
    this.#statements.clear();
    if (this.#db.isOpen) this.#db.close();
  }

  #prepare(sql: string): Prepared {
    return this.#statements.get(sql, () => {
      this.#watch.start();
      const statement = this.#db.prepare(sql);
      const use = this.#watch.stop();
      statement.setReturnArrays(true);
      return { statement, use, columns: statement.columns().map((c) => c.name) };
    });
  }
}

const bind = (param: SqlParam): SqlValue => (typeof param === "boolean" ? Number(param) : param);

function allRows(statement: StatementSync, params: readonly SqlParam[]): SqlValue[][] {
  const bound = params.map(bind);
  try {
    return statement.all(...bound) as unknown as SqlValue[][];
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  // An integer beyond 2^53 among the rows: read again with bigints, and give those that fit as numbers.
  statement.setReadBigInts(true);
  try {
    const rows = statement.all(...bound) as unknown as SqlValue[][];
    return rows.map((row) => row.map(narrow));
  } finally {
    statement.setReadBigInts(false);
  }
}

const narrow = (value: SqlValue): SqlValue =>
  typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value;

/** Device and inode: a copy of a file has another inode, a moved file keeps it. */
function fileIdentity(path: string): string {
  const { dev, ino } = process.getBuiltinModule("node:fs").statSync(path, { bigint: true });
  return `${dev}:${ino}`;
}

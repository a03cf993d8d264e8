/**
 * MySQL or MariaDB as a destination of flushes, by mysql2: a connection string in Node, a Hyperdrive binding's in a Worker
 * (docs/backends.md; the tables that it makes are in sql/database.ts).
 */
import type { Connection, Pool, PoolConnection } from "mysql2/promise";
import { LakeSyncError } from "../../schemas/index.ts";
import { SqlAdapter } from "../sql/adapter.ts";
import { again, type Connections, inTransaction } from "../sql/again.ts";
import type { Load, SqlDatabase, SqlReader, SqlWriter } from "../sql/database.ts";
import { closedAdapter } from "../sql/names.ts";
import { CONNECT_MS, CONNECTIONS_MAX, type SqlOptions } from "../sql/options.ts";
import type { MergedRow } from "../sql/page.ts";
import type { TableRecord } from "../sql/table.ts";
import { errorOf, isLost, isRace } from "./errors.ts";
import { loadOf } from "./load.ts";
import { MysqlSession } from "./session.ts";

/** `connectionString`: `mysql://user:password@host:3306/database`. */
export interface MySQLOptions extends SqlOptions {
  /** The database of all tables, made where it is missing; the connection string's by default. */
  readonly schema?: string;
}

export class MySQLAdapter extends SqlAdapter {
  constructor(options: MySQLOptions) {
    super(new MysqlDatabase(options));
  }
}

class MysqlDatabase implements SqlDatabase {
  readonly #options: MySQLOptions;
  readonly #name: string;
  /** Made when it is needed: it holds a timer. */
  #pool: Pool | undefined;
  #closed = false;
  /** Whether the server reads text as mysql2 writes it. */
  #safe = false;

  constructor(options: MySQLOptions) {
    this.#options = options;
    this.#name = options.name ?? "MySQL";
  }

  async #open(): Promise<Connection> {
    // Only where there is such a database: a Worker that has none does not start it.
    const { createConnection, createPool } = await import("mysql2/promise");
    const uri = new URL(this.#options.connectionString);
    uri.searchParams.delete("ssl-mode"); // Hyperdrive's, which mysql2 does not know
    const settings = {
      uri: uri.href,
      connectTimeout: CONNECT_MS,
      charset: "utf8mb4_bin",
      dateStrings: true,
      supportBigNumbers: true,
      bigNumberStrings: true,
      // A Worker makes no code at run time; values are the same.
      disableEval: true,
    };
    const kept = this.#options.connections !== "each";
    if (kept) this.#pool ??= createPool({ ...settings, connectionLimit: CONNECTIONS_MAX });
    const connection = this.#pool ? await this.#pool.getConnection() : await createConnection(settings);
    if (!this.#safe) await this.#check(connection);
    return connection;
  }

  /** mysql2 escapes with backslashes (S3). */
  async #check(connection: Connection): Promise<void> {
    const [rows] = await connection.query("SELECT @@sql_mode AS mode");
    const mode = String((rows as { mode: string }[])[0]?.mode);
    if (mode.includes("NO_BACKSLASH_ESCAPES"))
      throw new LakeSyncError(
        "DestinationUnavailable",
        `${this.#name} has NO_BACKSLASH_ESCAPES in its sql_mode, under which values cannot be written safely; take it out.`,
      );
    this.#safe = true;
  }

  load(record: TableRecord, rows: readonly MergedRow[]): Load {
    return loadOf(record, rows);
  }

  read<T>(body: (reader: SqlReader) => Promise<T>): Promise<T> {
    return this.#again((connection) => body(new MysqlSession(connection, this.#options.schema)));
  }

  /** The lock of a table's record is the first that a body reads: what it reads later is newer, under any isolation. */
  transaction<T>(body: (writer: SqlWriter) => Promise<T>): Promise<T> {
    return this.#again((connection) => {
      const run = (sql: string) => connection.query(sql);
      const session = new MysqlSession(connection, this.#options.schema);
      return inTransaction({ begin: "START TRANSACTION", run, isLost }, () => body(session));
    });
  }

  #again<T>(body: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#closed) throw closedAdapter(this.#name);
    const connections: Connections<Connection> = {
      open: () => this.#open(),
      release: async (connection, broken) => {
        if (broken) connection.destroy();
        else if (this.#pool) (connection as PoolConnection).release();
        else await connection.end();
      },
      isRace,
      isLost,
      errorOf: (failure) => errorOf(failure, this.#name),
    };
    return again(connections, body);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#pool?.end();
    this.#pool = undefined;
  }
}

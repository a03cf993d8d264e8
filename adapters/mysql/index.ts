/**
 * MySQL or MariaDB as a destination of flushes, by mysql2: a connection string in Node, a Hyperdrive binding's in a Worker
 * (docs/backends.md; the tables that it makes are in sql/database.ts).
 */
import { SqlAdapter } from "../sql/adapter.ts";
import type { Load, SqlDatabase, SqlReader, SqlWriter } from "../sql/database.ts";
import type { SqlOptions } from "../sql/options.ts";
import type { MergedRow } from "../sql/page.ts";
import type { TableRecord } from "../sql/table.ts";
import { loadOf } from "./load.ts";
import { MysqlPool } from "./pool.ts";
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
  readonly #schema: string | undefined;
  readonly #pool: MysqlPool;

  constructor(options: MySQLOptions) {
    this.#schema = options.schema;
    this.#pool = new MysqlPool(options);
  }

  load(record: TableRecord, rows: readonly MergedRow[]): Load {
    return loadOf(record, rows);
  }

  read<T>(body: (reader: SqlReader) => Promise<T>): Promise<T> {
    return this.#pool.run((connection) => body(new MysqlSession(connection, this.#schema)));
  }

  /** The lock of a table's record is the first that a body reads: what it reads later is newer, under any isolation. */
  transaction<T>(body: (writer: SqlWriter) => Promise<T>): Promise<T> {
    return this.#pool.transaction((connection) => body(new MysqlSession(connection, this.#schema)));
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

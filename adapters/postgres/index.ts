/**
 * Postgres as a destination of flushes, by pg: a connection string in Node, a Hyperdrive binding's in a Worker
 * (docs/backends.md; the tables that it makes are in sql/database.ts).
 */
import { SqlAdapter } from "../sql/adapter.ts";
import { inTransaction } from "../sql/again.ts";
import type { Load, SqlDatabase, SqlReader, SqlWriter } from "../sql/database.ts";
import type { SqlOptions } from "../sql/options.ts";
import type { MergedRow } from "../sql/page.ts";
import type { TableRecord } from "../sql/table.ts";
import { isLost } from "./errors.ts";
import { loadOf } from "./load.ts";
import { APPLIES, BEGIN as PLAIN, PostgresPool } from "./pool.ts";
import { PostgresSession } from "./session.ts";

/** `connectionString`: `postgres://user:password@host:5432/database`, with `?sslmode=...` where TLS is to be chosen. */
export interface PostgresOptions extends SqlOptions {
  /** The Postgres schema of all tables; made where it is missing. */
  readonly schema?: string;
  /**
   * Whether new rows are sent by COPY, the fastest way; by default where connections are kept. Cloudflare does not say whether
   * Hyperdrive passes it on.
   */
  readonly copy?: boolean;
}

const BEGIN = `${PLAIN}; SET LOCAL ${APPLIES} = 'on'`;

export class PostgresAdapter extends SqlAdapter {
  constructor(options: PostgresOptions) {
    super(new PostgresDatabase(options));
  }
}

class PostgresDatabase implements SqlDatabase {
  readonly #pool: PostgresPool;
  readonly #schema: string;
  readonly #copies: boolean;

  constructor(options: PostgresOptions) {
    this.#copies = options.copy ?? (options.connections ?? "kept") === "kept";
    this.#schema = options.schema ?? "public";
    this.#pool = new PostgresPool(options);
  }

  load(record: TableRecord, rows: readonly MergedRow[]): Load {
    return loadOf(record, rows, this.#copies);
  }

  read<T>(body: (reader: SqlReader) => Promise<T>): Promise<T> {
    return this.#pool.run((client) => body(new PostgresSession(client, this.#schema)));
  }

  transaction<T>(body: (writer: SqlWriter) => Promise<T>): Promise<T> {
    return this.#pool.run((client) => {
      const session = new PostgresSession(client, this.#schema);
      const run = (sql: string) => session.run(sql);
      return inTransaction({ begin: BEGIN, run, isLost }, () => body(session));
    });
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

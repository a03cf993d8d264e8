/**
 * Postgres as a destination of flushes, by pg: a connection string in Node, a Hyperdrive binding's in a Worker
 * (docs/backends.md; the tables that it makes are in sql/database.ts).
 */
import pg from "pg";
import { SqlAdapter } from "../sql/adapter.ts";
import { again, inTransaction } from "../sql/again.ts";
import type { Load, SqlDatabase, SqlReader, SqlWriter } from "../sql/database.ts";
import { closedAdapter } from "../sql/names.ts";
import { CONNECT_MS, CONNECTIONS_MAX, type SqlOptions } from "../sql/options.ts";
import type { MergedRow } from "../sql/page.ts";
import type { TableRecord } from "../sql/table.ts";
import { errorOf, isLost, isRace } from "./errors.ts";
import { loadOf } from "./load.ts";
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

/** Hyperdrive ends a statement after 60 s; what takes longer is not going to end well. */
const STATEMENT_MS = 60_000;

export class PostgresAdapter extends SqlAdapter {
  constructor(options: PostgresOptions) {
    super(new PostgresDatabase(options));
  }
}

class PostgresDatabase implements SqlDatabase {
  readonly #pool: pg.Pool;
  readonly #schema: string;
  readonly #name: string;
  readonly #copies: boolean;
  #closed = false;

  constructor(options: PostgresOptions) {
    const { connectionString, schema = "public", connections = "kept", name = "Postgres" } = options;
    this.#copies = options.copy ?? connections === "kept";
    this.#schema = schema;
    this.#name = name;
    this.#pool = new pg.Pool({
      connectionString,
      max: CONNECTIONS_MAX,
      connectionTimeoutMillis: CONNECT_MS,
      query_timeout: STATEMENT_MS,
      allowExitOnIdle: true,
      application_name: "lakesync",
      ...(connections === "each" && { maxUses: 1 }),
    });
    // A connection that breaks while nobody uses it is replaced; who uses one is told by the next query.
    this.#pool.on("error", () => {});
    this.#pool.on("connect", (client) => client.on("error", () => {}));
  }

  load(record: TableRecord, rows: readonly MergedRow[]): Load {
    return loadOf(record, rows, this.#copies);
  }

  read<T>(body: (reader: SqlReader) => Promise<T>): Promise<T> {
    return this.#again((client) => body(new PostgresSession(client, this.#schema)));
  }

  transaction<T>(body: (writer: SqlWriter) => Promise<T>): Promise<T> {
    return this.#again((client) => {
      const session = new PostgresSession(client, this.#schema);
      const run = (sql: string) => session.run(sql);
      // Whatever the database's default: a statement has to see what was committed while it waited for a lock.
      return inTransaction({ begin: "BEGIN ISOLATION LEVEL READ COMMITTED", run, isLost }, () => body(session));
    });
  }

  #again<T>(body: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    if (this.#closed) throw closedAdapter(this.#name);
    const connections = {
      open: () => this.#pool.connect(),
      release: (client: pg.PoolClient, broken: boolean) => client.release(broken),
      isRace,
      isLost,
      errorOf: (failure: unknown) => errorOf(failure, this.#name),
    };
    return again(connections, body);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#pool.end();
  }
}

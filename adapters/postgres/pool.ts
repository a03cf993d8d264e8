/** Connections to a Postgres, and work that is done on them: whole, again where it broke off, or with an error that says what to do. */
import pg from "pg";
import { again, inTransaction } from "../sql/again.ts";
import { closedAdapter } from "../sql/names.ts";
import { CONNECT_MS, CONNECTIONS_MAX, type SqlOptions } from "../sql/options.ts";
import { errorOf, isLost, isRace } from "./errors.ts";

/** Hyperdrive ends a statement after 60 s; what takes longer is not going to end well. */
const STATEMENT_MS = 60_000;

/** Whatever the database's default: a statement has to see what was committed while it waited for a lock. */
export const BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED";

/** Set while a flush writes: what comes from sync is no edit of somebody else's (feed.ts). Ends with the transaction. */
export const APPLIES = "lakesync.applies";

export const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;

export class PostgresPool {
  readonly #pool: pg.Pool;
  readonly #name: string;
  #closed = false;

  constructor({ connectionString, connections = "kept", name = "Postgres" }: SqlOptions) {
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

  transaction<T>(body: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    return this.run((client) =>
      inTransaction({ begin: BEGIN, run: (sql) => client.query(sql), isLost }, () => body(client)),
    );
  }

  run<T>(body: (client: pg.PoolClient) => Promise<T>): Promise<T> {
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

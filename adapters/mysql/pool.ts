/** Connections to a MySQL or MariaDB, and work that is done on them: whole, again where it broke off, or with an error that says what to do. */
import type { Connection, Pool, PoolConnection } from "mysql2/promise";
import { LakeSyncError } from "../../schemas/index.ts";
import { again, type Connections, inTransaction } from "../sql/again.ts";
import { closedAdapter } from "../sql/names.ts";
import { CONNECT_MS, CONNECTIONS_MAX, type SqlOptions } from "../sql/options.ts";
import { errorOf, isLost, isRace } from "./errors.ts";

export const quote = (name: string): string => `\`${name.replaceAll("`", "``")}\``;

export class MysqlPool {
  readonly #options: SqlOptions;
  readonly #name: string;
  /** Made when it is needed: it holds a timer. */
  #pool: Pool | undefined;
  #closed = false;
  /** Whether the server reads text as mysql2 writes it. */
  #safe = false;

  readonly #isRace: (failure: unknown) => boolean;

  /** @param races what is done again at once */
  constructor(options: SqlOptions, races = isRace) {
    this.#options = options;
    this.#isRace = races;
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

  transaction<T>(body: (connection: Connection) => Promise<T>, begin = "START TRANSACTION"): Promise<T> {
    return this.run((connection) =>
      inTransaction({ begin, run: (sql) => connection.query(sql), isLost }, () => body(connection)),
    );
  }

  run<T>(body: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#closed) throw closedAdapter(this.#name);
    const connections: Connections<Connection> = {
      open: () => this.#open(),
      release: async (connection, broken) => {
        if (broken) connection.destroy();
        else if (this.#pool) (connection as PoolConnection).release();
        else await connection.end();
      },
      isRace: this.#isRace,
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

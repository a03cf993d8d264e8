/**
 * Kysely on a LocalDB: typed SQL over the tables that sync. Its writes are tracked like any other (C8), so that nothing here
 * knows of sync. LocalDB runs one transaction at a time, which is all that Kysely asks of its one connection.
 */
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";
import type { LocalDB, Queryable, SqlParam } from "../../client/index.ts";

export const lakesyncDialect = (db: LocalDB): Dialect => ({
  createAdapter: () => new SqliteAdapter(),
  createDriver: () => new LocalDriver(db),
  createIntrospector: (kysely) => new SqliteIntrospector(kysely),
  createQueryCompiler: () => new SqliteQueryCompiler(),
});

/** Whether a statement answers rows: a SELECT, or a write with RETURNING. */
function givesRows({ query }: CompiledQuery): boolean {
  if (query.kind === "RawNode")
    return /^\s*(?:select|with|pragma|values)\b|\breturning\b/i.test(query.sqlFragments.join("?"));
  return query.kind === "SelectQueryNode" || ("returning" in query && query.returning !== undefined);
}

class Connection implements DatabaseConnection {
  readonly #db: LocalDB;
  #transaction: { readonly tx: Queryable; end(how: "commit" | "rollback"): Promise<void> } | undefined;

  constructor(db: LocalDB) {
    this.#db = db;
  }

  async executeQuery<R>(compiled: CompiledQuery): Promise<QueryResult<R>> {
    const on = this.#transaction?.tx ?? this.#db;
    const parameters = compiled.parameters as readonly SqlParam[];
    if (givesRows(compiled)) return { rows: await on.query<R>(compiled.sql, parameters) };
    const { changes } = await on.exec(compiled.sql, parameters);
    return { rows: [], numAffectedRows: BigInt(changes) };
  }

  // biome-ignore lint/correctness/useYield: Kysely asks for it, SQLite answers all at once
  async *streamQuery(): AsyncGenerator<never> {
    throw new Error("SQLite answers all rows at once: use execute().");
  }

  /** LocalDB's transaction lasts as long as the function that it is given: here until Kysely says how it ends. */
  begin(): Promise<void> {
    return new Promise((begun, failed) => {
      const over = this.#db.transaction(
        (tx) =>
          new Promise<void>((commit, rollback) => {
            const end = async (how: "commit" | "rollback") => {
              this.#transaction = undefined;
              if (how === "commit") commit();
              else rollback(ROLLED_BACK);
              await over.catch((error) => {
                if (error !== ROLLED_BACK) throw error;
              });
            };
            this.#transaction = { tx, end };
            begun();
          }),
      );
      over.catch(failed);
    });
  }

  async end(how: "commit" | "rollback"): Promise<void> {
    await this.#transaction?.end(how);
  }
}

const ROLLED_BACK = new Error("rolled back");

class LocalDriver implements Driver {
  readonly #connection: Connection;
  /** Whoever has the connection, and those who wait for it. */
  #turn: Promise<void> = Promise.resolve();
  #release: () => void = () => undefined;

  constructor(db: LocalDB) {
    this.#connection = new Connection(db);
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<Connection> {
    const before = this.#turn;
    let release: () => void = () => undefined;
    this.#turn = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    this.#release = release;
    return this.#connection;
  }

  async releaseConnection(): Promise<void> {
    this.#release();
  }

  beginTransaction = (connection: DatabaseConnection): Promise<void> => (connection as Connection).begin();
  commitTransaction = (connection: DatabaseConnection): Promise<void> => (connection as Connection).end("commit");
  rollbackTransaction = (connection: DatabaseConnection): Promise<void> => (connection as Connection).end("rollback");

  /** The database is the app's: it closes it. */
  async destroy(): Promise<void> {}
}

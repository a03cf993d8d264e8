/** `SqlStore` over `node:sqlite`: in memory for tests and the simulation, in a file where a shard runs under Node. */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { SqlRow, SqlStore, SqlValue } from "../ports/index.ts";

export class NodeSqlStore implements SqlStore {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, { readonly statement: StatementSync; readonly reads: boolean }>();
  #rowsWritten = 0;
  #depth = 0;

  /** @param path of a file, or ":memory:" */
  constructor(path = ":memory:") {
    this.#db = new DatabaseSync(path);
    this.#db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  }

  exec<Row extends SqlRow = SqlRow>(sql: string, ...bindings: SqlValue[]): Row[] {
    const { statement, reads } = this.#statements.get(sql) ?? this.#prepare(sql);
    if (reads) return statement.all(...bindings) as Row[];
    this.#rowsWritten += Number(statement.run(...bindings).changes);
    return [];
  }

  #prepare(sql: string) {
    const statement = this.#db.prepare(sql);
    const prepared = { statement, reads: statement.columns().length > 0 };
    this.#statements.set(sql, prepared);
    return prepared;
  }

  transaction<T>(body: () => T): T {
    const savepoint = `s${this.#depth++}`;
    this.#db.exec(`SAVEPOINT ${savepoint}`);
    try {
      const result = body();
      this.#db.exec(`RELEASE ${savepoint}`);
      return result;
    } catch (error) {
      this.#db.exec(`ROLLBACK TO ${savepoint}; RELEASE ${savepoint}`);
      throw error;
    } finally {
      this.#depth--;
    }
  }

  get rowsWritten(): number {
    return this.#rowsWritten;
  }

  get sizeBytes(): number {
    const [row] = this.exec<{ bytes: number }>(
      "SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()",
    );
    return row?.bytes ?? 0;
  }

  close(): void {
    this.#db.close();
  }
}

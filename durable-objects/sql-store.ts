/** `SqlStore` over the SQLite of a Durable Object. */
import type { SqlRow, SqlStore, SqlValue } from "../core/index.ts";

export class DurableSqlStore implements SqlStore {
  readonly #storage: DurableObjectStorage;
  #rowsWritten = 0;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  exec<Row extends SqlRow = SqlRow>(sql: string, ...bindings: SqlValue[]): Row[] {
    const cursor = this.#storage.sql.exec(sql, ...bindings);
    const rows = cursor.toArray() as unknown as Row[];
    this.#rowsWritten += cursor.rowsWritten;
    return rows;
  }

  transaction<T>(body: () => T): T {
    return this.#storage.transactionSync(body);
  }

  get rowsWritten(): number {
    return this.#rowsWritten;
  }

  get sizeBytes(): number {
    return this.#storage.sql.databaseSize;
  }
}

/** A store that is read by several who ask the same, while nobody writes: each question is answered once. */
import type { SqlRow, SqlStore, SqlValue } from "../ports/index.ts";

export class Remembering implements SqlStore {
  readonly #sql: SqlStore;
  readonly #known = new Map<string, SqlRow[]>();

  constructor(sql: SqlStore) {
    this.#sql = sql;
  }

  exec<Row extends SqlRow = SqlRow>(sql: string, ...bindings: SqlValue[]): Row[] {
    const question = JSON.stringify([sql, ...bindings]);
    const rows = this.#known.get(question) ?? this.#sql.exec<Row>(sql, ...bindings);
    this.#known.set(question, rows);
    return rows as Row[];
  }

  transaction<T>(body: () => T): T {
    return this.#sql.transaction(body);
  }

  get rowsWritten(): number {
    return this.#sql.rowsWritten;
  }

  get sizeBytes(): number {
    return this.#sql.sizeBytes;
  }
}

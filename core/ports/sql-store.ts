/** A synchronous SQLite database: `ctx.storage.sql` of a Durable Object, or `node:sqlite`. */

export type SqlValue = string | number | null | Uint8Array;
export type SqlRow = Readonly<Record<string, SqlValue>>;

export interface SqlStore {
  /** Runs one statement and gives all its rows. At most 100 bindings and 100 KB of SQL; pass lists through json_each. */
  exec<Row extends SqlRow = SqlRow>(sql: string, ...bindings: SqlValue[]): Row[];
  /** Runs `body` in one transaction: all of its writes become durable together, or none when it throws. */
  transaction<T>(body: () => T): T;
  /** Rows written since the store was opened, index entries included: what a Durable Object bills. */
  readonly rowsWritten: number;
  /** Bytes of the database. */
  readonly sizeBytes: number;
}

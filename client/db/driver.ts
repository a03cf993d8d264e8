/**
 * The port to a SQLite database. One connection, used by one caller at a time: `LocalDB` queues what comes at once. Every
 * implementation registers the SQL functions of `tracking.ts` and reports which tables a statement touches.
 *
 *   node.ts     node:sqlite, a file or memory
 *   worker      wa-sqlite in a dedicated worker: OPFS, IndexedDB or memory
 */
import type { Clock } from "../../core/index.ts";

export type SqlValue = string | number | bigint | null | Uint8Array;

/** What a caller may bind; booleans are stored as 0 and 1. */
export type SqlParam = SqlValue | boolean;

export interface ResultSet {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly SqlValue[])[];
  /** Rows that the statement itself inserted, updated or deleted; triggers' work does not count. */
  readonly changes: number;
  /** Tables that it wrote, those of triggers included; empty when nothing changed. */
  readonly writes: readonly string[];
}

/** Tables that a statement reads and writes, triggers and views looked through. */
export interface TableUse {
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}

export interface Driver {
  /** What the data is kept in, once `auto` has been resolved. */
  readonly backend: "memory" | "file" | "opfs" | "idb";
  /** Changes when the database was copied to another place: two copies must not share a client id (C3). */
  readonly identity: string;
  /** False in a tab whose database another tab holds; absent where nothing is shared. */
  readonly leads?: boolean;
  /** While no other tab has asked for anything. */
  readonly alone?: boolean;
  /** Called when another tab leads, or this one: what the last one committed at its end, nobody may have heard of. */
  onLead?: (() => void) | undefined;
  /** Runs one statement and gives all its rows. Prepared statements are kept for reuse. */
  execute(sql: string, params?: readonly SqlParam[]): Promise<ResultSet>;
  /** Prepares a statement once and runs it for each list of parameters. Gives no rows. */
  executeMany(sql: string, paramLists: readonly (readonly SqlParam[])[]): Promise<ResultSet>;
  /** Runs several statements without parameters: for schema changes. */
  script(sql: string): Promise<void>;
  /** Which tables a statement would use. */
  tablesOf(sql: string): Promise<TableUse>;
  close(): Promise<void>;
}

/** Where a database is kept. `auto` takes the best that is proved to work here. */
export type Backend = "auto" | "memory" | "file" | "opfs" | "idb";

export interface DriverOptions {
  /** Names the database within this origin or folder. */
  readonly name: string;
  readonly backend: Backend;
  /** Node: the file; left out, `<name>.sqlite` in the working directory. */
  readonly path?: string;
  readonly clock: Clock;
}

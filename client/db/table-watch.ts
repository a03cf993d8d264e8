/**
 * Which tables a statement reads and writes, as SQLite's authorizer names them while the statement is prepared: joins,
 * views, subqueries, triggers and foreign-key actions are all looked through (C5).
 * https://sqlite.org/c3ref/c_alter_table.html lists the action codes.
 */
import type { TableUse } from "./driver.ts";

const DELETE = 9;
const INSERT = 18;
const READ = 20;
const UPDATE = 23;

/** Of LakeSync's own tables, the one that queries of an app may look at: what waits (through lakesync_pending). */
export const OUTBOX = "lakesync_outbox";

/** Stands for the synced tables themselves: there are more, or they have other columns. */
export const TABLES = "lakesync_tables";

const isOwn = (table: string): boolean => /^(?:lakesync|sqlite)_/.test(table) && table !== OUTBOX;

export class TableWatch {
  #reads: Set<string> | undefined;
  #writes = new Set<string>();

  start(): void {
    this.#reads = new Set();
    this.#writes = new Set();
  }

  /** Called by the authorizer. */
  note(action: number, table: string | null, _column: string | null): void {
    if (!this.#reads || table === null || isOwn(table)) return;
    if (action === READ) this.#reads.add(table);
    else if (action === INSERT || action === UPDATE || action === DELETE) this.#writes.add(table);
  }

  stop(): TableUse {
    const use = { reads: [...(this.#reads ?? [])], writes: [...this.#writes] };
    this.#reads = undefined;
    return use;
  }
}

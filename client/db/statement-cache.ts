/** Prepared statements by their SQL, the least recently used dropped first. */

const STATEMENTS_MAX = 200;

export class StatementCache<T> {
  readonly #entries = new Map<string, T>();
  readonly #drop: (entry: T) => void;

  /** @param drop frees an entry */
  constructor(drop: (entry: T) => void) {
    this.#drop = drop;
  }

  get(sql: string, prepare: () => T): T {
    const held = this.#entries.get(sql);
    const entry = held ?? prepare();
    if (held !== undefined) this.#entries.delete(sql);
    this.#entries.set(sql, entry);
    if (this.#entries.size > STATEMENTS_MAX) {
      const [oldest, first] = this.#entries.entries().next().value as [string, T];
      this.#entries.delete(oldest);
      this.#drop(first);
    }
    return entry;
  }

  clear(): void {
    for (const entry of this.#entries.values()) this.#drop(entry);
    this.#entries.clear();
  }
}

/** After such a statement, what is known of the others (columns, tables, triggers) may be wrong. */
export const isSchemaChange = (sql: string): boolean => /^\s*(?:create|drop|alter)\b/i.test(sql);

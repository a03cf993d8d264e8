/**
 * Live queries: the rows now, and again after each commit that touches a table of the query (C5). Which tables those are
 * is SQLite's own word, so joins, views, subqueries and full-text tables count. Commits that come while the query runs
 * are answered by one more run.
 */
import type { SqlParam } from "../db/driver.ts";
import type { LocalDB, Row } from "../db/local-db.ts";

export interface LiveOptions {
  /** A query that fails is told here; left out, the error is thrown where nobody catches it. */
  readonly onError?: (error: unknown) => void;
}

/** @returns a function that ends the query; after it `onRows` is not called again */
export function live<T = Row>(
  db: LocalDB,
  sql: string,
  params: readonly SqlParam[],
  onRows: (rows: T[]) => void,
  { onError }: LiveOptions = {},
): () => void {
  let ended = false;
  let running = false;
  let dirty = true;
  let reads: ReadonlySet<string> | undefined;
  const run = async () => {
    if (running) return;
    running = true;
    try {
      while (dirty && !ended) {
        dirty = false;
        reads = new Set((await db.tablesOf(sql)).reads);
        const rows = await db.query<T>(sql, params);
        if (!ended) onRows(rows);
      }
    } catch (error) {
      if (ended) return;
      if (!onError) throw error;
      onError(error);
    } finally {
      running = false;
    }
  };
  const stop = db.onCommit(({ tables }) => {
    // Until the query has been read once, any commit may matter to it.
    if (reads && !intersects(tables, reads)) return;
    dirty = true;
    void run();
  });
  void run();
  return () => {
    ended = true;
    stop();
  };
}

function intersects(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  for (const item of a) if (b.has(item)) return true;
  return false;
}

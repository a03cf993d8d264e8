/** What an adapter holds, and what a script of edits should have made of it, as plain maps. */
import type { DatabaseAdapter } from "../../core/index.ts";
import { type FlushScript, rowOf } from "../../core/testing.ts";
import { compareCodePoints, type Scalar, type TableSchema, unwrap } from "../../schemas/index.ts";

export type PlainRows = Readonly<Record<string, readonly Scalar[]>>;

/** Live rows by id, read in small pages. */
export async function readAll(adapter: DatabaseAdapter, table: TableSchema, limit = 3): Promise<PlainRows> {
  const rows: Record<string, Scalar[]> = {};
  for (let after: string | undefined; ; ) {
    const query = { table, limit, ...(after !== undefined && { after }) };
    const page = unwrap(await adapter.getLatestState(query));
    page.rowIds.forEach((id, at) => {
      rows[id] = page.columns.map(({ values }) => values[at] as Scalar);
    });
    if (page.rowIds.length < limit) return rows;
    after = page.rowIds.at(-1);
  }
}

/** Rows that the first edits of a script make. */
export function rowsOfScript(script: FlushScript, to = script.head): PlainRows {
  const byRow = Map.groupBy(script.stamped(to), ({ row }) => row);
  return Object.fromEntries(
    [...byRow]
      .sort(([a], [b]) => compareCodePoints(a, b))
      .flatMap(([id, edits]) => {
        const { alive, cells } = rowOf(edits);
        return alive ? [[id, script.table.columns.map(({ name }) => cells[name]?.value ?? null)] as const] : [];
      }),
  );
}

/** Whether two copies of a table are equal: every cell of every row, in canonical form. */
import type { Scalar } from "../../schemas/index.ts";

/** Row id to cells, by column name. */
export type Table = ReadonlyMap<string, Readonly<Record<string, Scalar>>>;

export interface Comparison {
  readonly equal: boolean;
  readonly cells: number;
  /** The first difference, for a person. */
  readonly difference?: string;
}

export function compareTables(
  columns: readonly string[],
  names: readonly string[],
  tables: readonly Table[],
): Comparison {
  const [first, ...others] = tables as [Table, ...Table[]];
  let cells = 0;
  for (const [at, other] of others.entries()) {
    const name = names[at + 1];
    if (other.size !== first.size)
      return { equal: false, cells, difference: `${names[0]} has ${first.size} rows, ${name} has ${other.size}` };
    for (const [id, row] of first) {
      const twin = other.get(id);
      if (!twin) return { equal: false, cells, difference: `${name} has no row ${id}` };
      for (const column of columns) {
        cells++;
        const [a, b] = [row[column] ?? null, twin[column] ?? null];
        if (a !== b)
          return {
            equal: false,
            cells,
            difference: `row ${id}, column ${column}: ${names[0]} ${JSON.stringify(a)}, ${name} ${JSON.stringify(b)}`,
          };
      }
    }
  }
  return { equal: true, cells };
}

/**
 * A table as the database has it, and what a schema asks of it. Columns go by id: a rename is a rename, a dropped column
 * stays where it is with its values, out of the way if its name is given to another. Pure.
 */
import { type ColumnType, LakeSyncError, type TableSchema } from "../../schemas/index.ts";

export interface TableColumn {
  readonly id: number;
  /** In the database, now. */
  readonly name: string;
  readonly type: ColumnType;
}

export interface TableRecord {
  readonly id: number;
  readonly table: string;
  /** Of the newest schema that was seen; 0 for a table that is to be made. */
  readonly version: number;
  readonly columns: readonly TableColumn[];
}

export interface TableChange {
  readonly columns: readonly TableColumn[];
  readonly renames: readonly (readonly [from: string, to: string])[];
  readonly adds: readonly TableColumn[];
}

/** @returns undefined when nothing is to be done; throws `Conflict` for a column whose type changed */
export function changeFor(record: TableRecord, schema: TableSchema): TableChange | undefined {
  if (schema.version <= record.version) return undefined;
  const wanted = new Map(schema.columns.map((column) => [column.id, column]));
  for (const { id, type } of record.columns) {
    const column = wanted.get(id);
    if (column && column.type !== type)
      throw new LakeSyncError(
        "Conflict",
        `The column ${column.name} of ${schema.table} is of type ${type} in the database and cannot become ${column.type}; add a column with another name instead.`,
        { table: schema.table, column: column.name },
      );
  }
  const taken = new Set(schema.columns.map(({ name }) => name.toLowerCase()));
  const targets = record.columns.map((column) => {
    const name = wanted.get(column.id)?.name;
    if (name !== undefined) return { ...column, name };
    return taken.has(column.name.toLowerCase()) ? { ...column, name: `_dropped_${column.id}` } : column;
  });
  const moving = record.columns.flatMap((column, at) => {
    const to = (targets[at] as TableColumn).name;
    return to === column.name ? [] : [{ id: column.id, from: column.name, to }];
  });
  // By way of a name that nobody has: two columns may change names with each other.
  const renames = [
    ...moving.map(({ id, from }) => [from, `_renamed_${id}`] as const),
    ...moving.map(({ id, to }) => [`_renamed_${id}`, to] as const),
  ];
  const known = new Set(record.columns.map(({ id }) => id));
  const adds = schema.columns.filter(({ id }) => !known.has(id)).map(({ id, name, type }) => ({ id, name, type }));
  return { columns: [...targets, ...adds], renames, adds };
}

/**
 * The two Iceberg tables of a synced table (architecture, decision 7).
 *
 *   <table>           _id* _hlc* _seq* | the user's columns            one row a live row; _id is the identifier
 *   <table>__changes  _seq* _shard* _received* _hlc* _client_id* _op* _id* _columns* | the user's columns, nullable
 *                     one row an edit, append only                                                  (* required)
 *
 * The row's id is `_id`, since `_row_id` is a name that Iceberg keeps for itself (spec v3, "Row Lineage"; Spark refuses
 * a table with such a column).
 *
 * A column is known by LakeSync's column id, kept in the field's `doc` as `lakesync:17`: a foreign catalogue may number
 * fields afresh, names change, the doc stays (L4). `_columns` lists the column ids that an edit names, as `1,4,17`: NULL
 * is a value (M5), so a null cell does not say whether it was named, and a name would not survive a rename.
 */
import type { CreateTable, IcebergField, IcebergSchema, TableIdent } from "../../core/index.ts";
import { type Column, LakeSyncError, type TableSchema } from "../../schemas/index.ts";
import { LAKE_TYPES, type LakeType } from "../parquet/index.ts";
import { DEFAULT_NAMESPACE, type LakeDeps } from "./deps.ts";

export const KINDS = ["main", "changes"] as const;
export type TableKind = (typeof KINDS)[number];

/** A field of the current schema that a flush fills. */
export interface LakeField {
  readonly fieldId: number;
  readonly name: string;
  readonly type: LakeType;
  readonly required: boolean;
  /** LakeSync's column id; absent for bookkeeping columns. */
  readonly columnId?: number;
}

type Bookkeeping = readonly { readonly name: string; readonly type: LakeType; readonly doc: string }[];

const BOOKKEEPING: Readonly<Record<TableKind, Bookkeeping>> = {
  main: [
    { name: "_id", type: "string", doc: "Id of the row" },
    { name: "_hlc", type: "long", doc: "Newest stamp in the row: 48 bits of milliseconds, 16 of counter" },
    { name: "_seq", type: "long", doc: "Number that the shard gave to the row's last change" },
  ],
  changes: [
    { name: "_seq", type: "long", doc: "Number that the shard gave to the edit" },
    { name: "_shard", type: "string", doc: "Shard that took the edit" },
    { name: "_received", type: "timestamptz", doc: "When the shard took the edit" },
    { name: "_hlc", type: "long", doc: "When the device made the edit: 48 bits of milliseconds, 16 of counter" },
    { name: "_client_id", type: "string", doc: "Device that made the edit" },
    { name: "_op", type: "string", doc: "INSERT, UPDATE or DELETE" },
    { name: "_id", type: "string", doc: "Id of the row" },
    { name: "_columns", type: "string", doc: "Ids of the columns that the edit names, separated by commas" },
  ],
};

/** Version of the LakeSync schema that the lake's schema was last made for. */
export const SCHEMA_VERSION_PROPERTY = "lakesync.schema-version";

export const identOf = (deps: Pick<LakeDeps, "namespace">, table: string, kind: TableKind): TableIdent => ({
  namespace: deps.namespace ?? DEFAULT_NAMESPACE,
  name: kind === "main" ? table : `${table}__changes`,
});

const DOC = /^lakesync:(\d+)$/;

/** Whether the lake can hold this column's value for every row: only where the table began with it. */
const isRequired = (kind: TableKind, column: Column): boolean => kind === "main" && !column.nullable;

const userField = (id: number, column: Column, required: boolean): IcebergField => ({
  id,
  name: column.name,
  required,
  type: LAKE_TYPES[column.type],
  doc: `lakesync:${column.id}`,
});

/** What a catalogue is asked to create. */
export function definitionOf(table: TableSchema, kind: TableKind): CreateTable {
  const own = BOOKKEEPING[kind].map(({ name, type, doc }, at) => ({ id: at + 1, name, required: true, type, doc }));
  const users = table.columns.map((column, at) => userField(own.length + at + 1, column, isRequired(kind, column)));
  const identifier = kind === "main" ? { "identifier-field-ids": [1] } : {};
  return {
    schema: { type: "struct", "schema-id": 0, ...identifier, fields: [...own, ...users] },
    properties: {
      "format-version": "2",
      "write.delete.mode": "merge-on-read",
      "write.update.mode": "merge-on-read",
      "write.parquet.compression-codec": "zstd",
      // Whole ids as bounds: a common prefix would otherwise make all files look alike to the position lookup.
      "write.metadata.metrics.column._id": "full",
      [SCHEMA_VERSION_PROPERTY]: String(table.version),
    },
  };
}

const LAKE_TYPE_NAMES: ReadonlySet<unknown> = new Set(Object.values(LAKE_TYPES));
/** Whether a field's type is one of those that LakeSync reads and writes. */
export const isLakeType = (type: unknown): type is LakeType => LAKE_TYPE_NAMES.has(type);

/** Fields that LakeSync knows in an Iceberg schema; those that others added are left out, and null in what we write. */
export function fieldsOf(schema: IcebergSchema, kind: TableKind): LakeField[] {
  const own = new Set(BOOKKEEPING[kind].map((column) => column.name));
  return schema.fields.flatMap((field): LakeField[] => {
    const columnId = columnIdOf(field);
    if (columnId === undefined && !own.has(field.name)) return [];
    const { type } = field;
    if (!isLakeType(type)) return [];
    const base = { fieldId: field.id, name: field.name, type, required: field.required };
    return [columnId === undefined ? base : { ...base, columnId }];
  });
}

export const fieldNamed = (fields: readonly LakeField[], name: string): LakeField => {
  const field = fields.find((each) => each.name === name && each.columnId === undefined);
  if (field) return field;
  throw new LakeSyncError(
    "DestinationRefused",
    `The lake's table has no column ${name}; it was not made by LakeSync, or its columns were changed. Choose another namespace.`,
    { column: name },
  );
};

const columnIdOf = (field: IcebergField): number | undefined => {
  const found = DOC.exec(field.doc ?? "");
  return found ? Number(found[1]) : undefined;
};

/**
 * The next schema of a table, or undefined when nothing is missing. Columns are added (always optional: old rows have no
 * value), renamed by id, dropped, and made optional; a changed type is `Conflict`.
 */
export function evolvedSchema(
  current: IcebergSchema,
  table: TableSchema,
  lastFieldId: number,
): { readonly schema: IcebergSchema; readonly lastFieldId: number } | undefined {
  const wanted = new Map(table.columns.map((column) => [column.id, column]));
  let changed = false;
  const fields: IcebergField[] = [];
  for (const field of current.fields) {
    const id = columnIdOf(field);
    const column = id === undefined ? undefined : wanted.get(id);
    if (id === undefined) fields.push(field);
    else if (!column) changed = true;
    else {
      wanted.delete(column.id);
      const next = userField(field.id, column, field.required && !column.nullable);
      if (next.type !== field.type) throw typeChanged(table, column, field);
      changed ||= next.name !== field.name || next.required !== field.required;
      fields.push({ ...field, ...next });
    }
  }
  let last = lastFieldId;
  for (const column of wanted.values()) {
    last++;
    fields.push(userField(last, column, false));
    changed = true;
  }
  return changed ? { schema: { ...current, fields }, lastFieldId: last } : undefined;
}

const typeChanged = (table: TableSchema, column: Column, field: IcebergField) =>
  new LakeSyncError(
    "Conflict",
    `Column ${column.name} of ${table.table} is ${String(field.type)} in the lake and cannot become ${LAKE_TYPES[column.type]}; add a new column instead.`,
    { table: table.table, column: column.name },
  );

/** Table schemas: what an admin puts, and what the tenant keeps with stable column ids. */
import { z } from "zod";
import { identifierSchema } from "./ids.ts";
import { COLUMNS_MAX, HOT_AGE_MS_MAX, HOT_AGE_MS_MIN, SHARDS_PER_TABLE_MAX } from "./limits.ts";
import { COLUMN_TYPES, type ColumnType } from "./value.ts";

export interface Column {
  /** Never reused within a table: row state, log and lake go by id, so that a rename costs nothing (L4). From 1. */
  readonly id: number;
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable: boolean;
}

export interface TableSchema {
  readonly table: string;
  /** Grows by one with each change. From 1. */
  readonly version: number;
  readonly columns: readonly Column[];
  /** Highest column id ever given out in this table, dropped columns included. */
  readonly lastColumnId: number;
  /** Over how many shards the rows are spread by hash of the row id; 0 for the tenant's common shard. */
  readonly shards: number;
  /** Name of a backend in the gateway's configuration; absent for the default. */
  readonly backend?: string;
  /** Rows that nobody touched for so long leave their shard (decision 0052); absent for a table whose rows all stay. */
  readonly hot?: HotWindow;
}

export interface HotWindow {
  readonly ageMs: number;
}

/** Body of PUT /v1/{gatewayId}/admin/tables/{table}. */
export const tableDefinitionSchema = z.strictObject({
  columns: z
    .array(
      z.strictObject({
        name: identifierSchema("column name"),
        type: z.enum(COLUMN_TYPES),
        nullable: z.boolean().default(true),
      }),
    )
    .min(1)
    .max(COLUMNS_MAX)
    .refine((columns) => new Set(columns.map((c) => c.name.toLowerCase())).size === columns.length, {
      error: "Two columns have the same name; SQL does not tell upper from lower case.",
    }),
  shards: z.int().min(0).max(SHARDS_PER_TABLE_MAX).optional(),
  backend: z.string().min(1).max(100).optional(),
  hot: z.strictObject({ ageMs: z.int().min(HOT_AGE_MS_MIN).max(HOT_AGE_MS_MAX) }).optional(),
});
export type TableDefinition = z.infer<typeof tableDefinitionSchema>;

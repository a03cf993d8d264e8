/** Sources of `lakesync.config.ts`: a table or a query in a database, whose rows clients pull by its name. */
import { z } from "zod";
import { isGatewayId, isIdentifier } from "./ids.ts";
import { BUCKETS_MAX, COLUMNS_MAX, FILTERS_PER_BUCKET_MAX, IDENTIFIER_CHARS_MAX } from "./limits.ts";
import { filterSchema, type SyncRules } from "./rules.ts";
import type { TableSchema } from "./table.ts";
import { COLUMN_TYPES } from "./value.ts";

/** As the database has it: it is quoted, whatever it is. */
const foreignName = z.string().min(1).max(IDENTIFIER_CHARS_MAX);

const within = (count: number, max: number): boolean => count > 0 && count <= max;

export const sourceSchema = z
  .strictObject({
    backend: z.string().min(1),
    table: foreignName.optional(),
    /** Of the table; by default the one that is called as the gateway, as for its own tables. */
    schema: foreignName.optional(),
    /** Instead of a table: one SELECT, without a semicolon. */
    query: z
      .string()
      .regex(/^\s*(select|with)\b[^;]*$/i, { error: "A query is one SELECT, without a semicolon." })
      .max(20_000)
      .optional(),
    /** A column with another value in each row, never NULL: the row id, and the order of pages. An index on it is what makes pages cheap. */
    key: foreignName,
    columns: z
      .record(z.string(), z.enum(COLUMN_TYPES))
      .refine((columns) => Object.keys(columns).every(isIdentifier), {
        error:
          'A column name starts with a letter and has letters, digits and "_"; give others such a name in a query.',
      })
      .refine((columns) => within(Object.keys(columns).length, COLUMNS_MAX), {
        error: `A source has 1 to ${COLUMNS_MAX} columns.`,
      }),
    /** Gateways that have it. "all" wants a filter that tells them apart, such as `{ column: "tenant", op: "eq", value: "jwt:gw" }`. */
    gateways: z.union([
      z.literal("all"),
      z.array(z.string().refine(isGatewayId, { error: "That is not a gateway id." })).min(1),
    ]),
    /** Who sees which rows: filters joined by AND, lists of them by OR, as in sync rules; for admins, too. None, no rows. */
    rows: z.array(z.array(filterSchema).max(FILTERS_PER_BUCKET_MAX)).max(BUCKETS_MAX).default([]),
  })
  .refine(({ table, query }) => (table === undefined) !== (query === undefined), {
    error: "Give either table or query.",
  })
  .refine(({ schema, query }) => schema === undefined || query === undefined, {
    error: "A query names its schemas itself; leave schema out.",
  });
export type SourceConfig = z.output<typeof sourceSchema>;

/** A source as a table with rules. */
export function sourceTable(name: string, { columns, rows }: SourceConfig): { table: TableSchema; rules: SyncRules } {
  const named = Object.entries(columns).map(([column, type], at) => ({
    id: at + 1,
    name: column,
    type,
    nullable: true,
  }));
  return {
    table: { table: name, version: 1, columns: named, lastColumnId: named.length, shards: 0 },
    rules: { buckets: rows.map((filters, at) => ({ name: `rows ${at + 1}`, tables: [name], filters })) },
  };
}

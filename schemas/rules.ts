/**
 * Sync rules: which rows a token sees and may write. Filters in a bucket are joined by AND, buckets by OR (PL3).
 */
import { z } from "zod";
import { identifierSchema } from "./ids.ts";
import { BUCKETS_MAX, FILTER_LIST_MAX, FILTERS_PER_BUCKET_MAX, TABLES_MAX } from "./limits.ts";

export const OPERATORS = ["eq", "neq", "in", "gt", "lt", "gte", "lte"] as const;
export type Operator = (typeof OPERATORS)[number];

const literal = z.union([z.string(), z.number(), z.boolean()]);

export const filterSchema = z
  .strictObject({
    column: identifierSchema("column name"),
    op: z.enum(OPERATORS),
    /** A literal, read as the column's declared type; `jwt:` and a path of claim names; a list of either for `in`. */
    value: z.union([literal, z.array(literal).max(FILTER_LIST_MAX)]),
  })
  .refine((f) => !Array.isArray(f.value) || f.op === "in", {
    error: "A list of values goes with the operator `in` only.",
  });
export type Filter = z.infer<typeof filterSchema>;

export const bucketSchema = z.strictObject({
  name: z.string().min(1).max(100),
  tables: z.array(identifierSchema("table name")).min(1).max(TABLES_MAX),
  filters: z.array(filterSchema).max(FILTERS_PER_BUCKET_MAX).default([]),
  /** Which rows may be written; left out, those that may be seen; an empty list, any row of the bucket's tables. */
  write: z.array(filterSchema).max(FILTERS_PER_BUCKET_MAX).optional(),
});
export type Bucket = z.infer<typeof bucketSchema>;

/** Body of PUT /v1/{gatewayId}/admin/sync-rules. */
export const syncRulesSchema = z.strictObject({ buckets: z.array(bucketSchema).max(BUCKETS_MAX) });
export type SyncRules = z.infer<typeof syncRulesSchema>;

/** Nobody but admins sees anything (decision 13). */
export const NO_RULES: SyncRules = { buckets: [] };

/** Claims of a verified token. `sub` is the user; any other claim may be named by a rule. */
export interface Claims {
  readonly sub: string;
  readonly role: "client" | "admin";
  readonly [claim: string]: unknown;
}

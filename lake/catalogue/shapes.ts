/**
 * What clients send in commits: requirements and updates of the REST specification ("TableRequirement", "TableUpdate"),
 * decoded at the door. Unknown kinds are refused, as the specification asks ("Server implementations are required to
 * fail with a 400 status code if any unknown updates or requirements are received"); unknown members are kept.
 */
import { z } from "zod";
import type { TableRequirement, TableUpdate } from "../../core/index.ts";
import { refuse } from "./errors.ts";

/** A 64-bit integer: a number while it is safe, a bigint above (json.ts). */
const long = z.union([
  z.int(),
  z
    .bigint()
    .min(-(2n ** 63n))
    .max(2n ** 63n - 1n),
]);
const id = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);
/** An id, or -1 for what this commit added last. */
const idOrLast = z
  .int()
  .min(-1)
  .max(2 ** 31 - 1);
const text = z.string().min(1).max(2048);
const strings = z.record(z.string(), z.string());
const object = z.looseObject({});

export const partitionSpecShape = z.looseObject({
  "spec-id": z.int().optional(),
  fields: z.array(z.looseObject({ "source-id": id, "field-id": id.nullish(), name: text, transform: text })),
});
export type PartitionSpecInput = z.infer<typeof partitionSpecShape>;

export const sortOrderShape = z.looseObject({
  "order-id": z.int().optional(),
  fields: z.array(
    z.looseObject({
      "source-id": id,
      transform: text,
      direction: z.enum(["asc", "desc"]),
      "null-order": z.enum(["nulls-first", "nulls-last"]),
    }),
  ),
});
export type SortOrderInput = z.infer<typeof sortOrderShape>;

const snapshotShape = z.looseObject({
  "snapshot-id": long,
  "parent-snapshot-id": long.nullish(),
  "sequence-number": z.int().min(0),
  "timestamp-ms": z.int().min(0),
  "manifest-list": text,
  summary: strings.refine((summary) => "operation" in summary, { error: "A summary names its operation." }),
  "schema-id": id.nullish(),
  "first-row-id": z.int().min(0).nullish(),
  "added-rows": z.int().min(0).nullish(),
});

const refShape = z.looseObject({
  type: z.enum(["branch", "tag"]),
  "snapshot-id": long,
  "max-ref-age-ms": z.int().min(1).nullish(),
  "max-snapshot-age-ms": z.int().min(1).nullish(),
  "min-snapshots-to-keep": z.int().min(1).nullish(),
});

const requirementShape = z.discriminatedUnion("type", [
  z.looseObject({ type: z.literal("assert-create") }),
  z.looseObject({ type: z.literal("assert-table-uuid"), uuid: text }),
  // DuckDB leaves the id out where the specification has null.
  z.looseObject({ type: z.literal("assert-ref-snapshot-id"), ref: text, "snapshot-id": long.nullish() }),
  z.looseObject({ type: z.literal("assert-last-assigned-field-id"), "last-assigned-field-id": z.int() }),
  z.looseObject({ type: z.literal("assert-current-schema-id"), "current-schema-id": z.int() }),
  z.looseObject({ type: z.literal("assert-last-assigned-partition-id"), "last-assigned-partition-id": z.int() }),
  z.looseObject({ type: z.literal("assert-default-spec-id"), "default-spec-id": z.int() }),
  z.looseObject({ type: z.literal("assert-default-sort-order-id"), "default-sort-order-id": z.int() }),
]);
export type Requirement = z.infer<typeof requirementShape>;

const updateShape = z.discriminatedUnion("action", [
  z.looseObject({ action: z.literal("assign-uuid"), uuid: z.uuid() }),
  z.looseObject({ action: z.literal("upgrade-format-version"), "format-version": z.int() }),
  z.looseObject({ action: z.literal("add-schema"), schema: object }),
  z.looseObject({ action: z.literal("set-current-schema"), "schema-id": idOrLast }),
  z.looseObject({ action: z.literal("add-spec"), spec: partitionSpecShape }),
  z.looseObject({ action: z.literal("set-default-spec"), "spec-id": idOrLast }),
  z.looseObject({ action: z.literal("add-sort-order"), "sort-order": sortOrderShape }),
  z.looseObject({ action: z.literal("set-default-sort-order"), "sort-order-id": idOrLast }),
  z.looseObject({ action: z.literal("add-snapshot"), snapshot: snapshotShape }),
  refShape.extend({ action: z.literal("set-snapshot-ref"), "ref-name": text }),
  z.looseObject({ action: z.literal("remove-snapshots"), "snapshot-ids": z.array(long) }),
  z.looseObject({ action: z.literal("remove-snapshot-ref"), "ref-name": text }),
  z.looseObject({ action: z.literal("set-location"), location: text }),
  z.looseObject({ action: z.literal("set-properties"), updates: strings }),
  z.looseObject({ action: z.literal("remove-properties"), removals: z.array(z.string()) }),
  z.looseObject({ action: z.literal("set-statistics"), statistics: z.looseObject({ "snapshot-id": long }) }),
  z.looseObject({ action: z.literal("remove-statistics"), "snapshot-id": long }),
  z.looseObject({
    action: z.literal("set-partition-statistics"),
    "partition-statistics": z.looseObject({ "snapshot-id": long }),
  }),
  z.looseObject({ action: z.literal("remove-partition-statistics"), "snapshot-id": long }),
  z.looseObject({ action: z.literal("remove-partition-specs"), "spec-ids": z.array(id) }),
  z.looseObject({ action: z.literal("remove-schemas"), "schema-ids": z.array(id) }),
]);
export type Update = z.infer<typeof updateShape>;

/** Decodes a value, or throws BadRequest that says where it is wrong. */
export function decode<T>(shape: z.ZodType<T>, value: unknown, what: string): T {
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? "" : ` at ${issue.path.join(".")}`;
  return refuse(`${what} is not valid${where}: ${issue?.message ?? "unknown shape"}.`);
}

export const decodeRequirement = (value: TableRequirement): Requirement =>
  decode(requirementShape, value, `Requirement ${JSON.stringify(String(value.type).slice(0, 60))}`);

export const decodeUpdate = (value: TableUpdate): Update =>
  decode(updateShape, value, `Update ${JSON.stringify(String(value.action).slice(0, 60))}`);

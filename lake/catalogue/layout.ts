/**
 * Partition specs and sort orders (table spec, "Partitioning", "Partition Evolution", "Sorting"): checking what a client
 * sent against the current schema, and giving ids.
 *
 *   partition field ids   from 1000, unique over all specs of a table; an equivalent field (same source and transform)
 *                         keeps the id it had in any earlier spec
 *   sort order 0          unsorted
 */
import type { IcebergSchema, PartitionSpec, SortOrder } from "../../core/index.ts";
import { refuse } from "./errors.ts";
import { fieldsById } from "./schema.ts";
import type { PartitionSpecInput, SortOrderInput } from "./shapes.ts";

/** Partition field ids start at 1000; a table without any has this as its last one. */
export const NO_PARTITION_ID = 999;

const TRANSFORM = /^(identity|year|month|day|hour|void|bucket\[[1-9]\d{0,8}\]|truncate\[[1-9]\d{0,8}\])$/;

function checkSource(sourceId: number, transform: string, schema: IcebergSchema, what: string): void {
  if (!TRANSFORM.test(transform)) refuse(`${what} has the unknown transform ${JSON.stringify(transform)}.`);
  const source = fieldsById(schema).get(sourceId);
  if (source === undefined) refuse(`${what} has source ${sourceId}, which is no field of the current schema.`);
  if (typeof source.type !== "string") refuse(`${what} has source "${source.path}", which is not a primitive.`);
}

type PartitionField = PartitionSpec["fields"][number];
const sameField = (a: { "source-id": number; transform: string }, b: { "source-id": number; transform: string }) =>
  a["source-id"] === b["source-id"] && a.transform === b.transform;

/**
 * The spec as the table would keep it: an existing one that is equivalent, or a new one with the next spec id and with
 * field ids given. Throws BadRequest.
 */
export function bindSpec(
  input: PartitionSpecInput,
  schema: IcebergSchema,
  specs: readonly PartitionSpec[],
  lastPartitionId: number,
): PartitionSpec {
  const earlier = specs.flatMap((spec) => spec.fields);
  const taken = new Map(earlier.map((field) => [field["field-id"], field]));
  const names = new Set<string>();
  let last = Math.max(lastPartitionId, NO_PARTITION_ID, ...input.fields.map((field) => field["field-id"] ?? 0));
  const fields = input.fields.map((field): PartitionField => {
    const what = `Partition field "${field.name}"`;
    checkSource(field["source-id"], field.transform, schema, what);
    if (names.has(field.name)) refuse(`Two partition fields are named "${field.name}".`);
    names.add(field.name);
    const column = schema.fields.find((candidate) => candidate.name === field.name);
    if (column !== undefined && !(field.transform === "identity" && column.id === field["source-id"])) {
      refuse(`${what} has the name of a column; only an identity partition of that column may.`);
    }
    const fieldId =
      field["field-id"] ?? earlier.find((candidate) => sameField(candidate, field))?.["field-id"] ?? ++last;
    const holder = taken.get(fieldId);
    if (holder !== undefined && !sameField(holder, field)) {
      refuse(`${what} has field id ${fieldId}, which belongs to "${holder.name}".`);
    }
    if (fieldId <= NO_PARTITION_ID) refuse(`${what} has field id ${fieldId}; they start at ${NO_PARTITION_ID + 1}.`);
    const bound = {
      "source-id": field["source-id"],
      "field-id": fieldId,
      name: field.name,
      transform: field.transform,
    };
    taken.set(fieldId, bound);
    return bound;
  });
  if (new Set(fields.map((field) => field["field-id"])).size !== fields.length) {
    refuse("Two partition fields have the same field id.");
  }
  const equivalent = specs.find(
    (spec) =>
      spec.fields.length === fields.length &&
      spec.fields.every((field, i) => {
        const other = fields[i];
        return other !== undefined && sameField(field, other) && field.name === other.name;
      }),
  );
  return (
    equivalent ?? {
      "spec-id": nextId(
        specs.map((spec) => spec["spec-id"]),
        0,
      ),
      fields,
    }
  );
}

/** Highest partition field id of a spec. */
export const highestPartitionId = (spec: PartitionSpec): number =>
  Math.max(NO_PARTITION_ID, ...spec.fields.map((field) => field["field-id"]));

/** The order as the table would keep it: an existing one that is the same, unsorted (0), or a new one. Throws BadRequest. */
export function bindSortOrder(input: SortOrderInput, schema: IcebergSchema, orders: readonly SortOrder[]): SortOrder {
  if (input.fields.length === 0) return { "order-id": 0, fields: [] };
  const fields = input.fields.map((field) => {
    checkSource(field["source-id"], field.transform, schema, "A sort field");
    return {
      transform: field.transform,
      "source-id": field["source-id"],
      direction: field.direction,
      "null-order": field["null-order"],
    };
  });
  const essence = (list: SortOrder["fields"]) =>
    list.map((field) => [field.transform, field["source-id"], field.direction, field["null-order"]].join(" ")).join();
  const same = orders.find((order) => essence(order.fields) === essence(fields));
  return (
    same ?? {
      "order-id": nextId(
        orders.map((order) => order["order-id"]),
        1,
      ),
      fields,
    }
  );
}

/** One more than the highest, at least `first`. */
export const nextId = (ids: readonly number[], first: number): number =>
  ids.reduce((next, id) => Math.max(next, id + 1), first);

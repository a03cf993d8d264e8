/**
 * Table metadata (table spec, "Table Metadata Fields"), decided purely: how a table begins, what a requirement asks of it,
 * and how a file of it reads back. What updates do to it is in updates.ts.
 *
 *   newTableMetadata     definition -> metadata version 0
 *   checkRequirements    metadata + requirements -> fine, or CommitConflict
 *   applyUpdates         metadata + updates -> next metadata                              (updates.ts)
 */
import type { CreateTable, TableMetadata, TableRequirement } from "../../core/index.ts";
import { LakeSyncError, type Result } from "../../schemas/index.ts";
import { attempt, conflict, refuse } from "./errors.ts";
import { idKey, parseJson } from "./json.ts";
import { bindSortOrder, bindSpec, highestPartitionId } from "./layout.ts";
import { checkSchema, hasUsableIds, highestFieldId, withFreshIds } from "./schema.ts";
import { decode, decodeRequirement, partitionSpecShape, type Requirement, sortOrderShape } from "./shapes.ts";

/** Format versions that the catalogue keeps. LakeSync writes 2; version 3 is for tables of other writers. */
export const FORMAT_VERSION = 2;
const FORMAT_VERSION_MAX = 3;

/** Properties that say something to the catalogue and are not kept ("Reserved properties", Iceberg's table configuration). */
const RESERVED = new Set([
  "format-version",
  "uuid",
  "snapshot-count",
  "current-snapshot-id",
  "current-snapshot-summary",
  "current-snapshot-timestamp-ms",
  "current-schema",
  "default-partition-spec",
  "default-sort-order",
]);

export const keptProperties = (properties: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(properties).filter(([key]) => !RESERVED.has(key)));

/** The version asked for, or BadRequest where it is not kept here. */
export function checkFormatVersion(version: number): number {
  if (version === FORMAT_VERSION || version === FORMAT_VERSION_MAX) return version;
  return refuse(
    `Format version ${version} is not supported; this catalogue keeps ${FORMAT_VERSION} and ${FORMAT_VERSION_MAX}.`,
  );
}

/**
 * Metadata of a table that begins: no snapshot, schema 0, spec 0, sort order as given. Field ids are kept when the client
 * numbered them itself (from 1, each once), given afresh otherwise. `definition` may hold what a client sent: it is checked.
 * `location` without trailing slash; `nowMs` in milliseconds since 1970. Fails with BadRequest.
 */
export function newTableMetadata(
  definition: CreateTable,
  given: { readonly uuid: string; readonly location: string; readonly nowMs: number },
): Result<TableMetadata, LakeSyncError> {
  return attempt(() => {
    const properties = definition.properties ?? {};
    const version = checkFormatVersion(Number(properties["format-version"] ?? FORMAT_VERSION));
    const usable = hasUsableIds(definition.schema);
    const fresh = usable ? undefined : withFreshIds(definition.schema);
    const schema = checkSchema(fresh?.schema ?? definition.schema, 0, version);
    const spec = decode(partitionSpecShape, definition.partitionSpec ?? { fields: [] }, "The partition spec");
    const order = decode(sortOrderShape, definition.sortOrder ?? { fields: [] }, "The sort order");
    const moved = <F extends { "source-id": number }>(field: F): F =>
      fresh === undefined
        ? field
        : { ...field, "source-id": fresh.renumbered.get(field["source-id"]) ?? field["source-id"] };
    const boundSpec = bindSpec({ fields: spec.fields.map(moved) }, schema, [], 0);
    const boundOrder = bindSortOrder({ fields: order.fields.map(moved) }, schema, []);
    return {
      "format-version": version,
      "table-uuid": given.uuid,
      location: given.location,
      "last-sequence-number": 0,
      "last-updated-ms": given.nowMs,
      "last-column-id": highestFieldId(schema),
      "current-schema-id": 0,
      schemas: [schema],
      "default-spec-id": boundSpec["spec-id"],
      "partition-specs": [boundSpec],
      "last-partition-id": highestPartitionId(boundSpec),
      "default-sort-order-id": boundOrder["order-id"],
      "sort-orders": [boundOrder],
      properties: keptProperties(properties),
      snapshots: [],
      "snapshot-log": [],
      "metadata-log": [],
      refs: {},
      ...(version >= 3 ? { "next-row-id": 0 } : {}),
    };
  });
}

/**
 * Whether every requirement holds of a table, `null` where there is none (REST specification, "TableRequirement"). Fails
 * with CommitConflict where one does not, BadRequest where one is unknown.
 */
export function checkRequirements(
  metadata: TableMetadata | null,
  requirements: readonly TableRequirement[],
): Result<void, LakeSyncError> {
  return attempt(() => {
    for (const requirement of requirements.map(decodeRequirement)) checkRequirement(metadata, requirement);
  });
}

function checkRequirement(metadata: TableMetadata | null, requirement: Requirement): void {
  if (requirement.type === "assert-create") {
    if (metadata !== null) conflict("The table exists already: it was created meanwhile.");
    return;
  }
  if (metadata === null) conflict("The table does not exist, or not any more.");
  const same = (what: string, expected: number, actual: number) => {
    if (expected !== actual) conflict(`The ${what} is ${actual}, not ${expected} as required: reload the table.`);
  };
  switch (requirement.type) {
    case "assert-table-uuid":
      if (requirement.uuid.toLowerCase() !== metadata["table-uuid"].toLowerCase()) {
        conflict(`The table's uuid is ${metadata["table-uuid"]}, not ${requirement.uuid}: it was replaced.`);
      }
      break;
    case "assert-ref-snapshot-id": {
      const actual = metadata.refs?.[requirement.ref]?.["snapshot-id"];
      const expected = requirement["snapshot-id"];
      if ((actual === undefined ? "" : idKey(actual)) !== (expected == null ? "" : idKey(expected))) {
        conflict(
          `Ref "${requirement.ref}" is at ${actual ?? "no snapshot"}, not at ${expected ?? "none"}: reload the table.`,
        );
      }
      break;
    }
    case "assert-last-assigned-field-id":
      same("last assigned field id", requirement["last-assigned-field-id"], metadata["last-column-id"]);
      break;
    case "assert-current-schema-id":
      same("current schema", requirement["current-schema-id"], metadata["current-schema-id"]);
      break;
    case "assert-last-assigned-partition-id":
      same("last partition field id", requirement["last-assigned-partition-id"], metadata["last-partition-id"]);
      break;
    case "assert-default-spec-id":
      same("default partition spec", requirement["default-spec-id"], metadata["default-spec-id"]);
      break;
    case "assert-default-sort-order-id":
      same("default sort order", requirement["default-sort-order-id"], metadata["default-sort-order-id"]);
      break;
  }
}

/**
 * Reads a metadata file (table spec, appendix C). Checks what the catalogue itself goes by, so that registering a foreign
 * file cannot break later commits. Fails with Corrupt.
 */
export function parseTableMetadata(text: string): Result<TableMetadata, LakeSyncError> {
  const bad = (why: string) => ({
    ok: false as const,
    error: new LakeSyncError("Corrupt", `This is not Iceberg table metadata that can be kept here: ${why}.`),
  });
  let value: Partial<TableMetadata> | null;
  try {
    value = parseJson(text) as Partial<TableMetadata> | null;
  } catch {
    return bad("it is not JSON");
  }
  if (typeof value !== "object" || value === null) return bad("it is not an object");
  const version = value["format-version"];
  if (version !== FORMAT_VERSION && version !== FORMAT_VERSION_MAX) return bad(`its format version is ${version}`);
  for (const key of ["table-uuid", "location"] as const) {
    if (typeof value[key] !== "string") return bad(`it has no "${key}"`);
  }
  for (const key of [
    "last-sequence-number",
    "last-updated-ms",
    "last-column-id",
    "current-schema-id",
    "default-spec-id",
    "last-partition-id",
    "default-sort-order-id",
  ] as const) {
    if (typeof value[key] !== "number") return bad(`it has no "${key}"`);
  }
  for (const key of ["schemas", "partition-specs", "sort-orders"] as const) {
    if (!Array.isArray(value[key]) || value[key].length === 0) return bad(`it has no "${key}"`);
  }
  const metadata = value as TableMetadata;
  if (!metadata.schemas.some((schema) => schema["schema-id"] === metadata["current-schema-id"])) {
    return bad("its current schema is missing");
  }
  const snapshots = new Set((metadata.snapshots ?? []).map((snapshot) => idKey(snapshot["snapshot-id"])));
  for (const [name, ref] of Object.entries(metadata.refs ?? {})) {
    if (!snapshots.has(idKey(ref["snapshot-id"]))) return bad(`its ref "${name}" points at a snapshot that is missing`);
  }
  return { ok: true, value: metadata };
}

/** The same metadata with only the snapshots that a branch or tag names (REST specification, loadTable, `snapshots=refs`). */
export function withRefSnapshotsOnly(metadata: TableMetadata): TableMetadata {
  const named = new Set(Object.values(metadata.refs ?? {}).map((ref) => idKey(ref["snapshot-id"])));
  const snapshots = (metadata.snapshots ?? []).filter((snapshot) => named.has(idKey(snapshot["snapshot-id"])));
  return { ...metadata, snapshots };
}

/**
 * What the updates of a commit make of a table's metadata (REST specification, "TableUpdate"). Pure: the time is an
 * argument. Updates apply in order to a draft (draft.ts); a total table says what each does.
 */
import type { IcebergSchema, Snapshot, SnapshotRef, TableMetadata, TableUpdate } from "../../core/index.ts";
import type { LakeSyncError, Result } from "../../schemas/index.ts";
import { type CommitContext, closeDraft, type Draft, MAIN, openDraft, type StatisticsFile } from "./draft.ts";
import { attempt, conflict, refuse } from "./errors.ts";
import { type Id64, idKey } from "./json.ts";
import { bindSortOrder, bindSpec, highestPartitionId, NO_PARTITION_ID, nextId } from "./layout.ts";
import { checkFormatVersion, FORMAT_VERSION, keptProperties } from "./metadata.ts";
import { checkSchema, highestFieldId, sameSchema } from "./schema.ts";
import { decodeUpdate, type Update } from "./shapes.ts";

/** In set-current-schema, set-default-spec and set-default-sort-order: what this commit added last. */
const LAST = -1;

/**
 * The metadata after a commit. `base` is `null` for a create transaction, whose updates build the table from nothing. Fails
 * with BadRequest for an update that is unknown or wrong in itself, CommitConflict for one that the table's state rules out.
 */
export function applyUpdates(
  base: TableMetadata | null,
  updates: readonly TableUpdate[],
  context: CommitContext,
): Result<TableMetadata, LakeSyncError> {
  return attempt(() => {
    const decoded = updates.map(decodeUpdate);
    const draft = openDraft(base ?? emptyMetadata(decoded), base === null);
    for (const update of decoded) apply(draft, update);
    return closeDraft(draft, base, context);
  });
}

function emptyMetadata(updates: readonly Update[]): TableMetadata {
  const upgrade = updates.find((update) => update.action === "upgrade-format-version");
  return {
    "format-version": checkFormatVersion(upgrade?.["format-version"] ?? FORMAT_VERSION),
    "table-uuid": "",
    location: "",
    "last-sequence-number": 0,
    "last-updated-ms": 0,
    "last-column-id": 0,
    "current-schema-id": LAST,
    schemas: [],
    "default-spec-id": LAST,
    "partition-specs": [],
    "last-partition-id": NO_PARTITION_ID,
    "default-sort-order-id": LAST,
    "sort-orders": [],
  };
}

type Step<A extends Update["action"]> = (draft: Draft, update: Extract<Update, { action: A }>) => void;

const STEPS: { readonly [A in Update["action"]]: Step<A> } = {
  "assign-uuid": ({ metadata, creating }, { uuid }) => {
    if (!creating && uuid !== metadata["table-uuid"]) refuse("A table's uuid cannot be changed.");
    metadata["table-uuid"] = uuid;
  },
  "upgrade-format-version": ({ metadata }, update) => {
    const version = checkFormatVersion(update["format-version"]);
    if (version < metadata["format-version"]) refuse("A table's format version cannot go back.");
    metadata["format-version"] = version;
  },
  "add-schema": (draft, update) => {
    const { metadata } = draft;
    const ids = metadata.schemas.map((schema) => schema["schema-id"]);
    const schema = checkSchema(update.schema, nextId(ids, 0), metadata["format-version"]);
    const known = metadata.schemas.find((candidate) => sameSchema(candidate, schema));
    if (known === undefined) metadata.schemas = [...metadata.schemas, schema];
    metadata["last-column-id"] = Math.max(metadata["last-column-id"], highestFieldId(schema));
    draft.lastSchema = (known ?? schema)["schema-id"];
  },
  "set-current-schema": (draft, update) => {
    draft.metadata["current-schema-id"] = chosen(update["schema-id"], draft.lastSchema, "schema");
  },
  "add-spec": (draft, update) => {
    const { metadata } = draft;
    const specs = metadata["partition-specs"];
    const spec = bindSpec(update.spec, currentSchema(draft), specs, metadata["last-partition-id"]);
    if (!specs.includes(spec)) metadata["partition-specs"] = [...specs, spec];
    metadata["last-partition-id"] = Math.max(metadata["last-partition-id"], highestPartitionId(spec));
    draft.lastSpec = spec["spec-id"];
  },
  "set-default-spec": (draft, update) => {
    draft.metadata["default-spec-id"] = chosen(update["spec-id"], draft.lastSpec, "partition spec");
  },
  "add-sort-order": (draft, update) => {
    const { metadata } = draft;
    const orders = metadata["sort-orders"];
    const order = bindSortOrder(update["sort-order"], currentSchema(draft), orders);
    const known = orders.some((candidate) => candidate["order-id"] === order["order-id"]);
    if (!known) metadata["sort-orders"] = [...orders, order];
    draft.lastOrder = order["order-id"];
  },
  "set-default-sort-order": (draft, update) => {
    draft.metadata["default-sort-order-id"] = chosen(update["sort-order-id"], draft.lastOrder, "sort order");
  },
  "add-snapshot": (draft, { snapshot }) => {
    const { metadata, snapshots } = draft;
    const id = idKey(snapshot["snapshot-id"]);
    if (!metadata.schemas.length || !metadata["partition-specs"].length || !metadata["sort-orders"].length) {
      refuse("A snapshot needs a schema, a partition spec and a sort order first.");
    }
    if (snapshots.has(id) || draft.removed.has(id)) conflict(`Snapshot ${id} is there already.`);
    // "Sequence Numbers": each snapshot takes a higher one; a snapshot staged before another landed has to be staged again.
    const last = metadata["last-sequence-number"];
    if (snapshot["sequence-number"] <= last) {
      conflict(`Snapshot ${id} has sequence number ${snapshot["sequence-number"]}, the table is at ${last}: reload.`);
    }
    const schemaId = snapshot["schema-id"];
    if (schemaId != null && !metadata.schemas.some((schema) => schema["schema-id"] === schemaId)) {
      refuse(`Snapshot ${id} was written with schema ${schemaId}, which the table does not have.`);
    }
    if (metadata["format-version"] >= 3) takeRowIds(draft, id, snapshot["first-row-id"], snapshot["added-rows"]);
    metadata["last-sequence-number"] = snapshot["sequence-number"];
    snapshots.set(id, present(snapshot) as unknown as Snapshot);
    draft.added.add(id);
  },
  "set-snapshot-ref": (draft, { action: _action, "ref-name": name, ...ref }) => {
    const id = idKey(ref["snapshot-id"]);
    if (!draft.snapshots.has(id))
      conflict(`Ref "${name}" cannot be set to snapshot ${id}: the table does not have it.`);
    if (name === MAIN && ref.type !== "branch") refuse('"main" is a branch and cannot become a tag.');
    draft.refs.set(name, present(ref) as unknown as SnapshotRef);
  },
  "remove-snapshots": (draft, update) => {
    for (const id of update["snapshot-ids"]) {
      if (draft.snapshots.delete(idKey(id))) draft.removed.add(idKey(id));
      draft.statistics = without(draft.statistics, id);
      draft.partitionStatistics = without(draft.partitionStatistics, id);
    }
  },
  "remove-snapshot-ref": (draft, update) => {
    draft.refs.delete(update["ref-name"]);
  },
  "set-location": ({ metadata }, { location }) => {
    metadata.location = location.replace(/\/+$/, "");
  },
  "set-properties": ({ metadata }, { updates }) => {
    metadata.properties = { ...metadata.properties, ...keptProperties(updates) };
  },
  "remove-properties": ({ metadata }, { removals }) => {
    const gone = new Set(removals);
    const kept = Object.entries(metadata.properties ?? {}).filter(([key]) => !gone.has(key));
    metadata.properties = Object.fromEntries(kept);
  },
  "set-statistics": (draft, { statistics }) => {
    draft.statistics = [...without(draft.statistics, statistics["snapshot-id"]), statistics];
  },
  "remove-statistics": (draft, update) => {
    draft.statistics = without(draft.statistics, update["snapshot-id"]);
  },
  "set-partition-statistics": (draft, { "partition-statistics": file }) => {
    draft.partitionStatistics = [...without(draft.partitionStatistics, file["snapshot-id"]), file];
  },
  "remove-partition-statistics": (draft, update) => {
    draft.partitionStatistics = without(draft.partitionStatistics, update["snapshot-id"]);
  },
  "remove-partition-specs": ({ metadata }, update) => {
    const gone = new Set(update["spec-ids"]);
    metadata["partition-specs"] = metadata["partition-specs"].filter((spec) => !gone.has(spec["spec-id"]));
  },
  "remove-schemas": ({ metadata }, update) => {
    const gone = new Set(update["schema-ids"]);
    metadata.schemas = metadata.schemas.filter((schema) => !gone.has(schema["schema-id"]));
  },
};

function apply(draft: Draft, update: Update): void {
  (STEPS[update.action] as Step<Update["action"]>)(draft, update as never);
}

const without = (files: readonly StatisticsFile[], id: Id64): readonly StatisticsFile[] =>
  files.filter((file) => idKey(file["snapshot-id"]) !== idKey(id));

/** Optional members that a client sent as null are left out, as the table spec writes them. */
const present = (value: object): object => Object.fromEntries(Object.entries(value).filter(([, part]) => part != null));

function chosen(id: number, last: number | undefined, what: string): number {
  if (id !== LAST) return id;
  return last ?? refuse(`The last added ${what} is asked for, but this commit adds none.`);
}

function currentSchema({ metadata }: Draft): IcebergSchema {
  const schema = metadata.schemas.find((candidate) => candidate["schema-id"] === metadata["current-schema-id"]);
  return schema ?? refuse("The table has no current schema yet: add one and set it before specs and sort orders.");
}

/** "Snapshot Row IDs": the table hands out row ids in order; a snapshot says where its own begin and how many it took. */
function takeRowIds({ metadata }: Draft, id: string, first?: number | null, count?: number | null): void {
  const next = Number(metadata["next-row-id"] ?? 0);
  if (first == null || count == null) {
    refuse(`Snapshot ${id} needs "first-row-id" and "added-rows" in a table of format version 3.`);
  }
  if (first < next) conflict(`Snapshot ${id} begins at row id ${first}, the table is at ${next}: reload.`);
  metadata["next-row-id"] = first + count;
}

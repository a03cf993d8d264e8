/**
 * Manifests and manifest lists in the store (Iceberg spec, "Manifests", "Manifest Lists", "Sequence Number Inheritance").
 *
 * A manifest is written once, before the commit: its added entries carry no sequence number, and inherit that of the
 * manifest, which the manifest list states. So a commit that is tried again rewrites the manifest list only (L2).
 */
import type { IcebergSchema, LakeAdapter, PartitionSpec, Snapshot, TableMetadata } from "../../core/index.ts";
import { invariant, unwrap } from "../../schemas/index.ts";
import { type Long, readAvro, writeAvro } from "../avro/index.ts";
import { MANIFEST_FILE_SCHEMA, manifestEntrySchema } from "./avro-schemas.ts";
import { type DataFile, MANIFEST_CONTENT, type ManifestEntry, type ManifestFile, STATUS } from "./files.ts";
import { digestOf, keyOf } from "./locations.ts";

const AVRO_TYPE = "application/avro";

/** A manifest that was written and belongs to no snapshot yet. */
export type StagedManifest = Omit<ManifestFile, "sequence_number" | "min_sequence_number"> & {
  /** Of a manifest that carries older files; one that only adds has that of its snapshot. */
  readonly min_sequence_number?: number;
};

/** An entry whose inherited values are filled in. */
export interface LiveEntry extends ManifestEntry {
  readonly snapshot_id: Long;
  readonly sequence_number: Long;
  readonly file_sequence_number: Long;
}

export const currentSchema = (metadata: TableMetadata): IcebergSchema => {
  const schema = metadata.schemas.find((each) => each["schema-id"] === metadata["current-schema-id"]);
  invariant(schema, "a table's current schema is among its schemas");
  return schema;
};

export const defaultSpec = (metadata: TableMetadata): PartitionSpec => {
  const spec = metadata["partition-specs"].find((each) => each["spec-id"] === metadata["default-spec-id"]);
  invariant(spec, "a table's default spec is among its specs");
  return spec;
};

/**
 * Writes a manifest of files that a snapshot adds.
 * @param sequence of the rows in the files, where they are older than the snapshot: deletes between the two still apply
 */
export function stageManifest(
  store: LakeAdapter,
  metadata: TableMetadata,
  snapshotId: Long,
  content: keyof typeof MANIFEST_CONTENT,
  files: readonly DataFile[],
  sequence: number | null = null,
): Promise<StagedManifest> {
  const entries = files.map((data_file) => ({
    status: STATUS.added,
    snapshot_id: snapshotId,
    sequence_number: sequence,
    file_sequence_number: null,
    data_file,
  }));
  return writeManifest(store, metadata, snapshotId, content, entries);
}

/** Writes a manifest of entries that are added, or that exist or are deleted and carry their sequence numbers. */
export async function writeManifest(
  store: LakeAdapter,
  metadata: TableMetadata,
  snapshotId: Long,
  content: keyof typeof MANIFEST_CONTENT,
  entries: readonly ManifestEntry[],
): Promise<StagedManifest> {
  const schema = currentSchema(metadata);
  const spec = defaultSpec(metadata);
  const bytes = await writeAvro(manifestEntrySchema(), entries, {
    schema: JSON.stringify(schema),
    "schema-id": String(schema["schema-id"]),
    "partition-spec": JSON.stringify(spec.fields),
    "partition-spec-id": String(spec["spec-id"]),
    "format-version": "2",
    content,
  });
  const path = `${metadata.location}/metadata/${snapshotId}-${content}-${await digestOf(bytes)}.avro`;
  unwrap(await store.put(keyOf(store, path), bytes, { contentType: AVRO_TYPE }));
  const [existing, added, deleted] = [STATUS.existing, STATUS.added, STATUS.deleted].map((status) =>
    countOf(entries.filter((entry) => entry.status === status)),
  ) as [Count, Count, Count];
  const sequences = entries.flatMap(({ status, sequence_number }) =>
    status === STATUS.deleted || sequence_number === null ? [] : [Number(sequence_number)],
  );
  return {
    manifest_path: path,
    manifest_length: bytes.length,
    partition_spec_id: spec["spec-id"],
    content: MANIFEST_CONTENT[content],
    ...(sequences.length > 0 ? { min_sequence_number: sequences.reduce((a, b) => Math.min(a, b)) } : {}),
    added_snapshot_id: snapshotId,
    added_files_count: added.files,
    existing_files_count: existing.files,
    deleted_files_count: deleted.files,
    added_rows_count: added.rows,
    existing_rows_count: existing.rows,
    deleted_rows_count: deleted.rows,
    partitions: [],
  };
}

type Count = { readonly files: number; readonly rows: number };
const countOf = (entries: readonly ManifestEntry[]): Count => ({
  files: entries.length,
  rows: entries.reduce((sum, entry) => sum + entry.data_file.record_count, 0),
});

/** Live entries of a manifest (deleted ones are left out), inherited values filled in. */
export async function readManifest(store: LakeAdapter, manifest: ManifestFile): Promise<LiveEntry[]> {
  const bytes = unwrap(await store.get(keyOf(store, manifest.manifest_path)));
  const { records } = await readAvro<ManifestEntry>(bytes);
  const live = records.filter((entry) => entry.status !== STATUS.deleted);
  return live.map((entry) => ({
    ...entry,
    snapshot_id: entry.snapshot_id ?? manifest.added_snapshot_id,
    sequence_number: entry.sequence_number ?? manifest.sequence_number,
    file_sequence_number: entry.file_sequence_number ?? manifest.sequence_number,
  }));
}

/** Manifests of a snapshot; none for a table that has no snapshot yet. */
export async function readManifestList(store: LakeAdapter, snapshot: Snapshot | undefined): Promise<ManifestFile[]> {
  if (!snapshot) return [];
  const bytes = unwrap(await store.get(keyOf(store, snapshot["manifest-list"])));
  return (await readAvro<ManifestFile>(bytes)).records;
}

/** Writes the list of a snapshot's manifests; the same list may be written again. */
export async function writeManifestList(
  store: LakeAdapter,
  path: string,
  snapshot: { readonly id: Long; readonly parent: Long | undefined; readonly sequenceNumber: number },
  manifests: readonly ManifestFile[],
): Promise<void> {
  const bytes = await writeAvro(MANIFEST_FILE_SCHEMA, manifests, {
    "snapshot-id": String(snapshot.id),
    ...(snapshot.parent === undefined ? {} : { "parent-snapshot-id": String(snapshot.parent) }),
    "sequence-number": String(snapshot.sequenceNumber),
    "format-version": "2",
  });
  unwrap(await store.put(keyOf(store, path), bytes, { contentType: AVRO_TYPE }));
}

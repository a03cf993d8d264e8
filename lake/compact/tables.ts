/** A table as maintenance sees it: its manifests with their entries, and the columns of its files. */
import type { LakeAdapter, LoadedTable, TableIdent, TableMetadata } from "../../core/index.ts";
import { LakeSyncError, unwrap } from "../../schemas/index.ts";
import {
  currentSchema,
  currentSnapshot,
  defaultSpec,
  isLakeType,
  type LakeDeps,
  type LakeField,
  type LiveEntry,
  MANIFEST_CONTENT,
  type ManifestFile,
  readManifest,
  readManifestList,
  type TypeOf,
} from "../iceberg/index.ts";

/** Manifests fetched at once; a Worker has six connections. */
const CONCURRENCY = 6;

export interface ReadManifest {
  readonly manifest: ManifestFile;
  readonly entries: readonly LiveEntry[];
}

/** Manifests by path; none ever changes. */
export class ManifestCache {
  readonly #store: LakeAdapter;
  readonly #known = new Map<string, readonly LiveEntry[]>();

  constructor(store: LakeAdapter) {
    this.#store = store;
  }

  /** Manifests of the table's current snapshot, with their live entries. Others are forgotten. */
  async current(metadata: TableMetadata): Promise<ReadManifest[]> {
    const manifests = await readManifestList(this.#store, currentSnapshot(metadata));
    for (let at = 0; at < manifests.length; at += CONCURRENCY)
      await Promise.all(
        manifests.slice(at, at + CONCURRENCY).map(async (manifest) => {
          const { manifest_path: path } = manifest;
          if (!this.#known.has(path)) this.#known.set(path, await readManifest(this.#store, manifest));
        }),
      );
    const paths = new Set(manifests.map((manifest) => manifest.manifest_path));
    for (const path of this.#known.keys()) if (!paths.has(path)) this.#known.delete(path);
    return manifests.map((manifest) => ({ manifest, entries: this.#known.get(manifest.manifest_path) ?? [] }));
  }
}

export const entriesOf = (manifests: readonly ReadManifest[], content: keyof typeof MANIFEST_CONTENT): LiveEntry[] =>
  manifests.flatMap(({ manifest, entries }) => (manifest.content === MANIFEST_CONTENT[content] ? entries : []));

export const loadTable = async (deps: LakeDeps, ident: TableIdent): Promise<LoadedTable> =>
  unwrap(await deps.catalogue.load(ident));

/**
 * Every column of the table, those of others too: a rewrite keeps them all. Throws `DestinationRefused` for a table that
 * holds what LakeSync cannot write back as it was.
 */
export function allFields(metadata: TableMetadata, manifests: readonly ReadManifest[]): LakeField[] {
  if (metadata["format-version"] !== 2 || defaultSpec(metadata).fields.length > 0)
    throw refused("it is partitioned or not of format version 2");
  if (manifests.some(({ manifest }) => manifest.partition_spec_id !== metadata["default-spec-id"]))
    throw refused("some of its files are partitioned in another way");
  for (const { entries } of manifests)
    if (entries.some((entry) => entry.data_file.file_format.toUpperCase() !== "PARQUET"))
      throw refused("some of its files are not Parquet");
  return currentSchema(metadata).fields.map(({ id, name, type, required }) => {
    if (!isLakeType(type)) throw refused(`column ${name} has type ${JSON.stringify(type)}`);
    return { fieldId: id, name, type, required };
  });
}

const refused = (why: string) =>
  new LakeSyncError(
    "DestinationRefused",
    `The table cannot be compacted here: ${why}. Compact it with the engine that made it so.`,
  );

/** Types of columns of all schemas, for equality deletes that are older than the current one. */
export const typesOf = (metadata: TableMetadata): TypeOf => {
  const fields = new Map(metadata.schemas.flatMap((schema) => schema.fields.map(({ id, type }) => [id, type])));
  return (fieldId) => {
    const type = fields.get(fieldId);
    return isLakeType(type) ? type : undefined;
  };
};

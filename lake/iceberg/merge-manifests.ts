/**
 * Small manifests into one. Every flush adds a manifest, and everybody who plans a scan reads all of them, the next flush
 * included; so a flush that finds too many carries them over in one, their files as existing, with the sequence numbers
 * that they had (Iceberg spec, "Manifest Entry Fields"). Manifests that are large already are left alone, so each file's
 * entry is rewritten a few times in all.
 */
import type { LakeAdapter, TableMetadata } from "../../core/index.ts";
import { MANIFEST_BYTES, MANIFESTS_MAX } from "../../schemas/index.ts";
import { MANIFEST_CONTENT, type ManifestEntry, type ManifestFile, STATUS } from "./files.ts";
import { defaultSpec, readManifest, type StagedManifest, writeManifest } from "./manifest.ts";

export interface MergedManifests {
  /** Manifests of the base that stay as they are. */
  readonly carried: readonly ManifestFile[];
  /** Those that stand for the rest. */
  readonly merged: readonly StagedManifest[];
}

/** Merges by a base's manifests; the same merge is not made twice, whatever the number of attempts to commit it. */
export class ManifestMerger {
  readonly #store: LakeAdapter;
  readonly #snapshotId: number;
  readonly #max: number;
  readonly #done = new Map<string, StagedManifest>();

  /** @param max small manifests of one content that may stay */
  constructor(store: LakeAdapter, snapshotId: number, max = MANIFESTS_MAX) {
    this.#store = store;
    this.#snapshotId = snapshotId;
    this.#max = max;
  }

  async merge(metadata: TableMetadata, manifests: readonly ManifestFile[]): Promise<MergedManifests> {
    const merged: StagedManifest[] = [];
    const gone = new Set<ManifestFile>();
    for (const content of ["data", "deletes"] as const) {
      const small = manifests.filter((each) => each.content === MANIFEST_CONTENT[content] && isSmall(each, metadata));
      if (small.length <= this.#max) continue;
      const key = small.map((each) => each.manifest_path).join();
      const one = this.#done.get(key) ?? (await this.#mergeInto(metadata, content, small));
      if (one) {
        this.#done.set(key, one);
        merged.push(one);
      }
      for (const each of small) gone.add(each);
    }
    return { carried: manifests.filter((each) => !gone.has(each)), merged };
  }

  async #mergeInto(
    metadata: TableMetadata,
    content: "data" | "deletes",
    small: readonly ManifestFile[],
  ): Promise<StagedManifest | undefined> {
    const entries: ManifestEntry[] = [];
    for (const manifest of small)
      for (const entry of await readManifest(this.#store, manifest))
        entries.push({ ...entry, status: STATUS.existing });
    if (entries.length === 0) return undefined;
    return writeManifest(this.#store, metadata, this.#snapshotId, content, entries);
  }
}

/** Partitioned tables are somebody else's; their tuples are not ours to rewrite. */
const isSmall = (manifest: ManifestFile, metadata: TableMetadata): boolean =>
  manifest.manifest_length < MANIFEST_BYTES &&
  manifest.partition_spec_id === metadata["default-spec-id"] &&
  defaultSpec(metadata).fields.length === 0;

/** Every file that a table's metadata names, by its key in the store. */
import type { LakeAdapter, LoadedTable, Snapshot } from "../../core/index.ts";
import { isLakeSyncError } from "../../schemas/index.ts";
import { keyOf, type ManifestFile, readManifest, readManifestList } from "../iceberg/index.ts";

/** Files fetched at once; a Worker has six connections. */
const CONCURRENCY = 6;

/**
 * Files of all snapshots, metadata files of the log, statistics.
 * @returns keys; files outside of the store are left out, since nobody here deletes them
 */
export async function reachableFrom(
  store: LakeAdapter,
  { metadata, metadataLocation }: LoadedTable,
): Promise<Set<string>> {
  const keys = new Set<string>();
  await addSnapshots(store, metadata.snapshots ?? [], keys, false);
  const statistics = [metadata.statistics, metadata["partition-statistics"]].flatMap(
    (files) => (files ?? []) as { readonly "statistics-path"?: string }[],
  );
  for (const location of [
    metadataLocation,
    ...(metadata["metadata-log"] ?? []).map((entry) => entry["metadata-file"]),
    ...statistics.map((file) => file["statistics-path"]),
  ])
    addKey(store, keys, location);
  return keys;
}

/** Files of snapshots that have left the metadata: some may be gone already. */
export async function filesOfExpired(store: LakeAdapter, snapshots: readonly Snapshot[]): Promise<Set<string>> {
  const keys = new Set<string>();
  await addSnapshots(store, snapshots, keys, true);
  return keys;
}

async function addSnapshots(
  store: LakeAdapter,
  snapshots: readonly Snapshot[],
  keys: Set<string>,
  someMayBeGone: boolean,
): Promise<void> {
  const manifests = new Map<string, ManifestFile>();
  await inTurn(snapshots, async (snapshot) => {
    addKey(store, keys, snapshot["manifest-list"]);
    const list = await orNothing(readManifestList(store, snapshot), someMayBeGone);
    for (const manifest of list) manifests.set(manifest.manifest_path, manifest);
  });
  await inTurn([...manifests.values()], async (manifest) => {
    addKey(store, keys, manifest.manifest_path);
    const entries = await orNothing(readManifest(store, manifest), someMayBeGone);
    for (const { data_file: file } of entries) addKey(store, keys, file.file_path);
  });
}

async function orNothing<T>(read: Promise<T[]>, allowed: boolean): Promise<T[]> {
  try {
    return await read;
  } catch (error) {
    if (allowed && isLakeSyncError(error) && error.code === "NotFound") return [];
    throw error;
  }
}

async function inTurn<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += CONCURRENCY) await Promise.all(items.slice(at, at + CONCURRENCY).map(work));
}

function addKey(store: LakeAdapter, keys: Set<string>, location: string | undefined): void {
  if (location === undefined) return;
  try {
    keys.add(keyOf(store, location));
  } catch (error) {
    if (!isLakeSyncError(error)) throw error;
  }
}

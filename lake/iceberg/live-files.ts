/** Files that a snapshot's manifests list as live. */
import type { LakeAdapter, Snapshot, TableMetadata } from "../../core/index.ts";
import type { DataFile } from "./files.ts";
import { MANIFEST_CONTENT } from "./files.ts";
import { type LiveEntry, readManifest, readManifestList } from "./manifest.ts";
import { currentSnapshot } from "./watermark.ts";

/** Manifests fetched at once; a Worker has six connections. */
const CONCURRENCY = 6;

/** Entries of all data manifests, or of all delete manifests, of a snapshot. */
export async function liveEntries(
  store: LakeAdapter,
  snapshot: Snapshot | undefined,
  content: keyof typeof MANIFEST_CONTENT,
): Promise<LiveEntry[]> {
  const manifests = await readManifestList(store, snapshot);
  const wanted = manifests.filter((each) => each.content === MANIFEST_CONTENT[content]);
  const entries: LiveEntry[] = [];
  for (let at = 0; at < wanted.length; at += CONCURRENCY) {
    const few = await Promise.all(wanted.slice(at, at + CONCURRENCY).map((each) => readManifest(store, each)));
    for (const part of few) entries.push(...part);
  }
  return entries;
}

/** Data files of the table's current snapshot. */
export async function liveDataFiles(store: LakeAdapter, metadata: TableMetadata): Promise<DataFile[]> {
  return (await liveEntries(store, currentSnapshot(metadata), "data")).map((entry) => entry.data_file);
}

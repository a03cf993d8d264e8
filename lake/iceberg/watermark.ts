/**
 * What a table holds of each shard (architecture, decision 6; docs/decisions has the choice).
 *
 *   snapshot summary   lakesync.watermark.<shard> = seq    of every shard, carried forward in every commit of ours
 *                      lakesync.digest.<shard>             of the shard's rows of this table at that seq (V1)
 *                      lakesync.max-hlc, lakesync.to-ms    how far in time
 *   table properties   the same, set by the same commit    outlives expiry, and commits of engines that carry nothing
 *
 * Both change in one compare-and-swap with the data, so a flush that comes again finds exactly what it did (F1).
 */
import type { Snapshot, TableMetadata } from "../../core/index.ts";

const PREFIX = "lakesync.watermark.";
const DIGEST = "lakesync.digest.";
const MAX_HLC = "lakesync.max-hlc";
const TO_MS = "lakesync.to-ms";
const isOurs = (key: string): boolean =>
  key.startsWith(PREFIX) || key.startsWith(DIGEST) || key === MAX_HLC || key === TO_MS;

export function currentSnapshot(metadata: TableMetadata): Snapshot | undefined {
  const id = metadata["current-snapshot-id"];
  return id === undefined || id === null ? undefined : metadata.snapshots?.find((each) => each["snapshot-id"] === id);
}

/** Highest seq of the shard that the table holds; 0 when it holds none. */
export function watermarkOf(metadata: TableMetadata, shard: string): number {
  const key = PREFIX + shard;
  return Math.max(Number(metadata.properties?.[key] ?? 0), Number(carried(metadata)[key] ?? 0));
}

/** Our keys in the newest snapshot that has any, going back over commits of others. */
function carried(metadata: TableMetadata): Readonly<Record<string, string>> {
  const byId = new Map(metadata.snapshots?.map((each) => [each["snapshot-id"], each]));
  for (let at = currentSnapshot(metadata); at; at = byId.get(at["parent-snapshot-id"] ?? -1)) {
    const ours = Object.entries(at.summary).filter(([key]) => isOurs(key));
    if (ours.length > 0) return Object.fromEntries(ours);
  }
  return {};
}

/** What every commit of ours carries forward, whatever it does. */
export function carriedSummary(metadata: TableMetadata): Record<string, string> {
  const properties = Object.entries(metadata.properties ?? {}).filter(([key]) => isOurs(key));
  return { ...carried(metadata), ...Object.fromEntries(properties) };
}

/** Shards that the table holds something of. */
export const shardsIn = (metadata: TableMetadata): string[] =>
  Object.keys(carriedSummary(metadata)).flatMap((key) => (key.startsWith(PREFIX) ? [key.slice(PREFIX.length)] : []));

/** What each shard said of its rows at its newest flush. */
export function digestsOf(metadata: TableMetadata): Record<string, string> {
  const ours = Object.entries(carriedSummary(metadata)).filter(([key]) => key.startsWith(DIGEST));
  return Object.fromEntries(ours.map(([key, digest]) => [key.slice(DIGEST.length), digest]));
}

export interface Progress {
  readonly shard: string;
  readonly toSeq: number;
  /** Milliseconds since 1970. */
  readonly toMs: number;
  /** Highest stamp in the batch. */
  readonly maxHlc: bigint;
  /** Of the shard's rows of the table at `toSeq`. */
  readonly digest?: string | undefined;
}

/** The summary keys of a flush: what was carried, and how far this shard has come. */
export function progressSummary(metadata: TableMetadata, progress: Progress): Record<string, string> {
  const before = carriedSummary(metadata);
  const hlc = BigInt(before[MAX_HLC] ?? 0);
  return {
    ...before,
    [PREFIX + progress.shard]: String(progress.toSeq),
    ...(progress.digest !== undefined && { [DIGEST + progress.shard]: progress.digest }),
    [MAX_HLC]: String(progress.maxHlc > hlc ? progress.maxHlc : hlc),
    [TO_MS]: String(Math.max(progress.toMs, Number(before[TO_MS] ?? 0))),
  };
}

/** The properties that the same commit sets. */
export function progressProperties(metadata: TableMetadata, progress: Progress): Record<string, string> {
  const key = PREFIX + progress.shard;
  const after = progressSummary(metadata, progress);
  const keys = [key, DIGEST + progress.shard, MAX_HLC, TO_MS].filter((each) => after[each] !== undefined);
  return Object.fromEntries(keys.map((each) => [each, after[each] as string]));
}

/** The objects of a checkpoint, written and read. */
import {
  type ByteRange,
  bucketsOf,
  type CheckpointManifest,
  type ChunkInfo,
  type ChunkRest,
  INDEX_BUCKETS,
  type IndexRun,
  idsIn,
  type LakeAdapter,
  manifestSchema,
} from "../../core/index.ts";
import { type DeltaBatch, decodeChunk, encodeChunk, LakeSyncError, type Scalar, unwrap } from "../../schemas/index.ts";
import { gunzip, gzip, sha256Of } from "./gzip.ts";
import { type CheckpointPlace, chunkKey, manifestKey, objectKey } from "./keys.ts";

const utf8 = new TextEncoder();
const text = new TextDecoder();

/** Where a run's objects are. */
export interface RunPlace extends CheckpointPlace {
  readonly run: string;
}

async function put(store: LakeAdapter, key: (name: string) => string, bytes: Uint8Array): Promise<string> {
  const name = await sha256Of(bytes);
  unwrap(await store.put(key(name), bytes, { contentType: "application/octet-stream" }));
  return name;
}

export async function putChunk(
  store: LakeAdapter,
  place: RunPlace,
  { table, batch, rest }: { readonly table: string; readonly batch: DeltaBatch; readonly rest: ChunkRest },
): Promise<ChunkInfo> {
  const bytes = await gzip(encodeChunk([batch]));
  const hidden = await gzip(utf8.encode(JSON.stringify(rest)));
  const [name, other] = await Promise.all([
    put(store, (sha) => chunkKey(place, place.run, table, sha), bytes),
    put(store, (sha) => objectKey(place, place.run, "rest", sha), hidden),
  ]);
  return { name, rest: other, rows: rest.seqs.length, entries: batch.rowIds.length, bytes: bytes.length };
}

/** Throws `Corrupt` for an object that is not what it is named. */
async function getNamed(store: LakeAdapter, key: string, name: string): Promise<Uint8Array> {
  const bytes = unwrap(await store.get(key));
  if ((await sha256Of(bytes)) === name) return gunzip(bytes, key);
  throw new LakeSyncError("Corrupt", `${key} does not hold what its name says; make a new checkpoint.`, { key });
}

/** A chunk with what a rebuild needs of it. */
export async function getChunk(
  store: LakeAdapter,
  place: RunPlace,
  table: string,
  info: ChunkInfo,
): Promise<{ readonly batches: DeltaBatch[]; readonly rest: ChunkRest }> {
  const [chunk, rest] = await Promise.all([
    getNamed(store, chunkKey(place, place.run, table, info.name), info.name),
    getNamed(store, objectKey(place, place.run, "rest", info.rest), info.rest),
  ]);
  return { batches: unwrap(decodeChunk(chunk)), rest: JSON.parse(text.decode(rest)) as ChunkRest };
}

/** An index run: where each bucket begins, four bytes each and the end; then the buckets, each compressed by itself. */
const HEAD_BYTES = (INDEX_BUCKETS + 1) * 4;

export async function putIndexRun(store: LakeAdapter, place: RunPlace, run: IndexRun): Promise<string> {
  const texts = run.texts();
  const nothing = new Uint8Array(0);
  const buckets = await Promise.all(texts.map((bucket) => (bucket === "{}" ? nothing : gzip(utf8.encode(bucket)))));
  const bytes = new Uint8Array(HEAD_BYTES + buckets.reduce((sum, bucket) => sum + bucket.length, 0));
  const view = new DataView(bytes.buffer);
  let at = HEAD_BYTES;
  buckets.forEach((bucket, index) => {
    view.setUint32(index * 4, at);
    bytes.set(bucket, at);
    at += bucket.length;
  });
  view.setUint32(INDEX_BUCKETS * 4, at);
  return put(store, (name) => objectKey(place, place.run, "index", name), bytes);
}

/** Ids of rows that may have one of these values in the column that a run is of. */
export async function lookUp(
  store: LakeAdapter,
  place: RunPlace,
  name: string,
  values: readonly Scalar[],
): Promise<string[]> {
  const key = objectKey(place, place.run, "index", name);
  const read = async (range: ByteRange) => unwrap(await store.get(key, range));
  const head = await read({ offset: 0, length: HEAD_BYTES });
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const ids = await Promise.all(
    [...bucketsOf(values)].map(async ([bucket, some]) => {
      const [from, to] = [view.getUint32(bucket * 4), view.getUint32(bucket * 4 + 4)];
      if (from === to) return [];
      return idsIn(text.decode(await gunzip(await read({ offset: from, length: to - from }), key)), some);
    }),
  );
  return ids.flat();
}

/** A shard's checkpoint in force; undefined when there is none yet. */
export async function readCheckpoint(
  store: LakeAdapter,
  place: CheckpointPlace,
): Promise<CheckpointManifest | undefined> {
  const key = manifestKey(place);
  const found = await store.get(key);
  if (!found.ok && found.error.code === "NotFound") return undefined;
  const parsed = manifestSchema.safeParse(JSON.parse(text.decode(unwrap(found))));
  if (parsed.success) return parsed.data;
  throw new LakeSyncError("Corrupt", `${key} is not a checkpoint's manifest; delete it, and make a new checkpoint.`);
}

export async function putJson(store: LakeAdapter, key: string, value: unknown): Promise<void> {
  unwrap(await store.put(key, utf8.encode(JSON.stringify(value)), { contentType: "application/json" }));
}

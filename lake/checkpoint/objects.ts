/** The objects of a checkpoint, written and read. */
import {
  type ByteRange,
  type CheckpointManifest,
  type ChunkInfo,
  type ChunkRest,
  type ClientClocks,
  type ColdRun,
  INDEX_PARTS,
  type IndexRun,
  idsIn,
  type LakeAdapter,
  manifestSchema,
  partsFor,
  type Selector,
} from "../../core/index.ts";
import { type DeltaBatch, decodeChunk, encodeChunk, LakeSyncError, unwrap } from "../../schemas/index.ts";
import { gunzip, gzip, sha256Of } from "./gzip.ts";
import { type CheckpointPlace, checkpointFolder, chunkKey, manifestKey, objectKey } from "./keys.ts";

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

/** Rows that a chunk tells of. */
export async function idsInChunk(store: LakeAdapter, place: RunPlace, table: string, name: string): Promise<string[]> {
  const batches = unwrap(decodeChunk(await getNamed(store, chunkKey(place, place.run, table, name), name)));
  return [...new Set(batches.flatMap(({ rowIds }) => rowIds))];
}

/** An index run: where each part begins, four bytes each, and the end; then the parts, each compressed by itself. */
const HEAD_BYTES = (INDEX_PARTS + 1) * 4;

export async function putIndexRun(store: LakeAdapter, place: RunPlace, run: IndexRun): Promise<string> {
  const parts = await Promise.all(run.parts().map((part) => gzip(utf8.encode(part))));
  const bytes = new Uint8Array(HEAD_BYTES + parts.reduce((sum, part) => sum + part.length, 0));
  const view = new DataView(bytes.buffer);
  let at = HEAD_BYTES;
  for (let index = 0; index <= INDEX_PARTS; index++) {
    view.setUint32(index * 4, at);
    const part = parts[index];
    if (part) bytes.set(part, at);
    at += part?.length ?? 0;
  }
  return put(store, (name) => objectKey(place, place.run, "index", name), bytes);
}

/** Ids of rows that may have what selectors of the run's column ask for. */
export async function lookUp(
  store: LakeAdapter,
  place: RunPlace,
  name: string,
  selectors: readonly Selector[],
): Promise<string[]> {
  const key = objectKey(place, place.run, "index", name);
  const read = async (range: ByteRange) => unwrap(await store.get(key, range));
  const head = await read({ offset: 0, length: HEAD_BYTES });
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const startOf = (part: number): number => view.getUint32(part * 4);
  /** Parts behind each other are one read. */
  const readParts = async (first: number, last: number): Promise<string[]> => {
    const offset = startOf(first);
    const bytes = await read({ offset, length: startOf(last + 1) - offset });
    const texts: string[] = [];
    for (let part = first; part <= last; part++) {
      const zipped = bytes.subarray(startOf(part) - offset, startOf(part + 1) - offset);
      texts.push(text.decode(await gunzip(zipped, key)));
    }
    return texts;
  };
  const [directory = "[]"] = await readParts(0, 0);
  const ids = new Set<string>();
  for (const [first, last] of runsOf(partsFor(directory, selectors)))
    for (const block of await readParts(first, last)) for (const id of idsIn(block, selectors)) ids.add(id);
  return [...ids];
}

/** First and last of numbers behind each other. */
function runsOf(numbers: readonly number[]): [number, number][] {
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const run = runs.at(-1);
    if (run && run[1] === number - 1) run[1] = number;
    else runs.push([number, number]);
  }
  return runs;
}

/** The runs of what has left of a table, as a checkpoint keeps them. */
export const putColdRuns = (store: LakeAdapter, place: RunPlace, runs: readonly ColdRun[]): Promise<string> =>
  put(store, (name) => objectKey(place, place.run, "cold", name), utf8.encode(JSON.stringify(runs)));

export async function getColdRuns(store: LakeAdapter, place: RunPlace, name: string): Promise<ColdRun[]> {
  const bytes = unwrap(await store.get(objectKey(place, place.run, "cold", name)));
  return JSON.parse(text.decode(bytes)) as ColdRun[];
}

/** Names of all runs that any checkpoint here lists, one in force or another. */
export async function listedRuns(store: LakeAdapter, place: CheckpointPlace): Promise<Set<string>> {
  const names = new Set<string>();
  for await (const objects of objectsIn(store, place))
    for (const { run, folder, name } of objects)
      if (folder === "cold")
        for (const listed of await getColdRuns(store, { ...place, run }, name)) names.add(listed.name);
  return names;
}

interface RunObject {
  readonly key: string;
  readonly run: string;
  readonly folder: string;
  readonly name: string;
}

/** The objects of all runs here, page by page. */
export async function* objectsIn(store: LakeAdapter, place: CheckpointPlace): AsyncGenerator<RunObject[]> {
  const root = checkpointFolder(place);
  for (let cursor: string | undefined; ; ) {
    const page: { objects: readonly { key: string }[]; cursor?: string } = unwrap(await store.list(root, cursor));
    yield page.objects.flatMap(({ key }) => {
      const [run = "", folder = "", ...rest] = key.slice(root.length).split("/");
      return folder === "" ? [] : [{ key, run, folder, name: rest.join("/") }];
    });
    if (page.cursor === undefined) return;
    cursor = page.cursor;
  }
}

export const putClocks = async (store: LakeAdapter, place: RunPlace, clocks: ClientClocks): Promise<string> =>
  put(store, (name) => objectKey(place, place.run, "clocks", name), await gzip(utf8.encode(JSON.stringify(clocks))));

export async function getClocks(store: LakeAdapter, place: RunPlace, name: string): Promise<ClientClocks> {
  const bytes = await getNamed(store, objectKey(place, place.run, "clocks", name), name);
  return JSON.parse(text.decode(bytes)) as ClientClocks;
}

/** A shard's checkpoint in force; undefined when there is none yet. */
export async function readCheckpoint(
  store: LakeAdapter,
  place: CheckpointPlace,
): Promise<CheckpointManifest | undefined> {
  const key = manifestKey(place);
  const found = await store.get(key);
  if (!found.ok && found.error.code === "NotFound") return undefined;
  const manifest = JSON.parse(text.decode(unwrap(found)));
  if (manifest?.format === 1) return undefined; // its indexes are of another kind; the next checkpoint takes its place
  const parsed = manifestSchema.safeParse(manifest);
  if (parsed.success) return parsed.data;
  throw new LakeSyncError("Corrupt", `${key} is not a checkpoint's manifest; delete it, and make a new checkpoint.`);
}

export async function putJson(store: LakeAdapter, key: string, value: unknown): Promise<void> {
  unwrap(await store.put(key, utf8.encode(JSON.stringify(value)), { contentType: "application/json" }));
}

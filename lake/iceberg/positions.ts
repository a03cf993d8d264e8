/**
 * Where the old versions of rows lie (docs/decisions: looked up, not indexed).
 *
 * A shard knows the `_seq` of the version of a row that the lake holds. So the files that can hold it are those whose
 * bounds cover both the row id and that seq, and in them the version is the one row with that id and that seq: stale
 * versions have other seqs, so existing delete files need not be read, and compaction, which keeps `_seq`, changes
 * nothing. Only the two key columns of those files are fetched.
 *
 * Where the seq is not known (a flush that was cut at its watermark, or a version that is not where it should be) every
 * version of the row counts as old: removing again what is removed already is harmless.
 */
import type { LakeAdapter } from "../../core/index.ts";
import { compareCodePoints, LOOKUP_CONCURRENCY, type Scalar } from "../../schemas/index.ts";
import { openParquet, textOf } from "../parquet/index.ts";
import { decodeLong, decodeString } from "./bounds.ts";
import type { DataFile } from "./files.ts";
import { keyOf } from "./locations.ts";

/** Row ids, and the seq of the version to remove; 0 for every version. */
export type OldRows = ReadonlyMap<string, number>;

/** Ascending positions by path of data file. */
export type Positions = ReadonlyMap<string, readonly number[]>;

export interface KeyFields {
  readonly rowId: number;
  readonly seq: number;
}

/** @param files live data files of the snapshot that the deletes will be committed on */
export async function findPositions(
  store: LakeAdapter,
  files: readonly DataFile[],
  keys: KeyFields,
  old: OldRows,
): Promise<Positions> {
  const missing = new Map(old);
  const found = await search(store, files, keys, old, (rowId) => missing.delete(rowId));
  const lost = new Map([...missing].flatMap(([rowId, seq]) => (seq > 0 ? [[rowId, 0] as const] : [])));
  if (lost.size === 0) return found;
  for (const [path, positions] of await search(store, files, keys, lost, () => {})) {
    const all = new Set([...(found.get(path) ?? []), ...positions]);
    found.set(
      path,
      [...all].sort((a, b) => a - b),
    );
  }
  return found;
}

/** Like `findPositions`, but a version that is not where its seq says is not looked for elsewhere. */
export const findExactly = (
  store: LakeAdapter,
  files: readonly DataFile[],
  keys: KeyFields,
  old: OldRows,
): Promise<Map<string, number[]>> => search(store, files, keys, old, () => {});

async function search(
  store: LakeAdapter,
  files: readonly DataFile[],
  keys: KeyFields,
  old: OldRows,
  onFound: (rowId: string) => void,
): Promise<Map<string, number[]>> {
  const found = new Map<string, number[]>();
  if (old.size === 0) return found;
  const ids = [...old.keys()].sort(compareCodePoints);
  const seqs = Float64Array.from(ids, (id) => old.get(id) as number);
  const candidates = files.filter((file) => mayHold(file, keys, ids, seqs));
  for (let at = 0; at < candidates.length; at += LOOKUP_CONCURRENCY) {
    const few = candidates.slice(at, at + LOOKUP_CONCURRENCY);
    const results = await Promise.all(few.map((file) => searchFile(store, file, keys, ids, old, onFound)));
    results.forEach((positions, of) => {
      if (positions.length > 0) found.set((few[of] as DataFile).file_path, positions);
    });
  }
  return found;
}

/** Whether some wanted row lies within the file's bounds, by id and by seq. */
function mayHold(file: DataFile, keys: KeyFields, ids: readonly string[], seqs: Float64Array): boolean {
  const lowId = file.lower_bounds?.get(keys.rowId);
  const highId = file.upper_bounds?.get(keys.rowId);
  const lowSeq = file.lower_bounds?.get(keys.seq);
  const highSeq = file.upper_bounds?.get(keys.seq);
  const from = lowSeq ? Number(decodeLong(lowSeq)) : 0;
  const to = highSeq ? Number(decodeLong(highSeq)) : Number.POSITIVE_INFINITY;
  const start = lowId ? firstWhere(ids, decodeString(lowId), (order) => order >= 0) : 0;
  const end = highId ? firstWhere(ids, decodeString(highId), (order) => order > 0) : ids.length;
  for (let at = start; at < end; at++) {
    const seq = seqs[at] as number;
    if (seq === 0 || (from <= seq && seq <= to)) return true;
  }
  return false;
}

/** Index of the first of the sorted ids whose order against `bound` passes; all after it pass too. */
function firstWhere(ids: readonly string[], bound: string, passes: (order: number) => boolean): number {
  let [from, to] = [0, ids.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (passes(compareCodePoints(ids[middle] as string, bound))) to = middle;
    else from = middle + 1;
  }
  return from;
}

async function searchFile(
  store: LakeAdapter,
  file: DataFile,
  keys: KeyFields,
  ids: readonly string[],
  old: OldRows,
  onFound: (rowId: string) => void,
): Promise<number[]> {
  const reader = await openParquet(store, keyOf(store, file.file_path), file.file_size_in_bytes);
  const wantedSeqs = new Set(old.values());
  const anySeq = wantedSeqs.has(0);
  const positions: number[] = [];
  for (const [group, { start }] of reader.rowGroups.entries()) {
    const bounds = reader.stringBounds(group, keys.rowId);
    const first = bounds && ids[firstWhere(ids, bounds.lower, (order) => order >= 0)];
    if (bounds && (first === undefined || compareCodePoints(first, bounds.upper) > 0)) continue;
    const [rowIds] = (await reader.readTexts(group, [keys.rowId])) as [unknown[]];
    const [seqs] = (await reader.readGroup(group, [{ fieldId: keys.seq, type: "long" }])) as [Scalar[]];
    rowIds.forEach((bytes, at) => {
      // Most rows of a file are not wanted; their ids need not become strings.
      if (!anySeq && !wantedSeqs.has(seqs[at] as number)) return;
      const rowId = textOf(bytes);
      const seq = old.get(rowId);
      if (seq === undefined || (seq > 0 && seq !== seqs[at])) return;
      positions.push(start + at);
      onFound(rowId);
    });
  }
  return positions;
}

/**
 * The first so many rows of a snapshot in the order of a key, without sorting the table: the keys alone are read first,
 * the least are kept, then those rows are read whole. Memory is bounded by the limit and one row group.
 */
import type { LakeAdapter, Snapshot } from "../../core/index.ts";
import type { Scalar } from "../../schemas/index.ts";
import { openParquet, type ReadColumn } from "../parquet/index.ts";
import { liveEntries } from "./live-files.ts";
import { keyOf } from "./locations.ts";
import { type ScanOptions, scanSnapshot } from "./scan.ts";

export interface Selection<Key> {
  /** Columns that `keyOf` looks at. */
  readonly keys: readonly ReadColumn[];
  /** The row's key, or undefined for a row that is not wanted. */
  keyOf(values: readonly Scalar[]): Key | undefined;
  compare(a: Key, b: Key): number;
  readonly skip?: NonNullable<ScanOptions["skip"]>;
  readonly limit: number;
  /** Columns of the rows that are chosen. */
  readonly columns: readonly ReadColumn[];
}

interface Found<Key> {
  readonly key: Key;
  readonly path: string;
  readonly position: number;
}

/** @returns the columns asked for, rows in the order of their keys */
export async function selectFirst<Key>(
  store: LakeAdapter,
  snapshot: Snapshot | undefined,
  selection: Selection<Key>,
): Promise<Scalar[][]> {
  const { compare, limit, skip } = selection;
  let found: Found<Key>[] = [];
  const cut = () => {
    found = found.sort((a, b) => compare(a.key, b.key)).slice(0, limit);
  };
  const scan = scanSnapshot(store, snapshot, { columns: selection.keys, ...(skip ? { skip } : {}) });
  for await (const { columns, path, positions } of scan) {
    positions.forEach((position, row) => {
      const key = selection.keyOf(columns.map((values) => values[row] as Scalar));
      if (key !== undefined) found.push({ key, path, position });
    });
    if (found.length > limit * 2) cut();
  }
  cut();
  return readRows(store, snapshot, found, selection.columns);
}

async function readRows(
  store: LakeAdapter,
  snapshot: Snapshot | undefined,
  rows: readonly Found<unknown>[],
  columns: readonly ReadColumn[],
): Promise<Scalar[][]> {
  const result: Scalar[][] = columns.map(() => new Array<Scalar>(rows.length).fill(null));
  const wanted = Map.groupBy(rows.keys(), (at) => (rows[at] as Found<unknown>).path);
  for (const { data_file: file } of await liveEntries(store, snapshot, "data")) {
    const here = wanted.get(file.file_path);
    if (!here) continue;
    const reader = await openParquet(store, keyOf(store, file.file_path), file.file_size_in_bytes);
    for (const [group, { start, rows: count }] of reader.rowGroups.entries()) {
      const inGroup = here.filter((at) => {
        const { position } = rows[at] as Found<unknown>;
        return position >= start && position < start + count;
      });
      if (inGroup.length === 0) continue;
      const values = await reader.readGroup(group, columns);
      for (const at of inGroup)
        for (const [of, column] of values.entries())
          (result[of] as Scalar[])[at] = column[(rows[at] as Found<unknown>).position - start] as Scalar;
    }
  }
  return result;
}

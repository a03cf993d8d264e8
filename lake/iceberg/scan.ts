/**
 * Merge on read: the rows of a snapshot, its deletes applied (Iceberg spec, "Scan Planning"). Columns are found by field
 * id, so files of every schema that the table ever had are read (L4).
 */
import type { LakeAdapter, Snapshot } from "../../core/index.ts";
import type { Scalar } from "../../schemas/index.ts";
import { openParquet, type ReadColumn } from "../parquet/index.ts";
import { DeleteIndex } from "./delete-index.ts";
import { deadByEquality, type TypeOf } from "./equality-deletes.ts";
import { liveEntries } from "./live-files.ts";
import { keyOf } from "./locations.ts";
import type { LiveEntry } from "./manifest.ts";

export interface ScanBatch {
  /** Values of the columns asked for, in that order; one entry a live row. */
  readonly columns: readonly (readonly Scalar[])[];
  readonly path: string;
  /** Position in the file of each row. */
  readonly positions: readonly number[];
}

export interface ScanOptions {
  readonly columns: readonly ReadColumn[];
  /** Types of columns that equality deletes may compare, by field id; those not given make such deletes `Corrupt`. */
  readonly typeOf?: TypeOf;
  /** Files to leave out, by what their manifest entry says. */
  readonly skip?: (entry: LiveEntry) => boolean;
}

/** Rows of a snapshot, a row group at a time, in the order of the manifests; of none, nothing. */
export async function* scanSnapshot(
  store: LakeAdapter,
  snapshot: Snapshot | undefined,
  options: ScanOptions,
): AsyncGenerator<ScanBatch> {
  const [data, deleteEntries] = await Promise.all([
    liveEntries(store, snapshot, "data"),
    liveEntries(store, snapshot, "deletes"),
  ]);
  const typeOf: TypeOf = (fieldId) =>
    options.typeOf?.(fieldId) ?? options.columns.find((column) => column.fieldId === fieldId)?.type;
  const deletes = await DeleteIndex.load(store, data, deleteEntries, typeOf);
  for (const entry of data) if (!options.skip?.(entry)) yield* scanFile(store, entry, deletes, options);
}

async function* scanFile(
  store: LakeAdapter,
  entry: LiveEntry,
  deletes: DeleteIndex,
  options: ScanOptions,
): AsyncGenerator<ScanBatch> {
  const { file_path: path, file_size_in_bytes: size } = entry.data_file;
  const gone = deletes.positions(path);
  const equality = deletes.equality(entry);
  const reader = await openParquet(store, keyOf(store, path), size);
  for (const [group, { start, rows }] of reader.rowGroups.entries()) {
    const dead = await deadByEquality(reader, group, equality);
    const live: number[] = [];
    for (let row = 0; row < rows; row++) if (!gone?.has(start + row) && !dead.has(row)) live.push(row);
    if (live.length === 0) continue;
    const columns = await reader.readGroup(group, options.columns);
    const whole = live.length === rows;
    yield {
      columns: whole ? columns : columns.map((values) => live.map((row) => values[row] as Scalar)),
      path,
      positions: live.map((row) => start + row),
    };
  }
}

/**
 * Merge on read: the rows of a snapshot, its deletes applied (Iceberg spec, "Scan Planning"). Columns are found by field
 * id, so files of every schema that the table ever had are read (L4).
 *
 *   a position delete applies to the file it names, when its sequence number is not less than the file's
 *   an equality delete applies to every row that equals it, when its sequence number is greater than the file's
 */
import type { LakeAdapter, Snapshot } from "../../core/index.ts";
import { LakeSyncError, type Scalar } from "../../schemas/index.ts";
import type { Long } from "../avro/index.ts";
import { openParquet, type ParquetReader, type ReadColumn } from "../parquet/index.ts";
import { CONTENT } from "./files.ts";
import { liveEntries } from "./live-files.ts";
import { keyOf } from "./locations.ts";
import type { LiveEntry } from "./manifest.ts";
import { DELETE_PATH_FIELD, DELETE_POS_FIELD } from "./position-deletes.ts";

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
  readonly typeOf?: (fieldId: number) => ReadColumn["type"] | undefined;
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
  const deletes = await readDeletes(store, deleteEntries, options);
  for (const entry of data) if (!options.skip?.(entry)) yield* scanFile(store, entry, deletes, options);
}

interface Deletes {
  /** Positions by path of data file, each with the sequence number of its delete file. */
  readonly positions: ReadonlyMap<string, readonly { readonly position: number; readonly sequence: bigint }[]>;
  readonly equality: readonly EqualityDelete[];
}
interface EqualityDelete {
  readonly sequence: bigint;
  readonly columns: readonly ReadColumn[];
  readonly keys: ReadonlySet<string>;
}

async function readDeletes(store: LakeAdapter, entries: readonly LiveEntry[], options: ScanOptions): Promise<Deletes> {
  const positions = new Map<string, { position: number; sequence: bigint }[]>();
  const equality: EqualityDelete[] = [];
  for (const { data_file: file, sequence_number } of entries) {
    const sequence = BigInt(sequence_number);
    const reader = await openParquet(store, keyOf(store, file.file_path), file.file_size_in_bytes);
    if (file.content === CONTENT.equalityDeletes) {
      const columns = (file.equality_ids ?? []).map((id) => readColumn(id, options));
      equality.push({ sequence, columns, keys: new Set(keysOf(await reader.readAll(columns))) });
      continue;
    }
    const [paths, at] = await reader.readAll([
      { fieldId: DELETE_PATH_FIELD, type: "string" },
      { fieldId: DELETE_POS_FIELD, type: "long" },
    ]);
    paths?.forEach((path, row) => {
      const list = positions.get(path as string) ?? [];
      positions.set(path as string, list);
      list.push({ position: at?.[row] as number, sequence });
    });
  }
  return { positions, equality };
}

function readColumn(fieldId: number, options: ScanOptions): ReadColumn {
  const type = options.typeOf?.(fieldId) ?? options.columns.find((column) => column.fieldId === fieldId)?.type;
  if (type) return { fieldId, type };
  throw new LakeSyncError(
    "Corrupt",
    `An equality delete compares field ${fieldId}, which the table's schema has not.`,
    {
      fieldId,
    },
  );
}

/** One text a row, the same for equal tuples; NULL equals NULL in equality deletes. */
const keysOf = (columns: readonly (readonly Scalar[])[]): string[] =>
  (columns[0] ?? []).map((_, row) => JSON.stringify(columns.map((values) => values[row])));

async function* scanFile(
  store: LakeAdapter,
  entry: LiveEntry,
  deletes: Deletes,
  options: ScanOptions,
): AsyncGenerator<ScanBatch> {
  const { file_path: path, file_size_in_bytes: size } = entry.data_file;
  const sequence = BigInt(entry.sequence_number as Long);
  const applicable = (deletes.positions.get(path) ?? []).filter((each) => each.sequence >= sequence);
  const gone = new Set(applicable.map((each) => each.position));
  const equality = deletes.equality.filter((each) => each.sequence > sequence);
  const reader = await openParquet(store, keyOf(store, path), size);
  for (const [group, { start, rows }] of reader.rowGroups.entries()) {
    const dead = await deadByEquality(reader, group, equality);
    const live: number[] = [];
    for (let row = 0; row < rows; row++) if (!gone.has(start + row) && !dead.has(row)) live.push(row);
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

async function deadByEquality(
  reader: ParquetReader,
  group: number,
  equality: readonly EqualityDelete[],
): Promise<ReadonlySet<number>> {
  const dead = new Set<number>();
  for (const { columns, keys } of equality) {
    keysOf(await reader.readGroup(group, columns)).forEach((key, row) => {
      if (keys.has(key)) dead.add(row);
    });
  }
  return dead;
}

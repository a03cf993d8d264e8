/**
 * Equality delete files (Iceberg spec, "Equality Delete Files"): each row says that rows which equal it in some columns
 * are gone. LakeSync writes them only on request, since PyIceberg refuses them; it reads and compacts everybody's.
 */

import type { LakeAdapter } from "../../core/index.ts";
import { LakeSyncError, type Scalar, unwrap } from "../../schemas/index.ts";
import type { Long } from "../avro/index.ts";
import {
  openParquet,
  type ParquetColumn,
  type ParquetReader,
  type ReadColumn,
  writeParquet,
} from "../parquet/index.ts";
import { type DataFileTarget, dataFileOf } from "./data-files.ts";
import { CONTENT, type DataFile } from "./files.ts";
import { digestOf, keyOf } from "./locations.ts";
import type { LiveEntry } from "./manifest.ts";

export interface EqualityDelete {
  /** Applies to data files of a lower sequence number. */
  readonly sequence: bigint;
  readonly columns: readonly ReadColumn[];
  readonly keys: ReadonlySet<string>;
}

/** Type of a column of any schema that the table ever had, by field id. */
export type TypeOf = (fieldId: number) => ReadColumn["type"] | undefined;

/** Throws `Corrupt` for a file that compares columns which no schema has. */
export async function readEqualityDeletes(
  store: LakeAdapter,
  { data_file: file, sequence_number }: LiveEntry,
  typeOf: TypeOf,
): Promise<EqualityDelete> {
  const columns = (file.equality_ids ?? []).map((fieldId): ReadColumn => {
    const type = typeOf(fieldId);
    if (type) return { fieldId, type };
    const message = `An equality delete compares field ${fieldId}, which the table's schema has not.`;
    throw new LakeSyncError("Corrupt", message, { fieldId });
  });
  const reader = await openParquet(store, keyOf(store, file.file_path), file.file_size_in_bytes);
  return { sequence: BigInt(sequence_number), columns, keys: new Set(keysOf(await reader.readAll(columns))) };
}

/** Those that apply to a file of this sequence number. */
export const applicable = (deletes: readonly EqualityDelete[], sequence: Long): EqualityDelete[] =>
  deletes.filter((each) => each.sequence > BigInt(sequence));

/** Rows of a row group that are gone, by their number in the group. */
export async function deadByEquality(
  reader: ParquetReader,
  group: number,
  deletes: readonly EqualityDelete[],
): Promise<ReadonlySet<number>> {
  const dead = new Set<number>();
  for (const { columns, keys } of deletes)
    keysOf(await reader.readGroup(group, columns)).forEach((key, row) => {
      if (keys.has(key)) dead.add(row);
    });
  return dead;
}

/** One text a row, the same for equal tuples; NULL equals NULL in equality deletes. */
const keysOf = (columns: readonly (readonly Scalar[])[]): string[] =>
  (columns[0] ?? []).map((_, row) => JSON.stringify(columns.map((values) => values[row])));

/** Writes one file: rows that equal a row of these columns are gone. All columns have the same number of values. */
export async function writeEqualityDeletes(
  { store, location, name }: DataFileTarget,
  columns: readonly ParquetColumn[],
): Promise<DataFile> {
  const { bytes, metrics } = writeParquet({ rows: columns[0]?.values.length ?? 0, columns });
  const path = `${location}/data/${name}-equality-${await digestOf(bytes)}.parquet`;
  unwrap(await store.put(keyOf(store, path), bytes, { contentType: "application/vnd.apache.parquet" }));
  const ids = columns.map((column) => column.fieldId);
  return { ...dataFileOf(path, bytes.length, metrics, new Set()), content: CONTENT.equalityDeletes, equality_ids: ids };
}

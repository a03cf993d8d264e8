/**
 * What manifests and manifest lists hold, in the words of the Iceberg table specification ("Manifests", "Manifest
 * Lists"); the same objects go in and out of Avro, so keys are as the specification writes them.
 */
import type { Long } from "../avro/index.ts";

export const CONTENT = { data: 0, positionDeletes: 1, equalityDeletes: 2 } as const;
export const STATUS = { existing: 0, added: 1, deleted: 2 } as const;

/** `data_file` of a manifest entry: a data file or a delete file. */
export interface DataFile {
  readonly content: number;
  readonly file_path: string;
  readonly file_format: string;
  readonly partition: Readonly<Record<string, unknown>>;
  readonly record_count: number;
  readonly file_size_in_bytes: number;
  readonly column_sizes?: ReadonlyMap<number, Long> | null;
  readonly value_counts?: ReadonlyMap<number, Long> | null;
  readonly null_value_counts?: ReadonlyMap<number, Long> | null;
  readonly nan_value_counts?: ReadonlyMap<number, Long> | null;
  readonly lower_bounds?: ReadonlyMap<number, Uint8Array> | null;
  readonly upper_bounds?: ReadonlyMap<number, Uint8Array> | null;
  readonly key_metadata?: Uint8Array | null;
  readonly split_offsets?: readonly Long[] | null;
  readonly equality_ids?: readonly number[] | null;
  readonly sort_order_id?: number | null;
  readonly referenced_data_file?: string | null;
}

export interface ManifestEntry {
  readonly status: number;
  readonly snapshot_id: Long | null;
  /** Null for an added file: it inherits the sequence number of its manifest. */
  readonly sequence_number: Long | null;
  readonly file_sequence_number: Long | null;
  readonly data_file: DataFile;
}

export const MANIFEST_CONTENT = { data: 0, deletes: 1 } as const;

/** An entry of a manifest list. */
export interface ManifestFile {
  readonly manifest_path: string;
  readonly manifest_length: number;
  readonly partition_spec_id: number;
  readonly content: number;
  readonly sequence_number: number;
  readonly min_sequence_number: number;
  readonly added_snapshot_id: Long;
  readonly added_files_count: number;
  readonly existing_files_count: number;
  readonly deleted_files_count: number;
  readonly added_rows_count: number;
  readonly existing_rows_count: number;
  readonly deleted_rows_count: number;
  readonly partitions?: readonly Readonly<Record<string, unknown>>[] | null;
  readonly key_metadata?: Uint8Array | null;
}

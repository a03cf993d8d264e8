/**
 * Parquet files, read column by column and row group by row group through Range requests. Columns are found by field
 * id, so that a renamed column is still found (L4). Values come back as canonical scalars.
 *
 * hyparquet is told two things: timestamps stay whole microseconds (its own parser makes Dates of them, which drop the
 * last three digits), and how ZSTD pages are decompressed (zstd.ts).
 */
import {
  type AsyncBuffer,
  type FileMetaData,
  type ParquetParsers,
  parquetMetadataAsync,
  parquetRead,
  type SchemaElement,
} from "hyparquet";
import type { LakeAdapter } from "../../core/index.ts";
import { bytesToBase64, invariant, LakeSyncError, type Scalar, unwrap } from "../../schemas/index.ts";
import type { LakeType } from "./types.ts";
import { unzstd } from "./zstd.ts";

// A byte order mark is part of the text.
const utf8 = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });
const parsers = {
  timestampFromMilliseconds: (millis: bigint) => millis * 1000n,
  timestampFromMicroseconds: (micros: bigint) => micros,
  timestampFromNanoseconds: (nanos: bigint) => nanos / 1000n,
  stringFromBytes: (bytes: Uint8Array) => bytes && utf8.decode(bytes),
  jsonFromBytes: (bytes: Uint8Array) => bytes && utf8.decode(bytes),
};
/** Texts stay bytes, for who wants few of many. */
const rawParsers = { ...parsers, stringFromBytes: (bytes: Uint8Array) => bytes };
const compressors = { ZSTD: unzstd };

/** Files up to this are fetched in one request: a round trip costs more than the bytes. */
const WHOLE_FILE_BYTES = 256 * 1024;
/** The footer of a file of 90 columns and one row group has some 20 KB. */
const TAIL_BYTES = 64 * 1024;

export interface ReadColumn {
  readonly fieldId: number;
  readonly type: LakeType;
}

export interface RowGroupRange {
  /** Position of its first row in the file. */
  readonly start: number;
  readonly rows: number;
}

/** An open file: its footer is read, its columns are fetched when asked for. */
export class ParquetReader {
  readonly rows: number;
  readonly rowGroups: readonly RowGroupRange[];
  readonly #file: AsyncBuffer;
  readonly #metadata: FileMetaData;
  readonly #names: ReadonlyMap<number, string>;

  constructor(file: AsyncBuffer, metadata: FileMetaData) {
    this.#file = file;
    this.#metadata = metadata;
    this.rows = Number(metadata.num_rows);
    const rowGroups: RowGroupRange[] = [];
    let start = 0;
    for (const group of metadata.row_groups) {
      rowGroups.push({ start, rows: Number(group.num_rows) });
      start += Number(group.num_rows);
    }
    this.rowGroups = rowGroups;
    this.#names = topLevelNames(metadata.schema);
  }

  /** Whether the file holds a column with this field id; one that was added later is null in it throughout. */
  has(fieldId: number): boolean {
    return this.#names.has(fieldId);
  }

  /**
   * Least and greatest value of a string column in a row group as the footer has them, possibly cut short; undefined
   * where it says nothing.
   */
  stringBounds(group: number, fieldId: number): { lower: string; upper: string } | undefined {
    const name = this.#names.get(fieldId);
    const chunk = this.#metadata.row_groups[group]?.columns.find((c) => c.meta_data?.path_in_schema[0] === name);
    const { min_value: lower, max_value: upper } = chunk?.meta_data?.statistics ?? {};
    return typeof lower === "string" && typeof upper === "string" ? { lower, upper } : undefined;
  }

  /** Columns of one row group in the order asked for; a column that the file does not have is nulls. */
  async readGroup(group: number, columns: readonly ReadColumn[]): Promise<Scalar[][]> {
    const raw = await this.#read(group, columns, parsers);
    return raw.map((values, at) => values.map((value) => toScalar((columns[at] as ReadColumn).type, value)));
  }

  /** Like `readGroup` for columns of strings, each value as its UTF-8 bytes: `textOf` makes a string of one. */
  readTexts(group: number, fieldIds: readonly number[]): Promise<unknown[][]> {
    return this.#read(
      group,
      fieldIds.map((fieldId) => ({ fieldId, type: "string" as const })),
      rawParsers,
    );
  }

  async #read(group: number, columns: readonly ReadColumn[], how: Partial<ParquetParsers>): Promise<unknown[][]> {
    const range = this.rowGroups[group];
    invariant(range, "row group within the file");
    const found = new Map<string, unknown[]>();
    const names = columns.flatMap((column) => this.#names.get(column.fieldId) ?? []);
    if (names.length > 0)
      await parquetRead({
        file: this.#file,
        metadata: this.#metadata,
        columns: names,
        rowStart: range.start,
        rowEnd: range.start + range.rows,
        utf8: false,
        compressors,
        parsers: how,
        onChunk({ columnName, columnData }) {
          const before = found.get(columnName);
          const data = Array.from(columnData as ArrayLike<unknown>);
          found.set(columnName, before ? before.concat(data) : data);
        },
      });
    return columns.map(({ fieldId }) => {
      const name = this.#names.get(fieldId);
      return (name === undefined ? undefined : found.get(name)) ?? new Array(range.rows).fill(null);
    });
  }

  /** Columns of the whole file. */
  async readAll(columns: readonly ReadColumn[]): Promise<Scalar[][]> {
    const whole: Scalar[][] = columns.map(() => []);
    for (let group = 0; group < this.rowGroups.length; group++) {
      const part = await this.readGroup(group, columns);
      part.forEach((values, at) => {
        whole[at] = (whole[at] as Scalar[]).concat(values);
      });
    }
    return whole;
  }
}

/** @param size bytes of the file, as the manifest has it */
export async function openParquet(store: LakeAdapter, key: string, size: number): Promise<ParquetReader> {
  const whole = size <= WHOLE_FILE_BYTES ? exact(unwrap(await store.get(key))) : undefined;
  const file: AsyncBuffer = {
    byteLength: size,
    async slice(start, end = size) {
      if (whole) return whole.slice(start, end);
      return exact(unwrap(await store.get(key, { offset: start, length: end - start })));
    },
  };
  try {
    return new ParquetReader(file, await parquetMetadataAsync(file, { initialFetchSize: TAIL_BYTES, parsers }));
  } catch (cause) {
    if (cause instanceof LakeSyncError) throw cause;
    throw new LakeSyncError("Corrupt", `${key} is not a Parquet file that can be read.`, { key }, { cause });
  }
}

const exact = (bytes: Uint8Array): ArrayBuffer =>
  bytes.byteLength === bytes.buffer.byteLength ? (bytes.buffer as ArrayBuffer) : (bytes.slice().buffer as ArrayBuffer);

/** Names of the top-level columns by field id. */
function topLevelNames(schema: readonly SchemaElement[]): Map<number, string> {
  const names = new Map<number, string>();
  const skip = (at: number): number => {
    let next = at + 1;
    for (let child = 0; child < (schema[at]?.num_children ?? 0); child++) next = skip(next);
    return next;
  };
  for (let at = 1; at < schema.length; at = skip(at)) {
    const { field_id, name } = schema[at] as SchemaElement;
    if (field_id !== undefined) names.set(field_id, name);
  }
  return names;
}

/** A value of `readTexts` as a string. */
export const textOf = (value: unknown): string => (value instanceof Uint8Array ? utf8.decode(value) : String(value));

function toScalar(type: LakeType, value: unknown): Scalar {
  if (value === null || value === undefined) return null;
  if (typeof value === "bigint") {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    return type === "double" ? number : value.toString();
  }
  if (value instanceof Uint8Array) return type === "string" ? utf8.decode(value) : bytesToBase64(value);
  return value as Scalar;
}

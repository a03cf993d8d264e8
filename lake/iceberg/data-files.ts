/**
 * Rows, as they come, into data files of bounded size: columns are gathered until a file is full, sorted, written, put,
 * dropped. Never more than one file's rows are held, and the bytes of the one before.
 *
 * A file's name says table, shard, seqs, attempt, part and content. A flush that comes again writes under other names:
 * no file is ever overwritten, and none that was left behind is counted on again, so that it can be removed (L5).
 */
import type { LakeAdapter } from "../../core/index.ts";
import {
  compareCodePoints,
  DATA_FILE_BYTES,
  DATA_FILE_ROWS,
  HLC_TEXT_CHARS,
  type HlcText,
  LakeSyncError,
  type Scalar,
  type Stamp,
  unwrap,
} from "../../schemas/index.ts";
import { type ParquetColumn, type ParquetMetrics, writeParquet } from "../parquet/index.ts";
import { cutLower, cutUpper, encodeBound } from "./bounds.ts";
import { CONTENT, type DataFile } from "./files.ts";
import type { LakeField } from "./layout.ts";
import { digestOf, keyOf } from "./locations.ts";

const PARQUET_TYPE = "application/vnd.apache.parquet";

/** Values of one field for a page of rows; stamps for a field of HLCs; undefined where all are null. */
export type FieldValues = readonly Scalar[] | readonly (HlcText | Stamp)[] | undefined;

export interface DataFileTarget {
  readonly store: LakeAdapter;
  /** The table's location. */
  readonly location: string;
  /** Begins the file's name. */
  readonly name: string;
}

export class DataFileWriter {
  readonly #target: DataFileTarget;
  readonly #fields: readonly LakeField[];
  readonly #sortBy: number;
  readonly #files: DataFile[] = [];
  /** Of each field the pages' values, as they came: put together when they are written. */
  #columns: (readonly Scalar[])[][];
  #rows = 0;
  #bytes = 0;
  /** The last file, on its way into the store while the next is gathered. */
  #put: ReturnType<LakeAdapter["put"]> | undefined;

  /** @param sortBy name of the field that a file's rows are sorted by; in the order of arrival when left out */
  constructor(target: DataFileTarget, fields: readonly LakeField[], sortBy?: string) {
    this.#target = target;
    this.#fields = fields;
    this.#sortBy = fields.findIndex((field) => field.name === sortBy);
    this.#columns = fields.map(() => []);
  }

  /**
   * @param values of each field, in the order of the fields
   * @param rows which entries of the page to take, ascending
   */
  async add(values: readonly FieldValues[], rows: readonly number[]): Promise<void> {
    for (let from = 0; from < rows.length; ) {
      const to = Math.min(rows.length, from + DATA_FILE_ROWS - this.#rows);
      values.forEach((column, at) => {
        const taken = pick(column, from === 0 && to === rows.length ? rows : rows.slice(from, to));
        this.#columns[at]?.push(taken);
        this.#bytes += sizeOf(taken);
      });
      this.#rows += to - from;
      from = to;
      if (this.#rows >= DATA_FILE_ROWS || this.#bytes >= DATA_FILE_BYTES) await this.#write();
    }
  }

  /** Writes what is left; all files that were written. */
  async finish(): Promise<readonly DataFile[]> {
    if (this.#rows > 0) await this.#write();
    await this.#stored();
    return this.#files;
  }

  async #write(): Promise<void> {
    const { store, location, name } = this.#target;
    let order: Uint32Array | undefined;
    const columns = this.#fields.map((field, at) => {
      const values = ([] as Scalar[]).concat(...(this.#columns[at] ?? []));
      this.#columns[at] = [];
      if (at === this.#sortBy) order = orderBy(values as string[]);
      return this.#column(field, values);
    });
    const { bytes, metrics } = writeParquet({ columns, rows: this.#rows, ...(order ? { order } : {}) });
    this.#columns = this.#fields.map(() => []);
    this.#rows = 0;
    this.#bytes = 0;
    const path = `${location}/data/${name}-${this.#files.length}-${await digestOf(bytes)}.parquet`;
    await this.#stored();
    this.#put = store.put(keyOf(store, path), bytes, { contentType: PARQUET_TYPE });
    this.#put.catch(() => undefined); // it is told when it is waited for
    const whole = new Set(this.#fields.filter((field) => field.name === "_id").map((field) => field.fieldId));
    this.#files.push(dataFileOf(path, bytes.length, metrics, whole));
  }

  async #stored(): Promise<void> {
    if (this.#put) unwrap(await this.#put);
    this.#put = undefined;
  }

  #column(field: LakeField, values: Scalar[]): ParquetColumn {
    if (field.required && values.includes(null))
      throw new LakeSyncError(
        "DestinationRefused",
        `Column ${field.name} is required in the lake and a row has no value for it; make the column nullable.`,
        { column: field.name },
      );
    if (field.name !== "_hlc" || field.columnId !== undefined) return { ...field, values };
    return { ...field, values: hlcLongs(values as readonly string[]) };
  }
}

function pick(column: FieldValues, rows: readonly number[]): readonly Scalar[] {
  if (!column) return new Array<Scalar>(rows.length).fill(null);
  return rows.length === column.length ? column : rows.map((at) => column[at] as Scalar);
}

/** About how many bytes. */
function sizeOf(values: readonly Scalar[]): number {
  let bytes = values.length * 8;
  for (const value of values) if (typeof value === "string") bytes += value.length;
  return bytes;
}

const ascii = new TextEncoder();
/** The value of a hex digit, by its byte. */
const DIGITS = new Uint8Array(128);
for (let digit = 0; digit < 16; digit++) DIGITS[digit.toString(16).charCodeAt(0)] = digit;

/** HLCs as signed longs, from the hex digits at the start of each text. */
function hlcLongs(texts: readonly string[]): BigInt64Array {
  const digits = ascii.encode(texts.map((text) => text.slice(0, HLC_TEXT_CHARS)).join(""));
  const longs = new BigInt64Array(texts.length);
  const words = new Int32Array(longs.buffer);
  for (let at = 0, from = 0; at < words.length; at++) {
    let word = 0;
    for (const end = from + HLC_TEXT_CHARS / 2; from < end; from++)
      word = (word << 4) | (DIGITS[digits[from] as number] as number);
    words[at ^ 1] = word; // the greater half comes first in text, and last in memory
  }
  return longs;
}

/** Positions in the order of their keys by code point; undefined when they are in order already. */
function orderBy(keys: readonly string[]): Uint32Array | undefined {
  let sorted = true;
  for (let at = 1; at < keys.length && sorted; at++)
    sorted = compareCodePoints(keys[at - 1] as string, keys[at] as string) <= 0;
  if (sorted) return undefined;
  return Uint32Array.from(keys.keys()).sort((a, b) => compareCodePoints(keys[a] as string, keys[b] as string));
}

/**
 * A data file as the manifest has it.
 * @param whole ids of string fields whose bounds are not cut short
 */
export function dataFileOf(path: string, size: number, metrics: ParquetMetrics, whole: ReadonlySet<number>): DataFile {
  const { columns } = metrics;
  const map = <V>(of: (column: (typeof columns)[number]) => V | undefined): Map<number, V> =>
    new Map(
      columns.flatMap((column) => {
        const value = of(column);
        return value === undefined ? [] : [[column.fieldId, value] as const];
      }),
    );
  return {
    content: CONTENT.data,
    file_path: path,
    file_format: "PARQUET",
    partition: {},
    record_count: metrics.rows,
    file_size_in_bytes: size,
    column_sizes: map((column) => column.bytes),
    value_counts: map((column) => column.values),
    null_value_counts: map((column) => column.nulls),
    nan_value_counts: map((column) => column.nans),
    lower_bounds: map(({ fieldId, type, lower }) =>
      lower === undefined ? undefined : encodeBound(type, whole.has(fieldId) ? lower : cutLower(lower)),
    ),
    upper_bounds: map(({ fieldId, type, upper }) => {
      const cut = upper === undefined || whole.has(fieldId) ? upper : cutUpper(upper);
      return cut === undefined ? undefined : encodeBound(type, cut);
    }),
    split_offsets: metrics.splitOffsets,
  };
}

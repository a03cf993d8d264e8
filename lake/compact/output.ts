/**
 * A sorted stream of rows as data files of many row groups, each streamed into the store while it grows: what is held is
 * one row group of rows, and the part of an upload.
 */
import type { LakeAdapter } from "../../core/index.ts";
import { type Scalar, unwrap } from "../../schemas/index.ts";
import { type DataFile, dataFileOf, keyOf, type LakeField } from "../iceberg/index.ts";
import { joinMetrics, type ParquetMetrics, ParquetStitcher, writeParquet } from "../parquet/index.ts";
import type { Sorted } from "./merge.ts";
import type { Group } from "./source.ts";

interface OutputLimits {
  /** Of a file. */
  readonly fileRows: number;
  readonly fileBytes: number;
  /** Of a row group; bytes before compression. */
  readonly groupRows: number;
  readonly groupBytes: number;
}

export interface OutputTarget {
  readonly store: LakeAdapter;
  readonly fields: readonly LakeField[];
  /** Path of the n-th file. */
  pathOf(number: number): string;
  readonly limits: OutputLimits;
  /** Called after each row group. */
  step(): Promise<void>;
}

/** Writes all rows. @returns the files, in the order of the rows */
export async function writeFiles(stream: AsyncIterator<Sorted>, target: OutputTarget): Promise<DataFile[]> {
  const cursor = new RowCursor(stream);
  const files: DataFile[] = [];
  // Bounds of ids are whole: they decide which files a flush reads.
  const whole = new Set(target.fields.filter((field) => field.name === "_id").map((field) => field.fieldId));
  while (await cursor.ready()) {
    const path = target.pathOf(files.length);
    const file = new GrowingFile(cursor, target);
    const put = await target.store.putStream(keyOf(target.store, path), file.parts(), {
      contentType: "application/vnd.apache.parquet",
    });
    if (file.failure) throw file.failure.cause; // a store reports what its source threw as its own failure
    files.push(dataFileOf(path, unwrap(put).size, file.metrics, whole));
  }
  return files;
}

class GrowingFile {
  readonly #cursor: RowCursor;
  readonly #target: OutputTarget;
  #metrics: ParquetMetrics | undefined;
  failure: { readonly cause: unknown } | undefined;

  constructor(cursor: RowCursor, target: OutputTarget) {
    this.#cursor = cursor;
    this.#target = target;
  }

  /** Of the whole file, once all parts were taken. */
  get metrics(): ParquetMetrics {
    return this.#metrics as ParquetMetrics;
  }

  async *parts(): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#parts();
    } catch (cause) {
      this.failure = { cause };
      throw cause;
    }
  }

  async *#parts(): AsyncGenerator<Uint8Array> {
    const { fields, limits, step } = this.#target;
    const stitcher = new ParquetStitcher();
    for (let rows = 0; rows < limits.fileRows && stitcher.bytes < limits.fileBytes; ) {
      const columns = fields.map((): Scalar[] => []);
      const count = await this.#cursor.fill(
        columns,
        Math.min(limits.groupRows, limits.fileRows - rows),
        limits.groupBytes,
      );
      if (count === 0) break;
      rows += count;
      const { bytes, metrics } = writeParquet({
        columns: fields.map((field, at) => ({ ...field, values: columns[at] as Scalar[] })),
        rows: count,
      });
      const moved = stitcher.bytes === 0 ? 0 : stitcher.bytes - 4; // the first part brings the magic along
      const part = stitcher.add(bytes);
      const splitOffsets = [...(this.#metrics?.splitOffsets ?? []), ...metrics.splitOffsets.map((at) => at + moved)];
      this.#metrics = { ...(this.#metrics ? joinMetrics(this.#metrics, metrics) : metrics), splitOffsets };
      yield part;
      await step();
    }
    yield stitcher.finish();
  }
}

/** Rows of a stream, as many at a time as fit. */
class RowCursor {
  readonly #stream: AsyncIterator<Sorted>;
  #now: Sorted | undefined;
  #at = 0;

  constructor(stream: AsyncIterator<Sorted>) {
    this.#stream = stream;
  }

  /** Whether there is another row. */
  async ready(): Promise<boolean> {
    while (!this.#now || this.#at >= this.#now.rows.length) {
      this.#now = undefined; // its row groups may go before the next are read
      const next = await this.#stream.next();
      if (next.done) return false;
      this.#now = next.value;
      this.#at = 0;
    }
    return true;
  }

  /** Appends rows to columns. @returns how many; fewer than asked for at the end or when they are large */
  async fill(columns: readonly Scalar[][], maxRows: number, maxBytes: number): Promise<number> {
    let rows = 0;
    let bytes = 0;
    while (rows < maxRows && bytes < maxBytes && (await this.ready())) {
      const sorted = this.#now as Sorted;
      const end = Math.min(sorted.rows.length, this.#at + Math.min(maxRows - rows, SLICE));
      columns.forEach((column, of) => {
        bytes += gather(column, sorted, of, this.#at, end);
      });
      rows += end - this.#at;
      this.#at = end;
    }
    return rows;
  }
}

/** Bytes are counted after each so many rows, so that a row group exceeds its bound by little. */
const SLICE = 256;

/** @returns about how many bytes were added */
function gather(into: Scalar[], { groups, from, rows }: Sorted, column: number, start: number, end: number): number {
  let bytes = (end - start) * 8;
  for (let at = start; at < end; at++) {
    const group = groups[from[at] as number] as Group;
    const value = (group.columns[column] as readonly Scalar[])[rows[at] as number] as Scalar;
    if (typeof value === "string") bytes += value.length;
    into.push(value);
  }
  return bytes;
}

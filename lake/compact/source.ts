/**
 * A data file as a source of a merge: its live rows, one row group at a time, in the order of the key.
 *
 * Files that LakeSync writes are sorted; another engine's may not be. A row group is sorted here if it has to be; a file
 * whose row groups are out of order is told apart by `Unsorted`, and read with each of its row groups as a source of its own.
 */
import type { LakeAdapter } from "../../core/index.ts";
import type { Scalar } from "../../schemas/index.ts";
import {
  type Bits,
  type DeleteIndex,
  deadByEquality,
  keyOf,
  type LakeField,
  type LiveEntry,
} from "../iceberg/index.ts";
import { openParquet, type ParquetReader } from "../parquet/index.ts";
import type { Key, SortKey } from "./sort-key.ts";

/** Live rows of a row group, decoded. */
export interface Group {
  /** Values of each field, of all rows, dead ones too. */
  readonly columns: readonly (readonly Scalar[])[];
  /** Live rows in the order of the key, by their number in the group. */
  readonly rows: Uint32Array;
  /** The key of each of them. */
  readonly keys: readonly Key[];
  /** Whether operators compare the keys right. */
  readonly plain: boolean;
}

export class Unsorted extends Error {
  readonly path: string;
  constructor(path: string) {
    super(`the row groups of ${path} are not in order`);
    this.path = path;
  }
}

export interface SourceContext {
  readonly store: LakeAdapter;
  readonly fields: readonly LakeField[];
  readonly key: SortKey;
  readonly deletes: DeleteIndex;
}

export class Source {
  readonly #context: SourceContext;
  readonly #entry: LiveEntry;
  /** The only row group to read; all when undefined. */
  readonly #only: number | undefined;
  #reader: ParquetReader | undefined;
  #next = 0;
  #last: Key | undefined;

  constructor(context: SourceContext, entry: LiveEntry, only?: number) {
    this.#context = context;
    this.#entry = entry;
    this.#only = only;
    this.#next = only ?? 0;
  }

  /** Where it begins, at the latest; undefined where nobody knows. */
  get lower(): Key | undefined {
    return this.#context.key.lower(this.#entry.data_file);
  }

  /** Whether another group may follow. */
  get more(): boolean {
    return this.#only === undefined && (this.#reader === undefined || this.#next < this.#reader.rowGroups.length);
  }

  /** The next row group that has a live row. */
  async read(): Promise<Group | undefined> {
    const { store } = this.#context;
    const { file_path: path, file_size_in_bytes: size } = this.#entry.data_file;
    this.#reader ??= await openParquet(store, keyOf(store, path), size);
    const end = this.#only === undefined ? this.#reader.rowGroups.length : this.#only + 1;
    while (this.#next < end) {
      const group = await this.#readGroup(this.#reader, this.#next++);
      if (!group) continue;
      const first = group.keys[0] as Key;
      if (this.#last !== undefined && this.#context.key.compare(first, this.#last) < 0) throw new Unsorted(path);
      this.#last = group.keys.at(-1);
      return group;
    }
    return undefined;
  }

  async #readGroup(reader: ParquetReader, number: number): Promise<Group | undefined> {
    const { fields, key, deletes } = this.#context;
    const { start, rows } = reader.rowGroups[number] as ParquetReader["rowGroups"][number];
    const gone = deletes.positions(this.#entry.data_file.file_path);
    const equality = deletes.equality(this.#entry);
    const dead = equality.length > 0 ? await deadByEquality(reader, number, equality) : undefined;
    const live = liveRows(start, rows, gone, dead);
    if (live.length === 0) return undefined;
    const columns = await reader.readGroup(number, fields);
    const values = columns[fields.indexOf(key.field)] as Scalar[];
    let order = live;
    let keys = Array.from(live, (row) => key.of(values[row] as Scalar));
    const plain = key.plain(keys);
    const compare = plain ? key.comparePlain : key.compare;
    if (keys.some((each, at) => at > 0 && compare(keys[at - 1] as Key, each) > 0)) {
      const sorted = Array.from(keys.keys()).sort((a, b) => compare(keys[a] as Key, keys[b] as Key));
      order = Uint32Array.from(sorted, (at) => live[at] as number);
      keys = sorted.map((at) => keys[at] as Key);
    }
    return { columns, rows: order, keys, plain };
  }
}

function liveRows(
  start: number,
  rows: number,
  gone: Bits | undefined,
  dead: ReadonlySet<number> | undefined,
): Uint32Array {
  const live = new Uint32Array(rows);
  let count = 0;
  for (let row = 0; row < rows; row++) if (!gone?.has(start + row) && !dead?.has(row)) live[count++] = row;
  return live.subarray(0, count);
}

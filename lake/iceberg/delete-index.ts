/**
 * What a snapshot's delete files say, by data file (Iceberg spec, "Scan Planning"):
 *
 *   a position delete applies to the file it names, when its sequence number is not less than the file's
 *   an equality delete applies to every row that equals it, when its sequence number is greater than the file's
 *
 * Positions take one bit a row of the files that have any: 3,000,000 rows, 375 KB.
 */
import type { LakeAdapter } from "../../core/index.ts";
import type { Scalar } from "../../schemas/index.ts";
import { openParquet, type ReadColumn } from "../parquet/index.ts";
import { Bits } from "./bits.ts";
import { applicable, type EqualityDelete, readEqualityDeletes, type TypeOf } from "./equality-deletes.ts";
import { CONTENT, type DataFile } from "./files.ts";
import { keyOf } from "./locations.ts";
import type { LiveEntry } from "./manifest.ts";
import { DELETE_PATH_FIELD, DELETE_POS_FIELD } from "./position-deletes.ts";

/** Delete files read at once; a Worker has six connections. */
const CONCURRENCY = 6;

const COLUMNS: readonly ReadColumn[] = [
  { fieldId: DELETE_PATH_FIELD, type: "string" },
  { fieldId: DELETE_POS_FIELD, type: "long" },
];

export class DeleteIndex {
  readonly #positions = new Map<string, Bits>();
  readonly #equality: EqualityDelete[] = [];
  readonly #named = new Map<string, ReadonlySet<string>>();

  static async load(
    store: LakeAdapter,
    data: readonly LiveEntry[],
    deletes: readonly LiveEntry[],
    typeOf: TypeOf,
  ): Promise<DeleteIndex> {
    const index = new DeleteIndex();
    const byPath = new Map(data.map((entry) => [entry.data_file.file_path, entry]));
    for (let at = 0; at < deletes.length; at += CONCURRENCY)
      await Promise.all(deletes.slice(at, at + CONCURRENCY).map((entry) => index.#read(store, byPath, entry, typeOf)));
    return index;
  }

  async #read(
    store: LakeAdapter,
    data: ReadonlyMap<string, LiveEntry>,
    entry: LiveEntry,
    typeOf: TypeOf,
  ): Promise<void> {
    const { content, file_path } = entry.data_file;
    if (content === CONTENT.equalityDeletes) {
      this.#equality.push(await readEqualityDeletes(store, entry, typeOf));
      return;
    }
    const named = new Set<string>();
    for await (const { path, position } of readPositionDeletes(store, entry.data_file)) {
      named.add(path);
      const file = data.get(path);
      if (!file || BigInt(entry.sequence_number) < BigInt(file.sequence_number)) continue;
      const bits = this.#positions.get(path) ?? new Bits(file.data_file.record_count);
      this.#positions.set(path, bits);
      bits.add(position);
    }
    this.#named.set(file_path, named);
  }

  /** Positions that are gone from a data file. */
  positions(path: string): Bits | undefined {
    return this.#positions.get(path);
  }

  /** Equality deletes that apply to a data file. */
  equality(entry: LiveEntry): readonly EqualityDelete[] {
    return applicable(this.#equality, entry.sequence_number);
  }

  /** Data files that a position delete file names, live or not; undefined for one that was not read. */
  namedBy(deleteFile: string): ReadonlySet<string> | undefined {
    return this.#named.get(deleteFile);
  }
}

/** Entries of a position delete file, a row group at a time. */
export async function* readPositionDeletes(
  store: LakeAdapter,
  file: DataFile,
): AsyncGenerator<{ readonly path: string; readonly position: number }> {
  const reader = await openParquet(store, keyOf(store, file.file_path), file.file_size_in_bytes);
  for (let group = 0; group < reader.rowGroups.length; group++) {
    const [paths, positions] = (await reader.readGroup(group, COLUMNS)) as [Scalar[], Scalar[]];
    for (let row = 0; row < paths.length; row++)
      yield { path: paths[row] as string, position: positions[row] as number };
  }
}

/**
 * Small position delete files into few. Every reader reads all of a table's delete files, and each flush that changes old
 * rows adds one. What they say of files that are gone is dropped on the way.
 */
import { DATA_FILE_ROWS, DELETES_MERGED_MAX } from "../../schemas/index.ts";
import {
  CONTENT,
  type DataFile,
  type DataFileTarget,
  type DeleteIndex,
  type LiveEntry,
  readPositionDeletes,
  writePositionDeletes,
} from "../iceberg/index.ts";

export interface MergedDeletes {
  readonly from: ReadonlySet<string>;
  readonly into: readonly DataFile[];
}

/**
 * @param staying paths of the data files that will be live
 * @param max delete files that may stay as they are
 */
export async function mergeDeletes(
  target: DataFileTarget,
  entries: readonly LiveEntry[],
  deletes: DeleteIndex,
  staying: ReadonlySet<string>,
  max: number,
): Promise<MergedDeletes> {
  const small = entries
    .filter(({ data_file: file }) => {
      const named = deletes.namedBy(file.file_path);
      const speaks = named !== undefined && [...named].some((path) => staying.has(path));
      return file.content === CONTENT.positionDeletes && speaks && file.record_count < DATA_FILE_ROWS / 2;
    })
    .sort((a, b) => a.data_file.record_count - b.data_file.record_count);
  if (small.length <= max) return { from: new Set(), into: [] };
  const from = new Set<string>();
  const positions = new Map<string, Set<number>>();
  let held = 0;
  for (const { data_file: file } of small) {
    if (held + file.record_count > DELETES_MERGED_MAX) break;
    from.add(file.file_path);
    for await (const { path, position } of readPositionDeletes(target.store, file)) {
      if (!staying.has(path) || !deletes.positions(path)?.has(position)) continue;
      const known = positions.get(path) ?? new Set();
      positions.set(path, known.add(position));
    }
    held += file.record_count;
  }
  const sorted = new Map([...positions].map(([path, at]) => [path, [...at].sort((a, b) => a - b)]));
  return { from, into: await writePositionDeletes(target, sorted) };
}

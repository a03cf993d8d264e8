/**
 * Position delete files (Iceberg spec, "Position Delete Files"): sorted by path, then position. The bounds of the path
 * are whole paths, so that readers can tell which data files a delete file is about.
 */
import { compareCodePoints, DATA_FILE_ROWS, unwrap } from "../../schemas/index.ts";
import { writeParquet } from "../parquet/index.ts";
import { type DataFileTarget, dataFileOf } from "./data-files.ts";
import { CONTENT, type DataFile } from "./files.ts";
import { digestOf, keyOf } from "./locations.ts";
import type { Positions } from "./positions.ts";

/** Reserved field ids (Iceberg spec, "Reserved Field IDs"). */
export const DELETE_PATH_FIELD = 2_147_483_546;
export const DELETE_POS_FIELD = 2_147_483_545;

/** Writes the positions in as few files as their size allows. */
export async function writePositionDeletes(target: DataFileTarget, positions: Positions): Promise<DataFile[]> {
  const files: DataFile[] = [];
  let paths: string[] = [];
  let rows: number[] = [];
  const write = async () => {
    if (rows.length > 0) files.push(await writeFile(target, files.length, paths, rows));
    paths = [];
    rows = [];
  };
  for (const [path, at] of [...positions].sort(([a], [b]) => compareCodePoints(a, b))) {
    for (const position of at) {
      paths.push(path);
      rows.push(position);
      if (rows.length >= DATA_FILE_ROWS) await write();
    }
  }
  await write();
  return files;
}

async function writeFile(
  { store, location, name }: DataFileTarget,
  part: number,
  paths: readonly string[],
  positions: readonly number[],
): Promise<DataFile> {
  const { bytes, metrics } = writeParquet({
    rows: paths.length,
    columns: [
      { name: "file_path", fieldId: DELETE_PATH_FIELD, type: "string", required: true, values: paths },
      { name: "pos", fieldId: DELETE_POS_FIELD, type: "long", required: true, values: positions },
    ],
  });
  const path = `${location}/data/${name}-deletes-${part}-${await digestOf(bytes)}.parquet`;
  unwrap(await store.put(keyOf(store, path), bytes, { contentType: "application/vnd.apache.parquet" }));
  const one = paths[0] === paths.at(-1); // sorted, so first and last tell
  return {
    ...dataFileOf(path, bytes.length, metrics, new Set([DELETE_PATH_FIELD])),
    content: CONTENT.positionDeletes,
    referenced_data_file: one ? (paths[0] as string) : null,
  };
}

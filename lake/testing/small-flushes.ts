/** A table as many small flushes leave it, made at once; and the least that rewriting it takes. */
import type { TableIdent } from "../../core/index.ts";
import { type Scalar, unwrap } from "../../schemas/index.ts";
import { DataFileWriter } from "../iceberg/data-files.ts";
import {
  commitSnapshot,
  currentSchema,
  currentSnapshot,
  type DataFile,
  ensureTable,
  fieldsOf,
  identOf,
  keyOf,
  type LakeDeps,
  liveEntries,
  newSnapshotId,
  stageManifest,
  writePositionDeletes,
} from "../iceberg/index.ts";
import { openParquet } from "../parquet/index.ts";
import { tableSchema } from "./lake.ts";

const TABLE = tableSchema([
  { id: 1, name: "title", type: "string", nullable: true },
  { id: 2, name: "votes", type: "integer", nullable: true },
  { id: 3, name: "score", type: "number", nullable: true },
  { id: 4, name: "seen", type: "timestamp", nullable: true },
]);

/** Ids in no order, as devices make them. */
const idOf = (row: number): string =>
  `${(Math.imul(row + 1, 2_654_435_761) >>> 0).toString(16).padStart(8, "0")}-${String(row).padStart(12, "0")}`;

function columnsOf(rows: readonly number[], flush: number): Scalar[][] {
  const seq = (at: number) => flush * rows.length + at + 1;
  return [
    rows.map(idOf),
    rows.map((_, at) => (1_790_000_000_000 + seq(at)).toString(16).padStart(12, "0").padEnd(16, "0")),
    rows.map((_, at) => seq(at)),
    rows.map((row) => `title of ${row % 5000}`),
    rows.map((_, at) => seq(at) * 3),
    rows.map((row) => row / 7),
    rows.map((row) => 1.7e15 + row * 1e6),
  ];
}

/**
 * One data file a flush, of new rows and, of ten, three that were there, with a delete file for the old versions of those.
 * @returns the table, and how many rows are alive
 */
export async function smallFlushes(
  deps: LakeDeps,
  { flushes, edits }: { readonly flushes: number; readonly edits: number },
): Promise<{ ident: TableIdent; rows: number }> {
  const loaded = await ensureTable(deps, TABLE, "main");
  const fields = fieldsOf(currentSchema(loaded.metadata), "main");
  const { location } = loaded.metadata;
  /** Where each row is, by number. */
  const placeOf: { path: string; position: number }[] = [];
  const data: DataFile[] = [];
  const deletes: DataFile[] = [];
  for (let flush = 0; flush < flushes; flush++) {
    const updates = placeOf.length === 0 ? 0 : Math.floor(edits * 0.3);
    const step = Math.max(1, Math.floor(placeOf.length / Math.max(1, updates)));
    const old = Array.from({ length: updates }, (_, at) => (flush * 7 + at * step) % placeOf.length);
    const rows = [...new Set(old)];
    const kept = rows.length;
    for (let fresh = kept; fresh < edits; fresh++) rows.push(placeOf.length + fresh - kept);
    const gone = new Map<string, number[]>();
    for (const row of rows.slice(0, kept)) {
      const place = placeOf[row] as { path: string; position: number };
      gone.set(
        place.path,
        [...(gone.get(place.path) ?? []), place.position].sort((a, b) => a - b),
      );
    }
    const target = { store: deps.store, location, name: `flush-${flush}` };
    const writer = new DataFileWriter(target, fields, "_id");
    await writer.add(columnsOf(rows, flush), [...rows.keys()]);
    const [file] = await writer.finish();
    if (!file) throw new Error("a flush has rows");
    [...rows]
      .sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1))
      .forEach((row, position) => {
        placeOf[row] = { path: file.file_path, position };
      });
    data.push(file);
    deletes.push(...(await writePositionDeletes(target, gone)));
  }
  const ident = identOf(deps, TABLE.table, "main");
  const id = newSnapshotId(deps, loaded.metadata);
  await commitSnapshot(deps, ident, loaded, id, async ({ metadata }) => ({
    operation: "overwrite",
    manifests: [
      await stageManifest(deps.store, metadata, id, "data", data),
      await stageManifest(deps.store, metadata, id, "deletes", deletes),
    ],
    counts: { addedFiles: [...data, ...deletes] },
    summary: {},
  }));
  return { ident, rows: placeOf.length };
}

/** Reads every row of every file and writes it again, in the order in which it comes; nothing is merged or committed. */
export async function rewriteUnmerged(deps: LakeDeps, ident: TableIdent): Promise<number> {
  const { metadata } = unwrap(await deps.catalogue.load(ident));
  const fields = fieldsOf(currentSchema(metadata), "main");
  const hlc = fields.findIndex(({ name }) => name === "_hlc");
  const target = { store: deps.store, location: `${metadata.location}-unmerged`, name: "rewritten" };
  const writer = new DataFileWriter(target, fields);
  for (const { data_file } of await liveEntries(deps.store, currentSnapshot(metadata), "data")) {
    const reader = await openParquet(deps.store, keyOf(deps.store, data_file.file_path), data_file.file_size_in_bytes);
    const columns = await reader.readAll(fields);
    const values = columns.map((column, at) => (at === hlc ? column.map(hlcText) : column));
    await writer.add(
      values,
      Array.from({ length: reader.rows }, (_, at) => at),
    );
  }
  const files = await writer.finish();
  return files.reduce((sum, file) => sum + file.record_count, 0);
}

const hlcText = (value: Scalar): string =>
  BigInt(value as string | number)
    .toString(16)
    .padStart(16, "0");

/**
 * A process of its own for the memory budget: a table of so many rows of five columns with ids in no order, in files as
 * flushes leave them, every seventh row superseded; compacted to the end. Prints what the greatest sum of V8's heap, its
 * buffers and the WebAssembly memory was, bytes, and what was done.
 *
 *   node lake/testing/compact-rows.ts <rows> <rows of a file>
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Scalar, unwrap } from "../../schemas/index.ts";
import { compact } from "../compact/index.ts";
import { DataFileWriter } from "../iceberg/data-files.ts";
import {
  commitSnapshot,
  currentSchema,
  currentSnapshot,
  ensureTable,
  fieldsOf,
  identOf,
  liveEntries,
  newSnapshotId,
  scanSnapshot,
  stageManifest,
  writePositionDeletes,
} from "../iceberg/index.ts";
import { FolderStore, initParquetInNode } from "../node.ts";
import { parquetMemoryBytes } from "../parquet/index.ts";
import { tableSchema, testLake } from "./lake.ts";

const rows = Number(process.argv[2] ?? 3_000_000);
const targetRows = Number(process.argv[3] ?? 200_000);
const FLUSH = 25_000;
const table = tableSchema(
  (["date", "delay", "distance", "origin", "destination"] as const).map((name, at) => ({
    id: at + 1,
    name,
    type: (["timestamp", "integer", "integer", "string", "string"] as const)[at] as "string",
    nullable: true,
  })),
);

/** Ids in no order, as devices make them. */
const idOf = (row: number): string =>
  `${(Math.imul(row + 1, 2_654_435_761) >>> 0).toString(16).padStart(8, "0")}-0000-4000-8000-${String(row).padStart(12, "0")}`;

/** Columns of a flush, in the order of the table's: _id, _hlc, _seq, then the five. */
function flushOf(first: number, count: number): Scalar[][] {
  const each = (of: (row: number) => Scalar) => Array.from({ length: count }, (_, at) => of(first + at));
  return [
    each(idOf),
    each((row) => (1_790_000_000_000 + row).toString(16).padStart(12, "0").padEnd(16, "0")),
    each((row) => row + 1),
    each((row) => 1.7e15 + row * 60e6),
    each((row) => ((row * 7) % 200) - 20),
    each((row) => (row * 13) % 2500),
    each((row) => `AP${row % 300}`),
    each((row) => `AP${(row * 7) % 300}`),
  ];
}

let peak = 0;
const measure = async () => {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  peak = Math.max(peak, heapUsed + arrayBuffers + parquetMemoryBytes());
};

initParquetInNode();
const folder = mkdtempSync(join(tmpdir(), "lakesync-compact-"));
try {
  const store = new FolderStore(folder);
  const { deps } = testLake({ store, fault: measure });
  const ident = identOf(deps, table.table, "main");
  const loaded = await ensureTable(deps, table, "main");
  const id = newSnapshotId(deps, loaded.metadata);
  const fields = fieldsOf(currentSchema(loaded.metadata), "main");
  const target = { store, location: loaded.metadata.location, name: "flushed" };
  const writer = new DataFileWriter(target, fields, "_id");
  const positions = Array.from({ length: FLUSH / 7 }, (_, at) => at * 7);
  for (let first = 0; first < rows; first += FLUSH)
    await writer.add(
      flushOf(first, FLUSH),
      Array.from({ length: FLUSH }, (_, at) => at),
    );
  const files = await writer.finish();
  const deletes = await writePositionDeletes(target, new Map(files.map((file) => [file.file_path, positions])));
  await commitSnapshot(deps, ident, loaded, id, async ({ metadata }) => ({
    operation: "overwrite",
    manifests: [
      await stageManifest(store, metadata, id, "data", files),
      await stageManifest(store, metadata, id, "deletes", deletes),
    ],
    counts: { addedFiles: [...files, ...deletes] },
    summary: {},
  }));
  const live = async () => {
    const snapshot = currentSnapshot(unwrap(await deps.catalogue.load(ident)).metadata);
    return { snapshot, files: (await liveEntries(store, snapshot, "data")).length };
  };
  /** How many rows there are, and what they are, added up. */
  const contents = async () => {
    const sums = [0, 0, 0];
    const columns = fields.filter(({ name }) => ["_id", "_seq", "delay"].includes(name));
    for await (const { columns: values } of scanSnapshot(store, (await live()).snapshot, { columns }))
      for (let at = 0; at < (values[0] as Scalar[]).length; at++) {
        const [id, seq, delay] = values.map((column) => column[at]) as [string, number, number];
        if (idOf(seq - 1) === id) sums[0] = (sums[0] as number) + 1;
        sums[1] = (sums[1] as number) + seq;
        sums[2] = (sums[2] as number) + delay;
      }
    return sums;
  };
  const before = await contents();
  peak = 0;
  const started = performance.now();
  const put = store.putStream.bind(store);
  store.putStream = async (...args) => {
    await measure(); // a row group is as large as it gets just before it is put
    return put(...args);
  };
  let written = 0;
  let jobs = 0;
  for (; ; jobs++) {
    const done = unwrap(await compact(deps, ident, { targetRows }));
    if (done.state === "nothing") break;
    written += done.rows;
  }
  const seconds = (performance.now() - started) / 1000;
  const { files: count } = await live();
  const after = await contents();
  console.log(JSON.stringify({ peak, jobs, written, files: count, before, after, seconds }));
} finally {
  rmSync(folder, { recursive: true });
}

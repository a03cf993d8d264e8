/** Rewrites a whole table into one file: a compaction as simple as can be, to race with flushes in tests. */
import { DataFileWriter } from "../iceberg/data-files.ts";
import {
  carriedSummary,
  commitSnapshot,
  currentSchema,
  currentSnapshot,
  fieldsOf,
  identOf,
  type LakeDeps,
  liveEntries,
  newSnapshotId,
  scanSnapshot,
  stageManifest,
  type TableKind,
} from "../iceberg/index.ts";

export async function compactNaively(deps: LakeDeps, table: string, kind: TableKind): Promise<void> {
  const ident = identOf(deps, table, kind);
  const loaded = await deps.catalogue.load(ident);
  if (!loaded.ok || !currentSnapshot(loaded.value.metadata)) return;
  const id = newSnapshotId(deps, loaded.value.metadata);
  await commitSnapshot(deps, ident, loaded.value, id, async ({ metadata }) => {
    const fields = fieldsOf(currentSchema(metadata), kind);
    const target = { store: deps.store, location: metadata.location, name: `compacted-${id}` };
    const writer = new DataFileWriter(target, fields, kind === "main" ? "_id" : "_seq");
    const snapshot = currentSnapshot(metadata);
    for await (const { columns, positions } of scanSnapshot(deps.store, snapshot, { columns: fields })) {
      const hlc = fields.findIndex((field) => field.name === "_hlc");
      const values = columns.map((column, at) => (at === hlc ? column.map(hlcText) : column));
      await writer.add(values, [...positions.keys()]);
    }
    const files = await writer.finish();
    const removed = [
      ...(await liveEntries(deps.store, snapshot, "data")),
      ...(await liveEntries(deps.store, snapshot, "deletes")),
    ].map((entry) => entry.data_file);
    return {
      operation: "replace",
      carried: [],
      manifests: files.length > 0 ? [await stageManifest(deps.store, metadata, id, "data", files)] : [],
      counts: { addedFiles: files, removedFiles: removed },
      summary: carriedSummary(metadata),
    };
  });
}

const hlcText = (value: unknown): string =>
  BigInt(value as string | number)
    .toString(16)
    .padStart(16, "0");

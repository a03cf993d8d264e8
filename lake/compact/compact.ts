/**
 * Compaction: many small files, and files of which much is gone, into few sorted ones with exact statistics (L3).
 *
 *   plan     manifests and delete files of the base -> which files (policy.ts)
 *   merge    their live rows, sorted, streamed into new files; memory is a few row groups, whatever the table's size
 *   replace  one commit, which looks again at what others did meanwhile (replace.ts)
 *
 * One call does one job of a bounded size. It keeps no state: killed anywhere it leaves orphans, and the next call plans
 * anew. Rows are not judged: what delete files removed goes, everything else stays as it is, `_seq` included, so that
 * flushes find old versions where they look (docs/decisions/0011).
 */
import type { LoadedTable, TableIdent } from "../../core/index.ts";
import {
  attempt,
  COMPACT_DELETE_RATIO,
  COMPACT_DEPTH_MAX,
  COMPACT_GROUP_BYTES,
  COMPACT_INPUTS_MIN,
  COMPACT_JOB_BYTES,
  COMPACT_JOB_ROWS,
  COMPACT_OPEN_BYTES,
  COMPACT_TARGET_BYTES,
  COMPACT_TARGET_ROWS,
  DATA_FILE_ROWS,
  DELETE_FILES_MAX,
  LakeSyncError,
  type Result,
} from "../../schemas/index.ts";
import {
  commitSnapshot,
  currentSnapshot,
  type DataFile,
  DeleteIndex,
  fault,
  type LakeDeps,
  type LakeField,
  type LiveEntry,
  newSnapshotId,
} from "../iceberg/index.ts";
import { merge } from "./merge.ts";
import { mergeDeletes } from "./merge-deletes.ts";
import { writeFiles } from "./output.ts";
import { chooseFiles, type FileState, type Policy } from "./policy.ts";
import { Replacer } from "./replace.ts";
import { type Key, SortKey } from "./sort-key.ts";
import { Source, type SourceContext, Unsorted } from "./source.ts";
import { allFields, entriesOf, loadTable, ManifestCache, typesOf } from "./tables.ts";

export interface CompactOptions extends Partial<Policy> {
  /** Position delete files that may stay; more are merged. */
  readonly deleteFilesMax?: number;
  /** Rows of a row group. */
  readonly groupRows?: number;
  /** Bytes of a row group before compression. */
  readonly groupBytes?: number;
  /** Column that files are sorted by: `_seq` for a table of changes, else `_id`. */
  readonly sortBy?: string;
}

export interface CompactSummary {
  /** "nothing": there was nothing to do. "raced": others changed the same files; call again. */
  readonly state: "compacted" | "nothing" | "raced";
  /** Data files that went and came, and their bytes. */
  readonly filesIn: number;
  readonly filesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Rows that were written. */
  readonly rows: number;
  /** Delete files that went, less those that came. */
  readonly deleteFiles: number;
}

const POLICY: Policy = {
  targetRows: COMPACT_TARGET_ROWS,
  targetBytes: COMPACT_TARGET_BYTES,
  minInputs: COMPACT_INPUTS_MIN,
  deleteRatio: COMPACT_DELETE_RATIO,
  maxDepth: COMPACT_DEPTH_MAX,
  jobRows: COMPACT_JOB_ROWS,
  jobBytes: COMPACT_JOB_BYTES,
  openBytes: COMPACT_OPEN_BYTES,
};

/**
 * Does one job of compaction. Call again while it answers "compacted".
 * @returns what was done. Errors: `NotFound`; `DestinationRefused` for a table that LakeSync cannot rewrite; those of a
 * commit (`CommitConflict`, `CommitUnknown`, `DestinationUnavailable`), after which it may be called again
 */
export function compact(
  deps: LakeDeps,
  ident: TableIdent,
  options: CompactOptions = {},
): Promise<Result<CompactSummary, LakeSyncError>> {
  return attempt(async () => {
    const unsorted = new Set<string>();
    for (;;) {
      try {
        return await compactOnce(deps, ident, options, unsorted);
      } catch (error) {
        if (!(error instanceof Unsorted) || unsorted.has(error.path)) throw error;
        unsorted.add(error.path);
      }
    }
  });
}

async function compactOnce(
  deps: LakeDeps,
  ident: TableIdent,
  options: CompactOptions,
  unsorted: ReadonlySet<string>,
): Promise<CompactSummary> {
  const table = await loadTable(deps, ident);
  const { metadata } = table;
  const snapshot = currentSnapshot(metadata);
  if (!snapshot) return summaryOf("nothing", [], [], 0);
  const cache = new ManifestCache(deps.store);
  const manifests = await cache.current(metadata);
  const fields = allFields(metadata, manifests);
  const key = new SortKey(fieldOf(fields, options.sortBy ?? (ident.name.endsWith("__changes") ? "_seq" : "_id")));
  const [data, deleteEntries] = [entriesOf(manifests, "data"), entriesOf(manifests, "deletes")];
  const deletes = await DeleteIndex.load(deps.store, data, deleteEntries, typesOf(metadata));
  const policy = { ...POLICY, ...options };
  const byPath = new Map(data.map((entry) => [entry.data_file.file_path, entry]));
  const states = data.map((entry) => stateOf(entry, key, deletes, unsorted));
  const chosen = chooseFiles(states, policy, key.compare, fields.length);
  const inputs = chosen.map((file) => byPath.get(file.path) as LiveEntry);
  await fault(deps, "compact: after the plan, before data files");

  const snapshotId = newSnapshotId(deps, metadata);
  const name = `compacted-${snapshotId}`;
  const target = { store: deps.store, location: metadata.location, name };
  const context = { store: deps.store, fields, key, deletes };
  const outputs = await rewrite(deps, inputs, chosen, { context, policy, options, table, name });
  await fault(deps, "compact: after data files, before deletes are resolved again");
  const leaving = new Set(chosen.map((file) => file.path));
  const staying = new Set(data.map((entry) => entry.data_file.file_path).filter((path) => !leaving.has(path)));
  const merged = await mergeDeletes(
    target,
    deleteEntries,
    deletes,
    staying,
    options.deleteFilesMax ?? DELETE_FILES_MAX,
  );

  const [id, seq] = ["_id", "_seq"].map((each) => fields.find((field) => field.name === each)?.fieldId);
  const job = {
    snapshotId,
    uuid: metadata["table-uuid"],
    sequence: snapshot["sequence-number"],
    inputs,
    outputs,
    deletes,
    known: new Set(deleteEntries.map((entry) => entry.data_file.file_path)),
    merged,
    keys: key.field.name === "_id" && id !== undefined && seq !== undefined ? { rowId: id, seq } : undefined,
    target,
  };
  const replacer = new Replacer(deps, job, cache);
  const landed = await commitSnapshot(deps, ident, table, snapshotId, (base) => replacer.prepare(base));
  if (!landed) return summaryOf(replacer.ending === "raced" ? "raced" : "nothing", [], [], 0);
  const after = currentSnapshotOf(landed, snapshotId);
  const delta = Number(after["removed-delete-files"] ?? 0) - Number(after["added-delete-files"] ?? 0);
  return summaryOf("compacted", inputs, outputs, delta);
}

const currentSnapshotOf = ({ metadata }: LoadedTable, id: number): Readonly<Record<string, string>> =>
  metadata.snapshots?.find((each) => each["snapshot-id"] === id)?.summary ?? {};

interface RewriteOf {
  readonly context: SourceContext;
  readonly policy: Policy;
  readonly options: CompactOptions;
  readonly table: LoadedTable;
  readonly name: string;
}

/** The live rows of the inputs as new files of even size. */
async function rewrite(
  deps: LakeDeps,
  inputs: readonly LiveEntry[],
  states: readonly FileState<Key>[],
  { context, policy, options, table, name }: RewriteOf,
): Promise<DataFile[]> {
  const rows = states.reduce((sum, file) => sum + file.rows - file.dead, 0);
  if (rows === 0) return [];
  const files = Math.max(1, Math.round(rows / policy.targetRows));
  const sources = inputs.flatMap((entry, at) => sourcesOf(context, entry, states[at] as FileState<Key>));
  const stream = merge(sources, context);
  return writeFiles(stream, {
    store: deps.store,
    fields: context.fields,
    pathOf: (number) => `${table.metadata.location}/data/${name}-${number}.parquet`,
    limits: {
      fileRows: Math.ceil(rows / files),
      fileBytes: policy.targetBytes,
      groupRows: options.groupRows ?? DATA_FILE_ROWS,
      groupBytes: options.groupBytes ?? COMPACT_GROUP_BYTES,
    },
    step: () => fault(deps, "compact: after a part of a data file"),
  });
}

function sourcesOf(context: SourceContext, entry: LiveEntry, state: FileState<Key>): Source[] {
  if (state.dead >= state.rows) return [];
  if (!state.unsorted) return [new Source(context, entry)];
  return Array.from({ length: state.rowGroups }, (_, group) => new Source(context, entry, group));
}

function stateOf(entry: LiveEntry, key: SortKey, deletes: DeleteIndex, unsorted: ReadonlySet<string>): FileState<Key> {
  const { data_file: file } = entry;
  return {
    path: file.file_path,
    rows: file.record_count,
    dead: deletes.positions(file.file_path)?.count ?? 0,
    bytes: file.file_size_in_bytes,
    rowGroups: Math.max(1, file.split_offsets?.length ?? 1),
    lower: key.lower(file),
    upper: key.upper(file),
    equality: deletes.equality(entry).length > 0,
    unsorted: unsorted.has(file.file_path),
  };
}

const fieldOf = (fields: readonly LakeField[], name: string): LakeField => {
  const field = fields.find((each) => each.name === name);
  if (field) return field;
  throw new LakeSyncError(
    "DestinationRefused",
    `The table has no column ${name} to be sorted by; name another in \`sortBy\`.`,
    { column: name },
  );
};

const summaryOf = (
  state: CompactSummary["state"],
  inputs: readonly LiveEntry[],
  outputs: readonly DataFile[],
  deleteFiles: number,
): CompactSummary => ({
  state,
  filesIn: inputs.length,
  filesOut: outputs.length,
  bytesIn: inputs.reduce((sum, entry) => sum + entry.data_file.file_size_in_bytes, 0),
  bytesOut: outputs.reduce((sum, file) => sum + file.file_size_in_bytes, 0),
  rows: outputs.reduce((sum, file) => sum + file.record_count, 0),
  deleteFiles,
});

/**
 * A flush of one shard's rows and history into Iceberg, exactly once in effect (F1).
 *
 *   history   table ready -> watermark -> data files -> manifest -> commit
 *   rows      table ready -> watermark -> data files -> positions of old versions -> delete files -> manifests -> commit
 *
 * Each table has its own watermark, which moves in the same compare-and-swap as the data. Killed anywhere, the flush is
 * delivered again: a table whose watermark is there is skipped, one whose is not has seen nothing. History goes first,
 * since a lost shard is rebuilt from it (L7).
 *
 * When there is nothing to write (rows made and deleted between two flushes) there is no commit, and the watermark stays:
 * what comes again has nothing to write again.
 */
import type { FlushBatch, FlushReceipt, LoadedTable } from "../../core/index.ts";
import { attempt, type HlcText, hlcToBigInt, LakeSyncError, type Result } from "../../schemas/index.ts";
import { commitSnapshot, newSnapshotId, type SnapshotChange } from "./commit.ts";
import { type DataFileTarget, DataFileWriter } from "./data-files.ts";
import { fault, type LakeDeps } from "./deps.ts";
import type { DataFile } from "./files.ts";
import { stageHistory } from "./flush-history.ts";
import { stageRows } from "./flush-rows.ts";
import { fieldNamed, fieldsOf, identOf, type LakeField, type TableKind } from "./layout.ts";
import { liveDataFiles } from "./live-files.ts";
import { attemptName, keyPart } from "./locations.ts";
import { currentSchema, readManifestList, type StagedManifest, stageManifest } from "./manifest.ts";
import { ManifestMerger } from "./merge-manifests.ts";
import { writePositionDeletes } from "./position-deletes.ts";
import { findPositions, type KeyFields, type OldRows, type Positions } from "./positions.ts";
import { ensureTable } from "./tables.ts";
import { currentSnapshot, type Progress, progressProperties, progressSummary, watermarkOf } from "./watermark.ts";

/** Other deliveries of the same shard may move its watermark meanwhile; each time the flush looks again. */
const RESTARTS = 5;

/**
 * Writes a batch to the lake. What is there already is skipped.
 * @returns how far the lake now holds the shard, with what this call wrote. Errors: `CommitConflict`, `CommitUnknown`,
 * `DestinationUnavailable` (try again), `DestinationRefused`, `Conflict`, `Corrupt` (a person has to look)
 */
export function flushToIceberg(batch: FlushBatch, deps: LakeDeps): Promise<Result<FlushReceipt, LakeSyncError>> {
  return attempt(async () => {
    const deltas = await flushTable(batch, "changes", deps);
    await fault(deps, "flush: between history and rows");
    const rows = await flushTable(batch, "main", deps);
    await fault(deps, "flush: after the commits, before the receipt");
    return { watermark: batch.toSeq, rows, deltas };
  });
}

/** @returns how many rows or edits were written */
async function flushTable(batch: FlushBatch, kind: TableKind, deps: LakeDeps): Promise<number> {
  for (let restart = 0; restart < RESTARTS; restart++) {
    await fault(deps, "flush: before the table is ready");
    const table = await ensureTable(deps, batch.table, kind);
    const watermark = watermarkOf(table.metadata, batch.shard);
    if (watermark >= batch.toSeq) return 0;
    await fault(deps, "flush: after the table is ready, before data files");
    const staged = await stage(batch, kind, table, watermark, deps);
    await fault(deps, "flush: after data files, before positions are looked up");
    if (staged.files.length === 0 && staged.old.size === 0) return 0;
    const flush = new TableFlush(batch, staged, table, watermark, deps);
    const ident = identOf(deps, batch.table.table, kind);
    const landed = await commitSnapshot(deps, ident, table, flush.snapshotId, (base) => flush.prepare(base));
    if (landed) return staged.count;
    if (flush.nothingToDo) return 0;
  }
  throw new LakeSyncError(
    "CommitConflict",
    `Shard ${batch.shard} of ${batch.table.table} is being flushed by others at the same time; it will be tried again.`,
    { table: batch.table.table, shard: batch.shard },
  );
}

interface Staged {
  readonly fields: readonly LakeField[];
  readonly target: DataFileTarget;
  readonly files: readonly DataFile[];
  readonly old: OldRows;
  readonly count: number;
  readonly maxHlc: HlcText | "";
}

async function stage(
  batch: FlushBatch,
  kind: TableKind,
  { metadata }: LoadedTable,
  watermark: number,
  deps: LakeDeps,
): Promise<Staged> {
  const fields = fieldsOf(currentSchema(metadata), kind);
  const from = Math.max(batch.fromSeq, watermark);
  const name = `${keyPart(batch.shard)}-${from}-${batch.toSeq}-${attemptName(deps)}`;
  const target = { store: deps.store, location: metadata.location, name };
  if (kind === "changes") {
    const writer = new DataFileWriter(target, fields);
    const { deltas, maxHlc } = await stageHistory(batch, fields, watermark, writer);
    return { fields, target, files: await writer.finish(), old: new Map(), count: deltas, maxHlc };
  }
  const writer = new DataFileWriter(target, fields, "_id");
  const { rows, maxHlc, old } = await stageRows(batch, fields, watermark, writer);
  return { fields, target, files: await writer.finish(), old, count: rows, maxHlc };
}

/** One table's part of a flush, from its data files on. Manifests are written once, unless old rows have moved. */
class TableFlush {
  readonly snapshotId: number;
  /** There was nothing to append and no old version to remove. */
  nothingToDo = false;
  readonly #batch: FlushBatch;
  readonly #staged: Staged;
  readonly #uuid: string;
  readonly #watermark: number;
  readonly #deps: LakeDeps;
  readonly #merger: ManifestMerger;
  #data: StagedManifest | undefined;
  #deletes:
    | { readonly positions: Positions; readonly files: DataFile[]; readonly manifest?: StagedManifest }
    | undefined;

  constructor(batch: FlushBatch, staged: Staged, table: LoadedTable, watermark: number, deps: LakeDeps) {
    this.#batch = batch;
    this.#staged = staged;
    this.#uuid = table.metadata["table-uuid"];
    this.#watermark = watermark;
    this.#deps = deps;
    this.snapshotId = newSnapshotId(deps, table.metadata);
    this.#merger = new ManifestMerger(deps.store, this.snapshotId);
  }

  /** What to commit on this base; undefined when the staged files do not fit it any more, or nothing is left to do. */
  async prepare(base: LoadedTable): Promise<SnapshotChange | undefined> {
    const { metadata } = base;
    const { shard, toSeq, toMs, digest } = this.#batch;
    if (metadata["table-uuid"] !== this.#uuid || watermarkOf(metadata, shard) !== this.#watermark) return undefined;
    await this.#resolveDeletes(base);
    await fault(this.#deps, "flush: after delete files, before manifests");
    const { files } = this.#staged;
    const deletes = this.#deletes?.files ?? [];
    if (files.length + deletes.length === 0) {
      this.nothingToDo = true;
      return undefined;
    }
    if (files.length > 0) this.#data ??= await this.#manifest(base, "data", files);
    const added = [this.#data, this.#deletes?.manifest].filter((each) => each !== undefined);
    const before = await readManifestList(this.#deps.store, currentSnapshot(metadata));
    const { carried, merged } = await this.#merger.merge(metadata, before);
    await fault(this.#deps, "flush: after manifests, before the commit");
    const maxHlc = this.#staged.maxHlc === "" ? 0n : hlcToBigInt(this.#staged.maxHlc);
    const progress: Progress = { shard, toSeq, toMs, maxHlc, digest };
    return {
      operation: deletes.length === 0 ? "append" : files.length === 0 ? "delete" : "overwrite",
      manifests: [...merged, ...added],
      carried,
      counts: { addedFiles: [...files, ...deletes] },
      summary: progressSummary(metadata, progress),
      properties: progressProperties(metadata, progress),
    };
  }

  /** Finds old versions in the base's files; again only when a file that holds some is gone, compacted meanwhile. */
  async #resolveDeletes(base: LoadedTable): Promise<void> {
    const { fields, old, target } = this.#staged;
    if (old.size === 0) return;
    const live = await liveDataFiles(this.#deps.store, base.metadata);
    const paths = new Set(live.map((file) => file.file_path));
    if (this.#deletes && [...this.#deletes.positions.keys()].every((path) => paths.has(path))) return;
    const keys: KeyFields = {
      rowId: fieldNamed(fields, "_id").fieldId,
      seq: fieldNamed(fields, "_seq").fieldId,
    };
    const positions = await findPositions(this.#deps.store, live, keys, old);
    const files = await writePositionDeletes(target, positions);
    const manifest = files.length > 0 ? { manifest: await this.#manifest(base, "deletes", files) } : {};
    this.#deletes = { positions, files, ...manifest };
  }

  #manifest(base: LoadedTable, content: "data" | "deletes", files: readonly DataFile[]): Promise<StagedManifest> {
    return stageManifest(this.#deps.store, base.metadata, this.snapshotId, content, files);
  }
}

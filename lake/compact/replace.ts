/**
 * The commit of a compaction: data files for data files with the same rows (operation `replace`), on whatever base it
 * meets (L3, L2). Data files are written before, once; on each base only this is decided anew:
 *
 *   an input is gone                          somebody else compacted it: give up, the outputs are orphans
 *   new position deletes into inputs          a flush raced: find the same rows in the outputs, by id and seq, and delete
 *                                             them there, in the same commit
 *   new equality deletes                      apply by themselves: outputs have the sequence number of the first base
 *   delete files that say nothing any more    go
 *
 * Entries of files that go are kept as deleted in the snapshot, so that engines which read increments see what happened.
 */
import type { LoadedTable } from "../../core/index.ts";
import {
  CONTENT,
  carriedSummary,
  type DataFile,
  type DataFileTarget,
  type DeleteIndex,
  fault,
  findExactly,
  type KeyFields,
  keyOf,
  type LakeDeps,
  type LiveEntry,
  type MANIFEST_CONTENT,
  type ManifestEntry,
  type ManifestFile,
  type OldRows,
  readPositionDeletes,
  type SnapshotChange,
  STATUS,
  type StagedManifest,
  stageManifest,
  writeManifest,
  writePositionDeletes,
} from "../iceberg/index.ts";
import { openParquet } from "../parquet/index.ts";
import { entriesOf, type ManifestCache, type ReadManifest } from "./tables.ts";

export interface Replacement {
  readonly snapshotId: number;
  readonly uuid: string;
  /** Sequence number of the base that the inputs were read at. */
  readonly sequence: number;
  readonly inputs: readonly LiveEntry[];
  readonly outputs: readonly DataFile[];
  /** What the delete files of that base say; all of them have been applied to the inputs. */
  readonly deletes: DeleteIndex;
  /** Paths of the delete files of that base. */
  readonly known: ReadonlySet<string>;
  /** Delete files that were merged, and what stands for them. */
  readonly merged: { readonly from: ReadonlySet<string>; readonly into: readonly DataFile[] };
  /** Id and seq of a row; undefined for a table without them, where a conflict ends the job. */
  readonly keys: KeyFields | undefined;
  readonly target: DataFileTarget;
}

/** How a job ended: on every base it tries, an answer or a change. */
export type Ending = "replaced" | "raced" | "nothing";

export class Replacer {
  ending: Ending = "nothing";
  readonly #deps: LakeDeps;
  readonly #job: Replacement;
  readonly #manifests: ManifestCache;
  readonly #seen: Set<string>;
  /** Rows of the inputs that others deleted meanwhile, and the delete files that say so of the outputs. */
  #gone = new Map<string, number>();
  #resolved: readonly DataFile[] = [];

  constructor(deps: LakeDeps, job: Replacement, manifests: ManifestCache) {
    this.#deps = deps;
    this.#job = job;
    this.#manifests = manifests;
    this.#seen = new Set(job.known);
  }

  async prepare({ metadata }: LoadedTable): Promise<SnapshotChange | undefined> {
    const { inputs, outputs, snapshotId, sequence, merged, uuid } = this.#job;
    const { store } = this.#deps;
    const base = await this.#manifests.current(metadata);
    const [data, deletes] = [entriesOf(base, "data"), entriesOf(base, "deletes")];
    const live = new Set(data.map((entry) => entry.data_file.file_path));
    const paths = new Set(inputs.map((entry) => entry.data_file.file_path));
    if (metadata["table-uuid"] !== uuid || ![...paths].every((path) => live.has(path))) return this.#end("raced");
    if (!(await this.#resolve(deletes, paths))) return this.#end("raced");
    await fault(this.#deps, "compact: after delete files, before manifests");

    const staying = data.filter((entry) => !paths.has(entry.data_file.file_path));
    const removedDeletes = deletes.filter((entry) => this.#isSpent(entry, staying));
    const added = [...this.#resolved, ...merged.into];
    if (paths.size + removedDeletes.length + added.length === 0) return this.#end("nothing");
    const removed = new Set([...paths, ...removedDeletes.map((entry) => entry.data_file.file_path)]);
    const stage = (content: keyof typeof MANIFEST_CONTENT, files: readonly DataFile[], of: number | null) =>
      files.length > 0 ? [stageManifest(store, metadata, snapshotId, content, files, of)] : [];
    const { carried, rewritten } = await this.#rewrite(metadata, base, removed);
    const manifests = await Promise.all([...stage("data", outputs, sequence), ...stage("deletes", added, null)]);
    await fault(this.#deps, "compact: after manifests, before the commit");
    this.ending = "replaced";
    return {
      operation: "replace",
      manifests: [...manifests, ...rewritten],
      carried,
      counts: {
        addedFiles: [...outputs, ...added],
        removedFiles: [...inputs, ...removedDeletes].map((entry) => entry.data_file),
      },
      summary: carriedSummary(metadata),
    };
  }

  #end(ending: Ending): undefined {
    this.ending = ending;
  }

  /** Takes note of delete files that came since. @returns false when they cannot be carried over to the outputs */
  async #resolve(deletes: readonly LiveEntry[], inputs: ReadonlySet<string>): Promise<boolean> {
    const { store } = this.#deps;
    const { keys, outputs, target } = this.#job;
    const fresh = deletes.filter(({ data_file }) => !this.#seen.has(data_file.file_path));
    const positions = new Map<string, number[]>();
    for (const { data_file: file } of fresh) {
      this.#seen.add(file.file_path);
      if (file.content !== CONTENT.positionDeletes) continue;
      for await (const { path, position } of readPositionDeletes(store, file)) {
        if (!inputs.has(path) || this.#job.deletes.positions(path)?.has(position)) continue;
        positions.set(path, [...(positions.get(path) ?? []), position]);
      }
    }
    if (positions.size === 0) return true;
    if (!keys) return false;
    const files = new Map(this.#job.inputs.map(({ data_file }) => [data_file.file_path, data_file]));
    for (const [path, at] of positions)
      for (const [rowId, seq] of await this.#rowsAt(files.get(path) as DataFile, at, keys)) this.#gone.set(rowId, seq);
    this.#resolved = await writePositionDeletes(target, await findExactly(store, outputs, keys, this.#gone));
    return true;
  }

  async #rowsAt(file: DataFile, positions: readonly number[], keys: KeyFields): Promise<OldRows> {
    const reader = await openParquet(
      this.#deps.store,
      keyOf(this.#deps.store, file.file_path),
      file.file_size_in_bytes,
    );
    const rows = new Map<string, number>();
    for (const [group, { start, rows: count }] of reader.rowGroups.entries()) {
      const here = positions.filter((position) => position >= start && position < start + count);
      if (here.length === 0) continue;
      const [ids, seqs] = await reader.readGroup(group, [
        { fieldId: keys.rowId, type: "string" },
        { fieldId: keys.seq, type: "long" },
      ]);
      for (const position of here) rows.set(ids?.[position - start] as string, seqs?.[position - start] as number);
    }
    return rows;
  }

  /** Whether a delete file says nothing of the data files that stay, or others say the same. */
  #isSpent({ data_file: file, sequence_number }: LiveEntry, staying: readonly LiveEntry[]): boolean {
    const { merged, deletes, outputs, sequence } = this.#job;
    if (merged.from.has(file.file_path)) return true;
    if (file.content === CONTENT.equalityDeletes) {
      const covered = BigInt(sequence_number) <= BigInt(sequence) || outputs.length === 0;
      return covered && staying.every((entry) => BigInt(entry.sequence_number) >= BigInt(sequence_number));
    }
    const named = deletes.namedBy(file.file_path);
    return named !== undefined && !staying.some((entry) => named.has(entry.data_file.file_path));
  }

  /** Manifests without the files that go; those that have none of them stay as they are. */
  async #rewrite(
    metadata: LoadedTable["metadata"],
    base: readonly ReadManifest[],
    removed: ReadonlySet<string>,
  ): Promise<{ carried: ManifestFile[]; rewritten: StagedManifest[] }> {
    const { snapshotId } = this.#job;
    const touched = base.filter(({ entries }) => entries.some((entry) => removed.has(entry.data_file.file_path)));
    const rewritten: StagedManifest[] = [];
    for (const content of ["data", "deletes"] as const) {
      const entries = entriesOf(touched, content).map(
        (entry): ManifestEntry =>
          removed.has(entry.data_file.file_path)
            ? { ...entry, status: STATUS.deleted, snapshot_id: snapshotId }
            : { ...entry, status: STATUS.existing },
      );
      if (entries.length > 0)
        rewritten.push(await writeManifest(this.#deps.store, metadata, snapshotId, content, entries));
    }
    return { carried: base.filter((each) => !touched.includes(each)).map((each) => each.manifest), rewritten };
  }
}

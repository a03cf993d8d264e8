/**
 * Runs of rows that left are merged: read side by side, in the order of ids, and written as one, or as several that share no id. Of a row
 * that is in more than one of them the newest counts.
 *
 * Memory is bounded by two chunks of each run, and the ids of one that is being written. Killed anywhere, the runs that were there are
 * in force; what was written is removed after a while (sweep.ts).
 */
import { type ColdRun, type FilteredRun, type PackedRow, restoreRows } from "../../core/index.ts";
import {
  attempt,
  compareCodePoints,
  HOT_MERGED_ROWS,
  type LakeSyncError,
  type Result,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import { type CheckpointDeps, type CheckpointPlace, getChunk } from "../checkpoint/index.ts";
import type { LeavingTable } from "./leave.ts";
import { RunWriter } from "./run-writer.ts";

type Answer<T> = Promise<Result<T, LakeSyncError>>;

/** A shard whose runs may be merged. */
export interface MergingSource {
  readonly gatewayId: string;
  readonly shard: string;
  /** @returns undefined where nothing is to be merged */
  begin(): Answer<MergingTable | undefined>;
  /** @returns false where the runs are not there any more */
  merged(table: string, from: readonly string[], into: readonly FilteredRun[]): Answer<boolean>;
}

export interface MergingTable extends LeavingTable {
  /** That stand behind each other, oldest first. */
  readonly runs: readonly ColdRun[];
}

export interface MergeOptions {
  readonly chunkChars?: number;
  /** Of a run that is written. */
  readonly runRows?: number;
}

/** @returns how many runs went, and how many came */
export function mergeRuns(
  deps: CheckpointDeps,
  source: MergingSource,
  options: MergeOptions = {},
): Promise<Result<{ readonly merged: number; readonly into: number }, LakeSyncError>> {
  return attempt(async () => {
    const table = unwrap(await source.begin());
    if (!table) return { merged: 0, into: 0 };
    const { schema, runs } = table;
    const into: FilteredRun[] = [];
    let writer = new RunWriter(deps, source, table, options.chunkChars);
    const close = async () => {
      const { run, filter } = await writer.end();
      into.push({ run, filter });
      writer = new RunWriter(deps, source, table, options.chunkChars);
    };
    for await (const row of newest(runs.toReversed().map((run) => rowsOf(deps, source, schema, run)))) {
      await writer.add(row);
      if (writer.rows >= (options.runRows ?? HOT_MERGED_ROWS)) await close();
    }
    if (writer.rows > 0) await close();
    const from = runs.map(({ name }) => name);
    const done = unwrap(await source.merged(schema.table, from, into));
    return done ? { merged: runs.length, into: into.length } : { merged: 0, into: 0 };
  });
}

/** Rows of a run by id, with the next chunk under way. */
async function* rowsOf(
  { store }: CheckpointDeps,
  { gatewayId, shard }: CheckpointPlace,
  schema: TableSchema,
  { name, chunks }: ColdRun,
): AsyncGenerator<PackedRow> {
  const place = { gatewayId, shard, cold: true, run: name };
  const load = (at: number) => {
    const chunk = chunks[at];
    const loading = chunk && getChunk(store, place, schema.table, chunk);
    loading?.catch(() => undefined); // told where it is awaited
    return loading;
  };
  let loading = load(0);
  for (let at = 0; loading; at++) {
    const { batches, rest } = await loading;
    loading = load(at + 1);
    yield* restoreRows(schema, batches, rest).sort((a, b) => compareCodePoints(a.id, b.id));
  }
}

/** Rows of several, by id; of those with the same id the first one's. */
async function* newest(sources: readonly AsyncGenerator<PackedRow>[]): AsyncGenerator<PackedRow> {
  const heads = await Promise.all(sources.map(async (source) => (await source.next()).value as PackedRow | undefined));
  for (;;) {
    let least: PackedRow | undefined;
    for (const head of heads) if (head && (!least || compareCodePoints(head.id, least.id) < 0)) least = head;
    if (!least) return;
    yield least;
    for (const [at, head] of heads.entries())
      if (head?.id === least.id) heads[at] = (await sources[at]?.next())?.value as PackedRow | undefined;
  }
}

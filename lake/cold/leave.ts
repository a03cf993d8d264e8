/**
 * Rows that nobody touched for as long as their table's hot window is leave the shard, run by run:
 *
 *   read     pages of such rows, in the order of ids, while pushes go on
 *   write    chunks, in the form that a checkpoint has, with what a device gets and what a shard needs apart
 *   leave    the shard notes the run and forgets those of its rows that have not changed since
 *
 * Killed anywhere, a row is in the shard or in a run that the shard knows, or in both.
 */
import type { CheckpointRows, ColdRun } from "../../core/index.ts";
import {
  attempt,
  HOT_RUN_ROWS,
  type LakeSyncError,
  type Result,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import { type CheckpointDeps, newRun } from "../checkpoint/index.ts";
import { attemptName } from "../iceberg/index.ts";
import { RunWriter } from "./run-writer.ts";

type Answer<T> = Promise<Result<T, LakeSyncError>>;

/** A shard whose rows may leave: a Durable Object's stub, or an engine in the same process. */
export interface LeavingSource {
  readonly gatewayId: string;
  readonly shard: string;
  /** @returns undefined when there is nothing that is to leave */
  begin(token: string): Answer<LeavingTable | undefined>;
  rows(token: string, after: string): Answer<CheckpointRows>;
  leave(
    token: string,
    table: string,
    run: ColdRun,
    filter: Uint8Array,
    rows: readonly (readonly [string, number])[],
  ): Answer<number>;
  end(token: string): Answer<void>;
}

/** With ids of columns that decide who sees a row. */
export interface LeavingTable {
  readonly schema: TableSchema;
  readonly indexed: readonly number[];
}

export interface LeavingOptions {
  readonly chunkChars?: number;
  readonly runRows?: number;
}

export interface LeftSummary {
  /** Rows that left; 0 when it is not time yet. */
  readonly left: number;
  readonly runs: number;
}

/** @returns errors: what shard and store answered; `LeaseLost` where another has begun meanwhile */
export function leaveShard(
  deps: CheckpointDeps,
  source: LeavingSource,
  options: LeavingOptions = {},
): Promise<Result<LeftSummary, LakeSyncError>> {
  return attempt(async () => {
    const token = newRun(deps.clock.now(), attemptName(deps));
    const table = unwrap(await source.begin(token));
    if (!table) return { left: 0, runs: 0 };
    let left = 0;
    let runs = 0;
    let next: string | undefined = "";
    while (next !== undefined) {
      const writer = new RunWriter(deps, source, table, options.chunkChars);
      while (next !== undefined && writer.rows < (options.runRows ?? HOT_RUN_ROWS)) {
        const page: CheckpointRows = unwrap(await source.rows(token, next));
        for (const row of page.rows) await writer.add(row);
        next = page.next;
      }
      if (writer.rows === 0) break;
      const { rows, ...written } = await writer.end();
      left += unwrap(await source.leave(token, table.schema.table, written.run, written.filter, rows));
      runs++;
    }
    unwrap(await source.end(token));
    return { left, runs };
  });
}

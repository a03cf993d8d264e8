/**
 * Rows that nobody touched for as long as their table's hot window is leave the shard, run by run:
 *
 *   read     pages of such rows, in the order of ids, while pushes go on
 *   write    chunks, in the form that a checkpoint has, with what a device gets and what a shard needs apart
 *   leave    the shard notes the run and forgets those of its rows that have not changed since
 *
 * Killed anywhere, a row is in the shard or in a run that the shard knows, or in both.
 */
import {
  type CheckpointRows,
  ChunkBuilder,
  type ColdChunk,
  type ColdRun,
  cellOf,
  filterOf,
  IndexRun,
  type PackedRow,
} from "../../core/index.ts";
import {
  attempt,
  HOT_CHUNK_CHARS,
  HOT_RUN_ROWS,
  type LakeSyncError,
  type Result,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import { type CheckpointDeps, newRun, putChunk, putIndexRun, type RunPlace } from "../checkpoint/index.ts";
import { attemptName } from "../iceberg/index.ts";

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

export interface LeavingTable {
  readonly schema: TableSchema;
  /** Ids of columns that decide who sees a row. */
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
      const writer = new RunWriter(deps, source, table, options.chunkChars ?? HOT_CHUNK_CHARS);
      while (next !== undefined && writer.rows < (options.runRows ?? HOT_RUN_ROWS)) {
        const page: CheckpointRows = unwrap(await source.rows(token, next));
        await writer.add(page.rows);
        next = page.next;
      }
      if (writer.rows === 0) break;
      const { run, filter, rows } = await writer.end();
      left += unwrap(await source.leave(token, table.schema.table, run, filter, rows));
      runs++;
    }
    unwrap(await source.end(token));
    return { left, runs };
  });
}

class RunWriter {
  readonly #deps: CheckpointDeps;
  readonly #place: RunPlace;
  readonly #table: LeavingTable;
  readonly #chunkChars: number;
  readonly #rows: [string, number][] = [];
  readonly #chunks: ColdChunk[] = [];
  readonly #indexes: { readonly columnId: number; readonly run: IndexRun }[];
  #builder: ChunkBuilder;
  #first = "";

  constructor(deps: CheckpointDeps, { gatewayId, shard }: LeavingSource, table: LeavingTable, chunkChars: number) {
    this.#deps = deps;
    this.#place = { gatewayId, shard, cold: true, run: newRun(deps.clock.now(), attemptName(deps)) };
    this.#table = table;
    this.#chunkChars = chunkChars;
    this.#indexes = table.indexed.flatMap((columnId) => {
      const column = table.schema.columns.find(({ id }) => id === columnId);
      return column ? [{ columnId, run: new IndexRun(column.type) }] : [];
    });
    this.#builder = this.#newBuilder();
  }

  /** Dead rows are told of: an older run may have them alive. */
  #newBuilder(): ChunkBuilder {
    return new ChunkBuilder(this.#table.schema, true, this.#chunkChars);
  }

  get rows(): number {
    return this.#rows.length;
  }

  async add(rows: readonly PackedRow[]): Promise<void> {
    for (const packed of rows) {
      if (this.#builder.empty) this.#first = packed.id;
      const row = this.#builder.add(packed);
      this.#rows.push([packed.id, packed.seq]);
      for (const { columnId, run } of row ? this.#indexes : []) {
        const value = row && cellOf(row.state, columnId);
        if (value !== null && value !== undefined) run.add(value, packed.id);
      }
      if (this.#builder.full) await this.#close();
    }
  }

  async #close(): Promise<void> {
    if (this.#builder.empty) return;
    const info = await putChunk(this.#deps.store, this.#place, this.#builder.build());
    this.#chunks.push({ ...info, first: this.#first });
    this.#builder = this.#newBuilder();
  }

  async end() {
    await this.#close();
    const indexes: { columnId: number; runs: string[] }[] = [];
    for (const { columnId, run } of this.#indexes)
      indexes.push({ columnId, runs: run.chars > 0 ? [await putIndexRun(this.#deps.store, this.#place, run)] : [] });
    const last = this.#rows.at(-1)?.[0] ?? "";
    const run: ColdRun = { name: this.#place.run, last, chunks: this.#chunks, indexes };
    return { run, filter: filterOf(this.#rows.map(([id]) => id)), rows: this.#rows };
  }
}

/** Writes a run: rows of one table in the order of ids, as chunks, with what a device gets and what a shard needs apart. */
import {
  ChunkBuilder,
  type ColdChunk,
  cellOf,
  type FilteredRun,
  filterOf,
  IndexRun,
  type PackedRow,
} from "../../core/index.ts";
import { HOT_CHUNK_CHARS, INDEX_RUN_CHARS, type TableSchema } from "../../schemas/index.ts";
import {
  type CheckpointDeps,
  type CheckpointPlace,
  newRun,
  putChunk,
  putIndexRun,
  type RunPlace,
} from "../checkpoint/index.ts";
import { attemptName } from "../iceberg/index.ts";

interface Index {
  readonly columnId: number;
  readonly runs: string[];
  open: IndexRun;
}

export class RunWriter {
  readonly #deps: CheckpointDeps;
  readonly #place: RunPlace;
  readonly #schema: TableSchema;
  readonly #chunkChars: number;
  readonly #rows: [string, number][] = [];
  readonly #chunks: ColdChunk[] = [];
  readonly #indexes: Index[];
  #builder: ChunkBuilder;
  #first = "";

  /** @param table with ids of columns that are to be indexed */
  constructor(
    deps: CheckpointDeps,
    { gatewayId, shard }: CheckpointPlace,
    { schema, indexed }: { readonly schema: TableSchema; readonly indexed: readonly number[] },
    chunkChars = HOT_CHUNK_CHARS,
  ) {
    this.#deps = deps;
    this.#place = { gatewayId, shard, cold: true, run: newRun(deps.clock.now(), attemptName(deps)) };
    this.#schema = schema;
    this.#chunkChars = chunkChars;
    this.#indexes = indexed.flatMap((columnId) => {
      const column = schema.columns.find(({ id }) => id === columnId);
      return column ? [{ columnId, runs: [], open: new IndexRun(column.type) }] : [];
    });
    this.#builder = this.#newBuilder();
  }

  /** Dead rows are told of: an older run may have them alive. */
  #newBuilder(): ChunkBuilder {
    return new ChunkBuilder(this.#schema, true, this.#chunkChars);
  }

  get rows(): number {
    return this.#rows.length;
  }

  async add(packed: PackedRow): Promise<void> {
    if (this.#builder.empty) this.#first = packed.id;
    const row = this.#builder.add(packed);
    this.#rows.push([packed.id, packed.seq]);
    for (const { columnId, open } of row ? this.#indexes : []) {
      const value = row && cellOf(row.state, columnId);
      if (value !== null && value !== undefined) open.add(value, packed.id);
    }
    if (this.#builder.full) await this.#close();
  }

  async #close(): Promise<void> {
    if (this.#builder.empty) return;
    const info = await putChunk(this.#deps.store, this.#place, this.#builder.build());
    this.#chunks.push({ ...info, first: this.#first });
    this.#builder = this.#newBuilder();
    for (const index of this.#indexes) if (index.open.chars >= INDEX_RUN_CHARS) await this.#closeIndex(index);
  }

  async #closeIndex(index: Index): Promise<void> {
    if (index.open.chars === 0) return;
    index.runs.push(await putIndexRun(this.#deps.store, this.#place, index.open));
    index.open = new IndexRun(index.open.type);
  }

  /** @returns with id and seq of each row */
  async end(): Promise<FilteredRun & { readonly rows: readonly (readonly [string, number])[] }> {
    await this.#close();
    for (const index of this.#indexes) await this.#closeIndex(index);
    const indexes = this.#indexes.map(({ columnId, runs }) => ({ columnId, runs }));
    const last = this.#rows.at(-1)?.[0] ?? "";
    const run = { name: this.#place.run, last, chunks: this.#chunks, indexes, rows: this.#rows.length };
    return { run, filter: filterOf(this.#rows.map(([id]) => id)), rows: this.#rows };
  }
}

/**
 * A shard that lost its storage gets it back from the lake (L7):
 *
 *   chunks   of the newest checkpoint, where there is one of the layout in force
 *   edits    of the history after it; without a checkpoint all of them, those of shards that handed rows over included
 *   check    each table's digest is the one that the shard gave with its last flush (V1)
 *   end      the shard is in service again
 *
 * One call goes through a bounded number of rows; the shard notes how far it came, and the next call goes on there.
 */
import {
  type CheckpointManifest,
  type ChunkInfo,
  type ColdRun,
  type DatabaseAdapter,
  type HistoryBatch,
  type LakeAdapter,
  type MovedClock,
  type PackedRow,
  type RebuildState,
  type RebuildStep,
  restoreRows,
  type ShardProgress,
  TableDigest,
} from "../core/index.ts";
import {
  attempt,
  LakeSyncError,
  REBUILD_EDITS,
  REBUILD_JOB_ROWS,
  type Result,
  type Seq,
  type TableSchema,
  unwrap,
} from "../schemas/index.ts";
import { getChunk, getClocks, getColdRuns, type RunPlace, readCheckpoint } from "./checkpoint/index.ts";

/** Bound as one value of SQLite. */
const CLOCKS_AT_ONCE = 5000;

type Answer<T> = Promise<Result<T, LakeSyncError>>;

/** A shard that is being rebuilt: a Durable Object's stub, or an engine in the same process. */
export interface RebuildTarget {
  readonly gatewayId: string;
  readonly shard: string;
  begin(at: string, top: number, force: boolean): Answer<RebuildState>;
  clocks(at: string, table: string, clocks: readonly MovedClock[]): Answer<void>;
  rows(step: RebuildStep, table: string, rows: readonly PackedRow[]): Answer<RebuildState>;
  edits(step: RebuildStep, table: string, edits: HistoryBatch, watermark?: number): Answer<RebuildState>;
  /** Digests as of the last flush, as rebuilt. */
  digests(tables: readonly string[]): Answer<Readonly<Record<string, string>>>;
  end(at: string): Answer<void>;
}

export interface RebuildDeps {
  readonly store: LakeAdapter;
  /** Whoever has the history. */
  readonly history: Pick<DatabaseAdapter, "queryDeltasSince" | "progress">;
}

export interface RebuildOptions {
  /** Of the shard map in force: a checkpoint of another lacks rows that moved since. */
  readonly mapVersion: number;
  /** That live in the shard. */
  readonly tables: readonly TableSchema[];
  /** Drops what the shard holds, and begins anew. */
  readonly force?: boolean;
  /** From the history alone. */
  readonly noCheckpoint?: boolean;
  /** Ends although digests differ. */
  readonly unverified?: boolean;
  readonly jobRows?: number;
  readonly pageEdits?: number;
}

export interface RebuildReport {
  /** "more": call again, it goes on. */
  readonly state: "rebuilt" | "more";
  readonly rows: number;
  readonly edits: number;
  /** Seq of the checkpoint that it began with; 0 for none. */
  readonly checkpoint: number;
  /** Tables whose digest is the one of their last flush; of the others no flush said one. */
  readonly verified: readonly string[];
}

/** Where a rebuild stands. Tables in order of their names; a table's former shards in order of theirs, its own last. */
interface Place {
  readonly run?: string;
  readonly base: number;
  readonly phase: "chunks" | "edits" | "end";
  readonly table: string;
  /** Chunks of the table that are in. */
  readonly chunk?: number;
  /** Whose edits of the table come next, and after which seq. */
  readonly source?: string;
  readonly after?: number;
}

/**
 * @returns errors: `Conflict` for a shard that is not empty, or whose rebuild somebody else goes on with; `Corrupt` where digests
 * differ; what the store, the history or the shard answered
 */
export function rebuildShard(
  deps: RebuildDeps,
  target: RebuildTarget,
  options: RebuildOptions,
): Promise<Result<RebuildReport, LakeSyncError>> {
  return attempt(async () => {
    const manifest = await usableCheckpoint(deps, target, options);
    const tables = options.tables.toSorted((a, b) => (a.table < b.table ? -1 : 1));
    const progress = new Map<string, readonly ShardProgress[]>();
    for (const table of tables) progress.set(table.table, unwrap(await deps.history.progress(table)));
    const own = [...progress.values()].flat().filter(({ shard }) => shard === target.shard);
    const first: Place = manifest
      ? { run: manifest.run, base: manifest.seq, phase: "chunks", table: "" }
      : { base: 0, phase: "edits", table: "" };
    const top = Math.max(0, manifest?.seq ?? 0, ...own.map(({ watermark }) => watermark));
    const state = unwrap(await target.begin(JSON.stringify(first), top, options.force ?? false));
    const rebuild = new Rebuild(deps, target, options, tables, progress, state);
    if (manifest) await rebuild.clocks(manifest);
    if (!(await rebuild.run())) return rebuild.report("more", []);
    const verified = await rebuild.check();
    unwrap(await target.end(rebuild.state.at));
    return rebuild.report("rebuilt", verified);
  });
}

async function usableCheckpoint(
  { store }: RebuildDeps,
  target: RebuildTarget,
  { noCheckpoint, mapVersion }: RebuildOptions,
): Promise<CheckpointManifest | undefined> {
  const manifest = noCheckpoint ? undefined : await readCheckpoint(store, target);
  return manifest?.mapVersion === mapVersion ? manifest : undefined;
}

class Rebuild {
  readonly #deps: RebuildDeps;
  readonly #target: RebuildTarget;
  readonly #options: RebuildOptions;
  readonly #tables: readonly TableSchema[];
  readonly #progress: ReadonlyMap<string, readonly ShardProgress[]>;
  state: RebuildState;
  readonly #coldRuns = new Map<string, ColdRun[]>();
  #place: Place;
  #rowsLeft: number;

  constructor(
    deps: RebuildDeps,
    target: RebuildTarget,
    options: RebuildOptions,
    tables: readonly TableSchema[],
    progress: ReadonlyMap<string, readonly ShardProgress[]>,
    state: RebuildState,
  ) {
    this.#deps = deps;
    this.#target = target;
    this.#options = options;
    this.#tables = tables;
    this.#progress = progress;
    this.state = state;
    this.#place = JSON.parse(state.at) as Place;
    this.#rowsLeft = options.jobRows ?? REBUILD_JOB_ROWS;
  }

  report(state: RebuildReport["state"], verified: readonly string[]): RebuildReport {
    const { rows, edits } = this.state;
    return { state, rows, edits, checkpoint: this.#place.base, verified };
  }

  /** What was known of clients' clocks at the checkpoint that this begins with. */
  async clocks({ run, clocks }: CheckpointManifest): Promise<void> {
    if (clocks === undefined || run !== this.#place.run || this.#place.phase !== "chunks") return;
    const { gatewayId, shard } = this.#target;
    const known = await getClocks(this.#deps.store, { gatewayId, shard, run }, clocks);
    for (const { table } of this.#tables)
      for (let at = 0, of = known[table] ?? []; at < of.length; at += CLOCKS_AT_ONCE)
        unwrap(await this.#target.clocks(this.state.at, table, of.slice(at, at + CLOCKS_AT_ONCE)));
  }

  /** @returns false when there is more than one call goes through */
  async run(): Promise<boolean> {
    while (this.#place.phase !== "end") {
      if (this.#rowsLeft <= 0) return false;
      if (this.#place.phase === "chunks") await this.#chunk();
      else await this.#edits();
    }
    return true;
  }

  async #chunk(): Promise<void> {
    const { run = "", base, table: name, chunk = 0 } = this.#place;
    const manifest = await readCheckpoint(this.#deps.store, this.#target);
    if (manifest?.run !== run)
      throw new LakeSyncError("Conflict", "The checkpoint is another by now; begin the rebuild anew, with force.");
    const table = this.#tables.find((each) => each.table >= name);
    if (!table) return this.#to({ base, run, phase: "edits", table: "" }, "", []);
    const held = manifest.tables.find((each) => each.table === table.table);
    const at = table.table === name ? chunk : 0;
    const place = { gatewayId: this.#target.gatewayId, shard: this.#target.shard, run };
    const here = [...(held?.chunks ?? []), ...(held?.late ?? [])].map((info) => ({ place, info }));
    // What has left comes first, the oldest before: a row that came back since, or left again, is as it was last.
    const [found] = [...(await this.#left(place, held?.cold)), ...here].slice(at);
    if (!found) return this.#to({ ...this.#place, table: `${table.table}\0`, chunk: 0 }, "", []);
    const { batches, rest } = await getChunk(this.#deps.store, found.place, table.table, found.info);
    const rows = restoreRows(table, batches, rest);
    await this.#to({ ...this.#place, table: table.table, chunk: at + 1 }, table.table, rows);
  }

  /** Chunks of rows that had left. @param list of their runs */
  async #left(place: RunPlace, list: string | undefined): Promise<{ place: RunPlace; info: ChunkInfo }[]> {
    if (list === undefined) return [];
    const runs = this.#coldRuns.get(list) ?? (await getColdRuns(this.#deps.store, place, list));
    this.#coldRuns.set(list, runs);
    return runs.flatMap(({ name, chunks }) =>
      chunks.map((info) => ({ place: { ...place, cold: true, run: name }, info })),
    );
  }

  async #to(next: Place, table: string, rows: readonly PackedRow[]): Promise<void> {
    const step = { at: this.state.at, next: JSON.stringify(next) };
    const [any] = this.#tables;
    // Steps without rows are steps of whichever table; a shard without tables has none.
    if (any) this.state = unwrap(await this.#target.rows(step, table || any.table, rows));
    this.#place = next;
    this.#rowsLeft -= rows.length;
  }

  /** Shards whose edits of a table make its rows here: of those that handed rows over, all; a checkpoint has theirs already. */
  #sources({ table }: TableSchema): string[] {
    const { shard } = this.#target;
    const known = (this.#progress.get(table) ?? []).map((each) => each.shard);
    const former = this.#place.base > 0 ? [] : known.filter((each) => each !== shard).sort();
    return [...former, shard];
  }

  async #edits(): Promise<void> {
    const { base, run, table: name, source, after } = this.#place;
    const place = { base, phase: "edits", ...(run !== undefined && { run }) } as const;
    const table = this.#tables.find((each) => each.table >= name);
    if (!table) return this.#to({ ...place, phase: "end", table: "" }, "", []);
    const sources = this.#sources(table);
    const shard = table.table === name && source !== undefined ? source : (sources[0] as string);
    const own = shard === this.#target.shard;
    const afterSeq = (after ?? (own ? base : 0)) as Seq;
    const limit = this.#options.pageEdits ?? REBUILD_EDITS;
    const edits = unwrap(
      await this.#deps.history.queryDeltasSince({
        table,
        shard,
        gatewayId: this.#target.gatewayId,
        afterSeq,
        limit,
      }),
    );
    const count = edits.seqs.length;
    const following = sources[sources.indexOf(shard) + 1];
    const next: Place =
      count === limit
        ? { ...place, table: table.table, source: shard, after: edits.seqs.at(-1) as number }
        : following !== undefined
          ? { ...place, table: table.table, source: following }
          : { ...place, table: `${table.table}\0` };
    const step = { at: this.state.at, next: JSON.stringify(next) };
    const watermark = own ? (this.#own(table)?.watermark ?? 0) : undefined;
    this.state = unwrap(await this.#target.edits(step, table.table, edits, watermark));
    this.#place = next;
    this.#rowsLeft -= count;
  }

  #own({ table }: TableSchema): ShardProgress | undefined {
    return this.#progress.get(table)?.find(({ shard }) => shard === this.#target.shard);
  }

  /** @returns tables that are as the shard said of them */
  async check(): Promise<string[]> {
    const names = this.#tables.map(({ table }) => table);
    const digests = unwrap(await this.#target.digests(names));
    const verified: string[] = [];
    for (const table of this.#tables) {
      const expected = this.#own(table)?.digest;
      if (expected === undefined) continue;
      const found = digests[table.table] ?? String(new TableDigest());
      if (found === expected) verified.push(table.table);
      else if (!this.#options.unverified)
        throw new LakeSyncError(
          "Corrupt",
          `The rebuilt rows of ${table.table} have the digest ${found}, and had ${expected} when they were flushed. Rebuild with "force" and "noCheckpoint", or end with "unverified".`,
          { table: table.table },
        );
    }
    return verified;
  }
}

/**
 * Makes a checkpoint of a shard while pushes go on:
 *
 *   rows    all rows, in order of id, into chunks; each as it was when it was read
 *   late    what changed since the beginning, into chunks of its own, until nothing has changed any more: now every row
 *           is known as it is at one seq
 *   landed  the lake holds that seq, and all edits of clients whose clocks are noted, so that a rebuild has everything (L7)
 *   check   where nothing changed meanwhile, the rows that were read have the digest that the shard keeps of them (V1)
 *   flip    the manifest is replaced; what older runs left goes after a grace period
 *
 * Memory is bounded by a page, a chunk and a run of the indexes. A shard that is too large for one go is done in several:
 * a draft says how far it came. Killed anywhere, the checkpoint in force stays in force.
 */
import {
  type CheckpointManifest,
  type CheckpointSource,
  type CheckpointStart,
  type CheckpointTable,
  ChunkBuilder,
  type ChunkInfo,
  type Clock,
  cellOf,
  columnNames,
  IndexRun,
  type LakeAdapter,
  type PackedRow,
  rowDigest,
  TableDigest,
} from "../../core/index.ts";
import {
  attempt,
  CHECKPOINT_AGE_MS,
  CHECKPOINT_CHANGED_RATIO,
  CHECKPOINT_CHANGES,
  CHECKPOINT_DRAFT_MS,
  CHECKPOINT_GRACE_MS,
  CHECKPOINT_HEAD_MIN,
  CHECKPOINT_JOB_ROWS,
  CHUNK_CHARS,
  INDEX_RUN_CHARS,
  LakeSyncError,
  type Result,
  type Seq,
  unwrap,
} from "../../schemas/index.ts";
import { attemptName } from "../iceberg/index.ts";
import { type CheckpointPlace, draftKey, manifestKey, newRun, runStartMs } from "./keys.ts";
import {
  objectsIn,
  putChunk,
  putClocks,
  putColdRuns,
  putIndexRun,
  putJson,
  type RunPlace,
  readCheckpoint,
} from "./objects.ts";

export interface CheckpointDeps {
  readonly store: LakeAdapter;
  readonly clock: Clock;
  chance(): number;
}

export interface CheckpointOptions {
  /** Of the shard map, now: asked at the beginning and at the end, since a move in between spoils the checkpoint. */
  mapVersion(): Promise<number>;
  /** Make one however little has changed. */
  readonly force?: boolean;
  /** Rows that this call reads at most. */
  readonly jobRows?: number;
  readonly chunkChars?: number;
  readonly graceMs?: number;
}

export interface CheckpointSummary {
  /** "more": call again, it goes on. "idle": the checkpoint in force is new enough, or there is too little for one. */
  readonly state: "written" | "more" | "idle";
  /** Of the checkpoint in force; 0 when there is none. */
  readonly seq: number;
  readonly rows: number;
  readonly bytes: number;
  readonly chunks: number;
}

/** A table of a draft: what the manifest will say of it. */
interface DraftTable {
  readonly table: string;
  readonly indexed: readonly number[];
  readonly chunks: ChunkInfo[];
  readonly late: ChunkInfo[];
  readonly runs: Record<number, string[]>;
  /** Of the rows in `chunks`, as they were read. */
  read: string | undefined;
  /** Of the table at the checkpoint's seq, as the shard keeps it. */
  digest?: string;
  /** Of the rows that had left when the draft was begun, and at the checkpoint's seq. */
  readonly coldFrom: string;
  cold?: string;
  /** What has left. */
  coldRuns?: string;
}

interface Draft {
  readonly run: string;
  readonly from: Seq;
  readonly mapVersion: number;
  readonly tables: DraftTable[];
  /** What is to be read next; beyond the last table, what came late. */
  at: { table: number; after: string };
}

/** @returns errors: what the shard or the store answered; `Conflict` when rows moved meanwhile */
export function writeCheckpoint(
  deps: CheckpointDeps,
  source: CheckpointSource,
  options: CheckpointOptions,
): Promise<Result<CheckpointSummary, LakeSyncError>> {
  return attempt(async () => {
    const place = { gatewayId: source.gatewayId, shard: source.shard };
    const [old, start, mapVersion] = await Promise.all([
      readCheckpoint(deps.store, place),
      source.start().then(unwrap),
      options.mapVersion(),
    ]);
    const held = await readDraft(deps, source, mapVersion);
    const due =
      options.force ||
      isDue(old, start, mapVersion, deps.clock.now()) ||
      (old !== undefined && !unwrap(await source.remembers(old.seq))); // nobody can go on from there
    if (!held && !due) return summaryOf("idle", old);
    const draft = held ?? newDraft(deps, start, mapVersion);
    const writer = new Writer(deps, source, start, draft, options);
    if (!(await writer.rows())) {
      await putJson(deps.store, draftKey(place), draft);
      return summaryOf("more", old);
    }
    const seq = await writer.late();
    const known = unwrap(await source.clocks(draft.tables.map(({ table }) => table)));
    const clocks = await putClocks(deps.store, { ...place, run: draft.run }, known.clocks);
    // What the clocks know of has to be in the history.
    unwrap(await source.landed(known.head));
    if ((await options.mapVersion()) !== draft.mapVersion)
      throw new LakeSyncError("Conflict", "Rows moved between shards while the checkpoint was made; make it again.");
    await checkDigests(deps, place, draft);
    const manifest = { ...manifestOf(draft, source.shard, seq, old, deps.clock.now(), options.graceMs), clocks };
    await putJson(deps.store, manifestKey(place), manifest);
    await removeOld(deps, place, manifest);
    return summaryOf("written", manifest);
  });
}

async function readDraft(deps: CheckpointDeps, source: CheckpointSource, mapVersion: number) {
  const found = await deps.store.get(draftKey(source));
  if (!found.ok) return undefined;
  const draft = JSON.parse(new TextDecoder().decode(found.value)) as Draft;
  const fresh = runStartMs(draft.run) + CHECKPOINT_DRAFT_MS > deps.clock.now() && draft.mapVersion === mapVersion;
  if (draft.tables.some(({ read, coldFrom }) => [read, coldFrom].includes(undefined))) return undefined; // of an older version
  return fresh && unwrap(await source.remembers(draft.from)) ? draft : undefined;
}

const NONE = String(new TableDigest());

const newDraft = (deps: CheckpointDeps, start: CheckpointStart, mapVersion: number): Draft => ({
  run: newRun(deps.clock.now(), attemptName(deps)),
  from: start.head,
  mapVersion,
  tables: start.tables.map(({ schema, indexed, cold = NONE }) => ({
    table: schema.table,
    indexed,
    chunks: [],
    late: [],
    runs: {},
    read: String(new TableDigest()),
    coldFrom: cold,
  })),
  at: { table: 0, after: "" },
});

/**
 * Nothing is known of the former states of rows that changed, nor of rows that left or came back meanwhile: their tables are checked
 * when they are restored.
 */
async function checkDigests(deps: CheckpointDeps, place: CheckpointPlace, { tables }: Draft): Promise<void> {
  const wrong = tables.find(
    ({ late, read = NONE, digest, coldFrom, cold = NONE }) =>
      late.length === 0 && coldFrom === cold && digest !== String(TableDigest.sum([read, cold])),
  );
  if (!wrong) return;
  unwrap(await deps.store.delete([draftKey(place)]));
  throw new LakeSyncError(
    "Corrupt",
    `The rows of ${wrong.table} are not what the shard's digest says of them; see admin/verify. The last checkpoint stays.`,
    { table: wrong.table },
  );
}

function isDue(
  old: CheckpointManifest | undefined,
  start: CheckpointStart,
  mapVersion: number,
  nowMs: number,
): boolean {
  if (!old || old.mapVersion !== mapVersion)
    return start.head >= CHECKPOINT_HEAD_MIN || (start.head > 0 && start.tables.some(({ schema }) => schema.hot));
  const changes = start.head - old.seq;
  const rows = old.tables.reduce((sum, table) => sum + table.rows, 0);
  if (changes >= Math.max(CHECKPOINT_CHANGES, rows * CHECKPOINT_CHANGED_RATIO)) return true;
  if (changes > 0 && old.atMs + CHECKPOINT_AGE_MS <= nowMs) return true;
  return start.tables.some(({ schema, indexed }) => {
    const held = old.tables.find((table) => table.table === schema.table);
    return held && indexed.some((id) => !held.indexes.some((index) => index.columnId === id));
  });
}

/** What is being put together of one table. */
interface Open {
  readonly table: DraftTable;
  readonly source: CheckpointTable;
  readonly late: boolean;
  builder: ChunkBuilder;
  /** Of the table's rows so far. */
  readonly sum: TableDigest;
  nameOf(column: number): string | undefined;
}

class Writer {
  readonly #deps: CheckpointDeps;
  readonly #source: CheckpointSource;
  readonly #start: CheckpointStart;
  readonly #draft: Draft;
  readonly #options: CheckpointOptions;
  readonly #place: RunPlace;
  /** By table and column. */
  readonly #runs = new Map<string, { table: DraftTable; columnId: number; run: IndexRun }>();

  constructor(
    deps: CheckpointDeps,
    source: CheckpointSource,
    start: CheckpointStart,
    draft: Draft,
    options: CheckpointOptions,
  ) {
    this.#deps = deps;
    this.#source = source;
    this.#start = start;
    this.#draft = draft;
    this.#options = options;
    this.#place = { gatewayId: source.gatewayId, shard: source.shard, run: draft.run };
  }

  /** @returns false when there is more than one call reads */
  async rows(): Promise<boolean> {
    const { at, tables } = this.#draft;
    let left = this.#options.jobRows ?? CHECKPOINT_JOB_ROWS;
    for (; at.table < tables.length; at.table++, at.after = "") {
      const open = this.#open(at.table, false);
      if (!open) continue;
      let next: string | undefined = at.after;
      let reading = this.#source.rows(open.table.table, at.after);
      while (next !== undefined) {
        const page = unwrap(await reading);
        next = page.next;
        left -= page.rows.length;
        const last = next === undefined || left <= 0;
        // The shard reads the next page while this one is worked on.
        if (!last && next !== undefined) {
          reading = this.#source.rows(open.table.table, next);
          reading.catch(() => undefined); // told where it is awaited
        }
        await this.#take(open, page.rows);
        if (last) await this.#close(open);
        if (next !== undefined && left <= 0) {
          at.after = next;
          await this.#writeRuns();
          return false;
        }
      }
      await this.#writeRuns();
    }
    return true;
  }

  /** @returns the seq at which everything now stands */
  async late(): Promise<Seq> {
    const names = this.#draft.tables.map((table) => table.table);
    const open = new Map<string, Open>();
    for (let since = this.#draft.from; ; ) {
      const { changed, to, head, digests, cold } = unwrap(await this.#source.changes(names, since));
      for (const { table, rows } of changed) {
        const at = names.indexOf(table);
        const one = open.get(table) ?? this.#open(at, true);
        if (!one) continue;
        open.set(table, one);
        await this.#take(one, rows);
      }
      since = to;
      if (to < head) continue;
      for (const one of open.values()) await this.#close(one);
      await this.#writeRuns();
      for (const table of this.#draft.tables) {
        table.digest = digests[table.table] ?? NONE;
        const { runs = [], digest = NONE } = cold[table.table] ?? {};
        table.cold = digest;
        if (runs.length > 0) table.coldRuns = await putColdRuns(this.#deps.store, this.#place, runs);
      }
      return to;
    }
  }

  /** Undefined for a table that is gone. */
  #open(at: number, late: boolean): Open | undefined {
    const table = this.#draft.tables[at];
    const source = this.#start.tables.find(({ schema }) => schema.table === table?.table);
    if (!table || !source) return undefined;
    const sum = TableDigest.parse(table.read ?? "") ?? new TableDigest();
    return { table, source, late, builder: this.#builder(source, late), sum, nameOf: columnNames(source.schema) };
  }

  #builder({ schema }: CheckpointTable, late: boolean): ChunkBuilder {
    // What has left is older: that a row is dead by now has to be told.
    return new ChunkBuilder(schema, late || schema.hot !== undefined, this.#options.chunkChars ?? CHUNK_CHARS);
  }

  async #take(open: Open, rows: readonly PackedRow[]): Promise<void> {
    for (const packed of rows) {
      const row = open.builder.add(packed);
      if (row && !open.late) open.sum.add(rowDigest(packed.id, row.state, open.nameOf));
      if (row) for (const id of open.table.indexed) this.#index(open, id, cellOf(row.state, id), packed.id);
      if (open.builder.full) await this.#close(open);
    }
  }

  #index({ table, source }: Open, columnId: number, value: ReturnType<typeof cellOf>, id: string): void {
    const column = source.schema.columns.find((c) => c.id === columnId);
    if (value === null || value === undefined || !column) return;
    const name = `${table.table}.${columnId}`;
    const held = this.#runs.get(name) ?? { table, columnId, run: new IndexRun(column.type) };
    this.#runs.set(name, held);
    held.run.add(value, id);
  }

  /** Writes what an open table has collected. */
  async #close(open: Open): Promise<void> {
    if (!open.builder.empty)
      open.table[open.late ? "late" : "chunks"].push(
        await putChunk(this.#deps.store, this.#place, open.builder.build()),
      );
    open.table.read = String(open.sum);
    open.builder = this.#builder(open.source, open.late);
    const chars = [...this.#runs.values()].reduce((sum, { run }) => sum + run.chars, 0);
    if (chars >= INDEX_RUN_CHARS) await this.#writeRuns();
  }

  async #writeRuns(): Promise<void> {
    for (const { table, columnId, run } of this.#runs.values()) {
      const names = table.runs[columnId] ?? [];
      table.runs[columnId] = names;
      names.push(await putIndexRun(this.#deps.store, this.#place, run));
    }
    this.#runs.clear();
  }
}

function manifestOf(
  draft: Draft,
  shard: string,
  seq: Seq,
  old: CheckpointManifest | undefined,
  nowMs: number,
  graceMs = CHECKPOINT_GRACE_MS,
): CheckpointManifest {
  const previous = (old?.previous ?? []).filter(({ untilMs }) => untilMs > nowMs);
  if (old) previous.push({ run: old.run, untilMs: nowMs + graceMs });
  return {
    format: 2,
    shard,
    seq,
    mapVersion: draft.mapVersion,
    atMs: nowMs,
    run: draft.run,
    tables: draft.tables.map(({ table, indexed, chunks, late, runs, digest, coldRuns }) => ({
      table,
      ...(coldRuns !== undefined && { cold: coldRuns }),
      ...(digest !== undefined && { digest }),
      rows: chunks.reduce((sum, chunk) => sum + chunk.rows, 0),
      chunks,
      late,
      indexes: indexed.map((columnId) => ({ columnId, runs: runs[columnId] ?? [] })),
    })),
    previous,
  };
}

function summaryOf(state: CheckpointSummary["state"], manifest: CheckpointManifest | undefined): CheckpointSummary {
  const chunks = manifest?.tables.flatMap((table) => [...table.chunks, ...table.late]) ?? [];
  return {
    state,
    seq: manifest?.seq ?? 0,
    rows: manifest?.tables.reduce((sum, table) => sum + table.rows, 0) ?? 0,
    bytes: chunks.reduce((sum, chunk) => sum + chunk.bytes, 0),
    chunks: chunks.length,
  };
}

/** Removes what belongs to no run that is in force, kept, or under way, and the draft of the run that has just ended. */
async function removeOld(deps: CheckpointDeps, place: CheckpointPlace, manifest: CheckpointManifest): Promise<void> {
  const kept = new Set([manifest.run, ...manifest.previous.map(({ run }) => run)]);
  const underWay = deps.clock.now() - CHECKPOINT_DRAFT_MS;
  unwrap(await deps.store.delete([draftKey(place)]));
  for await (const objects of objectsIn(deps.store, place)) {
    const old = objects.flatMap(({ run, key }) => (!kept.has(run) && runStartMs(run) < underWay ? [key] : []));
    if (old.length > 0) unwrap(await deps.store.delete(old));
  }
}

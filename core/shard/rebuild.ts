/**
 * A shard that lost its storage, put together again from what the lake holds (L7), in steps that may be days apart:
 *
 *   lost    the tenant knows that it told this shard its configuration, and the shard has none: it answers nobody any more
 *   begin   everything here goes; until the end nobody reads or writes
 *   rows    of a checkpoint: as they were at its seq, seqs included
 *   edits   of the history, in the order of seqs. Those that the lake's rows do not have yet (a flush was killed between history and
 *           rows) go into the log again under their own seqs, and the next flush goes on where that one broke off
 *   end     seqs go on far above all that the lost shard can have given out; cursors from before have expired
 *
 * Each step and the note of how far it came are one transaction. A step that does not begin where the last one ended is
 * refused: two callers cannot mix.
 */
import {
  type ClientId,
  cellsAt,
  clientOf,
  type HlcText,
  LakeSyncError,
  makeStamp,
  NO_STAMP,
  type Scalar,
  type Seq,
  type Stamp,
  stampClient,
  stampHlc,
  type TableSchema,
} from "../../schemas/index.ts";
import { rowDigest, TableDigest } from "../digest.ts";
import { applyCells, isAlive } from "../merge.ts";
import type { HistoryBatch, SqlStore } from "../ports/index.ts";
import { decidingColumns } from "../sync-rules.ts";
import { forgetCold } from "./cold.ts";
import { rowHash, type ShardConfig } from "./config.ts";
import { addRows, columnNames, writeDigests } from "./digests.ts";
import { appendLog, type LogEntry } from "./log.ts";
import { type MovedClock, noteMovedClocks } from "./moved.ts";
import { type PackedRow, readMeta, readRows, writeMeta, writeRows } from "./store.ts";
import { flushedVersion, type IdCells, newRow, packRow, type StoredRow, unpackRow } from "./stored-row.ts";
import { cellsOf } from "./write-rules.ts";

/** Edits that the lost shard took after its last flush have seqs of which nobody knows; there are fewer than this. */
export const SEQS_APART = 1_000_000_000;

export interface RebuildState {
  /** Where the next step begins: the caller's own words. */
  readonly at: string;
  readonly startedMs: number;
  readonly rows: number;
  readonly edits: number;
  /** Greatest seq so far. */
  readonly top: number;
  /** Digests by table number. */
  readonly digests: Readonly<Record<string, string>>;
  /** Likewise, of tables that had edits after their last flush, as of that flush. */
  readonly landed: Readonly<Record<string, string>>;
}

/** From where to where a step goes. */
export interface RebuildStep {
  readonly at: string;
  readonly next: string;
}

export interface RebuildContext {
  readonly sql: SqlStore;
  readonly config: ShardConfig;
  tableNumber(name: string): number;
}

const KEY = "rebuild";

export const readRebuild = (sql: SqlStore): RebuildState | undefined => {
  const text = readMeta(sql, KEY);
  return text === undefined ? undefined : (JSON.parse(text) as RebuildState);
};

/** Cursors at or below this are of an incarnation that was lost. */
export const readFloor = (sql: SqlStore): number => Number(readMeta(sql, "floor") ?? 0);

export const rebuildStatus = ({ at, startedMs, rows, edits }: RebuildState) => ({
  startedMs,
  rows,
  edits,
  ...(at === LOST && { lost: true }),
});

/** Where a rebuild stands that nobody has begun: the tenant knows a shard that knows nothing of itself. */
export const LOST = "";

/** Out of service until it is rebuilt: devices would take what is not there for deleted. */
export function declareLost(sql: SqlStore, nowMs: number): void {
  noted(sql, { at: LOST, startedMs: nowMs, rows: 0, edits: 0, top: 0, digests: {}, landed: {} });
}

/** Empties the shard; its configuration stays. @param top seqs that are known to have been given out */
export function beginRebuild(sql: SqlStore, at: string, nowMs: number, top: number): RebuildState {
  for (const table of ["rows", "log", "lists", "moved", "clients"]) sql.exec(`DELETE FROM ${table}`);
  forgetCold(sql);
  for (const key of ["lease", "flushed", "head", "flushError"]) writeMeta(sql, key, undefined);
  const state = { at, startedMs: nowMs, rows: 0, edits: 0, top, digests: {}, landed: {} };
  writeMeta(sql, KEY, JSON.stringify(state));
  return state;
}

/** Where a rebuild stands that a step may go on with. @throws LakeSyncError `Conflict` */
export function opened(sql: SqlStore, at: string): RebuildState {
  const state = readRebuild(sql);
  if (state?.at === at) return state;
  throw new LakeSyncError(
    "Conflict",
    "The rebuild has come further than this step, or is over, or the shard has lost its storage again; ask once more.",
  );
}

const digestIn = (digests: RebuildState["digests"], t: number): TableDigest =>
  TableDigest.parse(digests[t] ?? "") ?? new TableDigest();

/** A checkpoint's rows do not tell of edits that lost everywhere: their clients' clocks do. */
export function rebuildClocks(sql: SqlStore, at: string, t: number, clocks: readonly MovedClock[]): void {
  opened(sql, at);
  noteMovedClocks(sql, t, clocks);
}

/** Rows as a checkpoint has them; those that came before with the same id are replaced. */
export function rebuildRows(
  { sql, config, tableNumber }: RebuildContext,
  { at, next }: RebuildStep,
  table: TableSchema,
  rows: readonly PackedRow[],
): RebuildState {
  const state = opened(sql, at);
  const t = tableNumber(table.table);
  const own = rows.filter(({ id }) => isOwn(config, table, id));
  const digest = digestIn(state.digests, t);
  const nameOf = columnNames(table);
  const clocks = new Clocks();
  let { top } = state;
  const there = readRows(
    sql,
    t,
    own.map(({ id }) => id),
  );
  addRows(digest, there, nameOf, "remove");
  addRows(digest, own, nameOf);
  for (const { seq, state: packed } of own) {
    const { inserted, deleted, layers } = unpackRow(seq, packed).state;
    for (const stamp of [inserted, deleted, ...layers.map((layer) => layer.stamp)]) clocks.note(stamp);
    top = Math.max(top, seq);
  }
  writeRows(sql, t, own);
  clocks.write(sql);
  return noted(sql, {
    ...state,
    at: next,
    rows: state.rows + own.length,
    top,
    digests: { ...state.digests, [t]: String(digest) },
  });
}

/**
 * Edits of a table in the order of their seqs.
 * @param watermark how far the lake has the rows of this shard's edits; absent for edits of a shard that handed its rows over
 */
export function rebuildEdits(
  { sql, config, tableNumber }: RebuildContext,
  { at, next }: RebuildStep,
  table: TableSchema,
  { seqs, receivedMs, batch }: HistoryBatch,
  watermark: number = Number.POSITIVE_INFINITY,
): RebuildState {
  const state = opened(sql, at);
  const t = tableNumber(table.table);
  const replay = new Replay(config, table, digestIn(state.digests, t));
  replay.load(readRows(sql, t, [...new Set(batch.rowIds)]));
  const clocks = new Clocks();
  const late = new LogRuns(sql, t);
  let landed: string | undefined = state.landed[t];
  let { top } = state;
  const columnIds = new Map(table.columns.map((c) => [c.name, c.id]));
  batch.rowIds.forEach((id, k) => {
    if (!isOwn(config, table, id)) return;
    const seq = seqs[k] as number;
    const client = clientOf(batch, k);
    const hlc = batch.hlcs[k] as HlcText;
    const letter = batch.ops[k] as LogEntry["letter"];
    const columns: number[] = [];
    const values: Scalar[] = [];
    for (const [name, value] of Object.entries(cellsAt(batch, k))) {
      const columnId = columnIds.get(name);
      if (columnId === undefined) continue;
      columns.push(columnId);
      values.push(value);
    }
    const cells: IdCells = { columns, values };
    if (seq > watermark) {
      landed ??= String(replay.digest);
      late.add({ letter, rowId: id, hlc, cells }, seq, client, receivedMs[k] as number);
    } else clocks.note(makeStamp(hlc, client));
    replay.apply(id, letter, makeStamp(hlc, client), cells, seq, watermark);
    top = Math.max(top, seq);
  });
  writeRows(sql, t, replay.changed());
  late.write();
  clocks.write(sql);
  return noted(sql, {
    ...state,
    at: next,
    edits: state.edits + batch.rowIds.length,
    top,
    digests: { ...state.digests, [t]: String(replay.digest) },
    landed: landed === undefined ? state.landed : { ...state.landed, [t]: landed },
  });
}

/** The shard is in service again. */
export function endRebuild(sql: SqlStore, at: string): void {
  const { top, digests } = opened(sql, at);
  const head = top + SEQS_APART;
  const [log] = sql.exec<{ first: number | null }>("SELECT min(first) AS first FROM log");
  const flushed = (log?.first ?? head + 1) - 1;
  for (const [key, value] of Object.entries({ head, flushed, floor: head })) writeMeta(sql, key, String(value));
  const byNumber = Object.keys(digests).map((t) => [Number(t), digestIn(digests, Number(t))] as const);
  writeDigests(sql, new Map(byNumber), head);
  writeMeta(sql, KEY, undefined);
}

const isOwn = ({ owns }: ShardConfig, { table }: TableSchema, rowId: string): boolean => {
  const slice = Object.hasOwn(owns, table) ? owns[table] : undefined;
  return slice !== undefined && (slice.of === 1 || rowHash(rowId) % slice.of === slice.index);
};

function noted(sql: SqlStore, state: RebuildState): RebuildState {
  writeMeta(sql, KEY, JSON.stringify(state));
  return state;
}

/** Edits on rows, as a push makes them, with nobody to judge. */
class Replay {
  readonly digest: TableDigest;
  readonly #rows = new Map<string, StoredRow>();
  readonly #changed = new Set<string>();
  readonly #nameOf: ReturnType<typeof columnNames>;
  readonly #decides: readonly number[];

  constructor({ rules }: ShardConfig, table: TableSchema, digest: TableDigest) {
    this.digest = digest;
    this.#nameOf = columnNames(table);
    this.#decides = decidingColumns(rules, table).decides;
  }

  load(rows: readonly PackedRow[]): void {
    for (const { id, seq, state } of rows) this.#rows.set(id, unpackRow(seq, state));
  }

  apply(id: string, letter: LogEntry["letter"], stamp: Stamp, cells: IdCells, seq: number, watermark: number): void {
    const row = this.#rows.get(id) ?? newRow();
    this.#rows.set(id, row);
    const alive = isAlive(row.state);
    const deciding = cellsOf(row.state, this.#decides);
    const inLake = flushedVersion(row, watermark as Seq);
    const was = rowDigest(id, row.state, this.#nameOf);
    if (!applyCells(row.state, letter, stamp, cells, seq)) return;
    this.digest.remove(was);
    this.digest.add(rowDigest(id, row.state, this.#nameOf));
    row.seq = Math.max(row.seq, seq);
    const dead = !isAlive(row.state);
    row.flushedSeq = seq > watermark ? inLake : dead ? 0 : row.seq;
    const { grave: former, ...rest } = row;
    const grave = dead ? (alive ? deciding : former) : undefined;
    this.#rows.set(id, grave ? { ...rest, grave } : rest);
    this.#changed.add(id);
  }

  *changed(): Generator<PackedRow> {
    for (const id of this.#changed) {
      const row = this.#rows.get(id) as StoredRow;
      yield { id, seq: row.seq, state: packRow(row) };
    }
  }
}

/** The newest clock of each client, so that an edit that comes again is known (PU2): what the log would know is gone. */
class Clocks {
  readonly #newest = new Map<ClientId, HlcText>();

  note(stamp: Stamp): void {
    if (stamp === NO_STAMP) return;
    const [client, hlc] = [stampClient(stamp), stampHlc(stamp)];
    if (hlc > (this.#newest.get(client) ?? "")) this.#newest.set(client, hlc);
  }

  write(sql: SqlStore): void {
    sql.exec(
      `INSERT INTO clients (client, sub, trimmed) SELECT value ->> 0, '', value ->> 1 FROM json_each(?) WHERE true
       ON CONFLICT (client) DO UPDATE SET trimmed = max(trimmed, excluded.trimmed)`,
      JSON.stringify([...this.#newest]),
    );
  }
}

/** Log rows, each of one client's edits with seqs behind each other. */
class LogRuns {
  readonly #sql: SqlStore;
  readonly #t: number;
  #run:
    | { readonly entries: LogEntry[]; readonly first: number; readonly client: ClientId; readonly at: number }
    | undefined;

  constructor(sql: SqlStore, t: number) {
    this.#sql = sql;
    this.#t = t;
  }

  add(entry: LogEntry, seq: number, client: ClientId, at: number): void {
    const run = this.#run;
    if (run?.client === client && run.at === at && run.first + run.entries.length === seq) {
      run.entries.push(entry);
      return;
    }
    this.write();
    this.#run = { entries: [entry], first: seq, client, at };
  }

  write(): void {
    const run = this.#run;
    this.#run = undefined;
    if (run) appendLog(this.#sql, this.#t, run.client, run.first, run.entries, run.at, null);
  }
}

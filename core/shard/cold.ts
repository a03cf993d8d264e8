/**
 * Rows that have left the shard (decision 0052). A run is what left together: files of rows in the object store, sorted by id,
 * and here their directory and a filter of their ids. A row is where it was put last: in `rows`, or else in the newest run that
 * has it. What stands in older runs counts for nothing.
 *
 *   leave   begin -> pages of rows that nobody touched for long -> a run is written -> it is noted, its rows go -> end
 *   thaw    an edit names a row that may have left: whoever carries the push reads it from its run, and it is here again
 *   merge   runs behind each other are written as one, which takes their place (cold-merge.ts); their files stay for a while
 *
 *   cold        n, t, run, filter      a run, in the order in which they came
 *   meta.cold   { left, digests, old }
 *               no row above `left` has left; digests of the rows that are away, by table number; `old` runs, and until when
 *               somebody may read them
 *   meta.ages   [[seq, ms], ...]       everything up to seq was here at ms
 */
import {
  compareCodePoints,
  HOT_GRACE_MS,
  LakeSyncError,
  READ_AHEAD_CHARS,
  type TableSchema,
} from "../../schemas/index.ts";
import type { ChunkInfo, TableCheckpoint } from "../checkpoint/manifest.ts";
import { rowDigest, TableDigest } from "../digest.ts";
import type { SqlRow, SqlStore } from "../ports/index.ts";
import type { CheckpointRows } from "./checkpoint.ts";
import { lookFor } from "./cold-filter.ts";
import { runsToMerge } from "./cold-merge.ts";
import { columnNames } from "./digests.ts";
import type { Aside } from "./log.ts";
import { type PackedRow, readMeta, readRows, writeMeta, writeRows } from "./store.ts";
import { packRow, unpackRow } from "./stored-row.ts";

/** A file of rows that left. */
export interface ColdChunk extends ChunkInfo {
  /** Its first row's id. */
  readonly first: string;
}

export interface ColdRun {
  /** Folder of its files. */
  readonly name: string;
  /** Id of its last row. */
  readonly last: string;
  /** In the order of ids; never empty. */
  readonly chunks: readonly ColdChunk[];
  /** As a checkpoint has them, of the rows in these chunks. */
  readonly indexes: TableCheckpoint["indexes"];
  /** Its rows, dead ones too; absent in runs from before they were merged. */
  readonly rows?: number;
}

/** A run with the filter of its ids. */
export interface FilteredRun {
  readonly run: ColdRun;
  readonly filter: Uint8Array;
}

/** A row that may have left, and where it can be: newest first. */
export interface ColdAsk {
  readonly id: string;
  readonly places: readonly { readonly run: string; readonly chunk: ColdChunk }[];
}

interface Held extends FilteredRun {
  readonly n: number;
}

interface Leaving {
  readonly token: string;
  readonly t: number;
  readonly boundary: number;
}

/** Seqs are above which whoever pulls may not have a row: such a one is sent whole. Every cursor is below. */
const NOT_TOLD = Number.MAX_SAFE_INTEGER;
const PAGE_ROWS = 1000;
/** Each may have a megabyte. */
const ROWS_AT_ONCE = 64;
/** Moments that are remembered within a window. */
const AGES = 64;

export class ColdRows {
  readonly #sql: SqlStore;
  /** Newest first. */
  #runs = new Map<number, Held[]>();
  #digests = new Map<number, TableDigest>();
  #leaving: Leaving | undefined;
  /** Ids that a filter took for ones of its run; for as long as no row leaves. */
  #absent = new Set<string>();
  /** Runs that others have taken the place of, and when nobody reads them any more. */
  #old: Record<string, number> = {};
  /** No row above this seq has left. */
  left = 0;
  /** Grows when rows leave: what was read of runs before is out of date. */
  version = 0;

  constructor(sql: SqlStore) {
    this.#sql = sql;
  }

  /** State from disk. */
  restore(): void {
    const { left, digests, old = {} } = JSON.parse(readMeta(this.#sql, "cold") ?? '{ "left": 0, "digests": {} }');
    this.left = left;
    this.#old = old;
    this.#digests = new Map();
    for (const [t, text] of Object.entries(digests as Record<string, string>))
      this.#digests.set(Number(t), TableDigest.parse(text) ?? new TableDigest());
    this.#runs = new Map();
    for (const { n } of this.#sql.exec<{ n: number }>("SELECT n FROM cold ORDER BY n DESC"))
      for (const row of this.#sql.exec<{ t: number; run: string; filter: Uint8Array }>(
        "SELECT t, run, filter FROM cold WHERE n = ?",
        n,
      ))
        this.#hold(row.t, { n, run: JSON.parse(row.run) as ColdRun, filter: new Uint8Array(row.filter) });
    this.version++;
    this.#absent = new Set();
    this.#leaving = undefined;
  }

  #hold(t: number, held: Held): void {
    const runs = [...(this.#runs.get(t) ?? []), held];
    this.#runs.set(
      t,
      runs.sort((a, b) => b.n - a.n),
    );
  }

  /** Of a table, oldest first. */
  runs(t: number): ColdRun[] {
    return (this.#runs.get(t) ?? []).map(({ run }) => run).reverse();
  }

  /** Of the rows that are away. */
  digest(t: number): TableDigest {
    return this.#digests.get(t) ?? new TableDigest();
  }

  #save(): void {
    const digests = Object.fromEntries([...this.#digests].map(([t, digest]) => [t, String(digest)]));
    writeMeta(this.#sql, "cold", JSON.stringify({ left: this.left, digests, old: this.#old }));
  }

  /** Which of these rows have to be looked for before they are edited. */
  asks(t: number, ids: Iterable<string>): ColdAsk[] {
    const runs = this.#runs.get(t);
    if (!runs) return [];
    const asks = new Map<string, ColdAsk>();
    for (const id of ids) {
      if (asks.has(id) || this.#absent.has(`${t}:${id}`)) continue;
      const isIn = lookFor(id);
      let places: ColdAsk["places"] | undefined;
      for (const { run, filter } of runs) {
        const chunk = isIn(filter) ? chunkFor(run, id) : undefined;
        if (chunk) places = [...(places ?? []), { run: run.name, chunk }];
      }
      if (places) asks.set(id, { id, places });
    }
    for (const id of this.#here(t, [...asks.keys()])) asks.delete(id);
    return [...asks.values()];
  }

  #here(t: number, ids: readonly string[]): string[] {
    if (ids.length === 0) return [];
    return this.#sql
      .exec<{ id: string }>(
        "SELECT r.id AS id FROM json_each(?2) AS k CROSS JOIN rows AS r WHERE r.t = ?1 AND r.id = k.value",
        t,
        JSON.stringify(ids),
      )
      .map(({ id }) => id);
  }

  /**
   * Rows come back, as they were. The caller holds the transaction.
   * @param version at which they were asked for: of another one nothing is believed
   * @param asked ids that were looked for in all their places
   */
  thaw(t: number, table: TableSchema, version: number, asked: readonly string[], rows: readonly PackedRow[]): void {
    if (version !== this.version) return;
    const here = new Set(this.#here(t, asked));
    const found = new Set(rows.map(({ id }) => id));
    for (const id of asked) if (!found.has(id)) this.#absent.add(`${t}:${id}`);
    const back = rows.filter(({ id }) => !here.has(id));
    if (back.length === 0) return;
    const digest = this.digest(t).copy();
    const nameOf = columnNames(table);
    const thawed = back.map(({ id, seq, state: text }): PackedRow => {
      const row = unpackRow(seq, text);
      digest.remove(rowDigest(id, row.state, nameOf));
      return { id, seq, state: packRow({ ...row, state: { ...row.state, insertedSeq: NOT_TOLD } }) };
    });
    writeRows(this.#sql, t, thawed);
    this.#digests.set(t, digest);
    this.#save();
  }

  /** Everything up to a seq was here at a moment. */
  noteAge(seq: number, ms: number, windowMs: number): void {
    const ages = this.#ages();
    const [before, last] = [ages.at(-2), ages.at(-1)];
    if (last && before && last[1] - before[1] < windowMs / AGES) ages.pop();
    ages.push([seq, ms]);
    const old = ages.findLastIndex(([, at]) => at <= ms - windowMs);
    writeMeta(this.#sql, "ages", JSON.stringify(ages.slice(Math.max(0, old))));
  }

  #ages(): [number, number][] {
    return JSON.parse(readMeta(this.#sql, "ages") ?? "[]") as [number, number][];
  }

  /**
   * Begins to let rows go; whoever has begun before and is not done is turned away from then on.
   * @param edits that have become too old, below which it is not worth it
   */
  begin(t: number, token: string, windowMs: number, nowMs: number, edits: number): boolean {
    const boundary = this.#ages().findLast(([, at]) => at <= nowMs - windowMs)?.[0] ?? 0;
    if (boundary <= this.left || boundary - this.left < edits) return false;
    this.#leaving = { token, t, boundary };
    return true;
  }

  #of(token: string): Leaving {
    if (this.#leaving?.token === token) return this.#leaving;
    throw new LakeSyncError("LeaseLost", "The shard has begun anew, or another has begun, to let rows go.");
  }

  /** A page of rows that are to leave, in the order of ids. What no destination took stays. */
  page(token: string, after: string, maxChars: number, aside: Aside): CheckpointRows {
    const { t, boundary } = this.#of(token);
    const kept = aside.get(t) ?? [];
    const rows: PackedRow[] = [];
    let chars = 0;
    for (let last = after; ; ) {
      // As many as the rows so far let expect to fit; the first are taken to be large.
      const mean = rows.length === 0 ? READ_AHEAD_CHARS / 32 : chars / rows.length;
      const limit = Math.max(1, Math.min(PAGE_ROWS, Math.floor((maxChars - chars) / mean)));
      const some = this.#sql.exec<PackedRow & SqlRow>(
        "SELECT id, seq, state FROM rows WHERE t = ? AND id > ? AND seq <= ? ORDER BY id LIMIT ?",
        ...[t, last, boundary, limit],
      );
      for (const row of some) {
        if (kept.some(({ first, last: end }) => row.seq >= first && row.seq <= end)) continue;
        rows.push(row);
        chars += row.id.length + row.state.length;
      }
      if (some.length < limit) return { rows };
      last = (some.at(-1) as PackedRow).id;
      if (chars >= maxChars) return { rows, next: last };
    }
  }

  /**
   * A run is written: its rows go, but for those that have changed since they were read. The caller holds the transaction.
   * @param rows id and seq of each row in the run
   * @returns how many went
   */
  leave(
    table: TableSchema,
    token: string,
    run: ColdRun,
    filter: Uint8Array,
    rows: readonly (readonly [string, number])[],
  ): number {
    const { t, boundary } = this.#of(token);
    const nameOf = columnNames(table);
    const digest = this.digest(t).copy();
    let gone = 0;
    for (let at = 0; at < rows.length; at += ROWS_AT_ONCE) {
      const seqs = new Map(rows.slice(at, at + ROWS_AT_ONCE));
      const same = readRows(this.#sql, t, [...seqs.keys()]).filter(({ id, seq }) => seqs.get(id) === seq);
      for (const { id, seq, state } of same) digest.add(rowDigest(id, unpackRow(seq, state).state, nameOf));
      const ids = JSON.stringify(same.map(({ id }) => id));
      this.#sql.exec("DELETE FROM rows WHERE t = ? AND id IN (SELECT value FROM json_each(?))", t, ids);
      gone += same.length;
    }
    const [top] = this.#sql.exec<{ n: number | null }>("SELECT max(n) AS n FROM cold");
    this.#note(t, { n: (top?.n ?? 0) + 1, run, filter });
    this.#digests.set(t, digest);
    this.left = boundary;
    this.version++;
    this.#absent = new Set();
    this.#save();
    return gone;
  }

  #note(t: number, held: Held): void {
    const { n, run, filter } = held;
    this.#sql.exec("INSERT INTO cold (n, t, run, filter) VALUES (?, ?, ?, ?)", n, t, JSON.stringify(run), filter);
    this.#hold(t, held);
  }

  /** Runs that are better one, oldest first. */
  toMerge(t: number): ColdRun[] | undefined {
    const runs = this.runs(t);
    const range = runsToMerge(
      runs.map(({ rows, chunks }) => rows ?? chunks.reduce((sum, chunk) => sum + chunk.rows, 0)),
    );
    return range && runs.slice(...range);
  }

  /**
   * Runs take the place of others, of which they have each row as the newest of them has it. What rows are, where they are asked for and
   * what is absent stays as it is. The caller holds the transaction.
   * @param from names of runs behind each other, oldest first @param into without a row in common
   * @returns false where those are not there any more, or not behind each other
   */
  merge(t: number, from: readonly string[], into: readonly FilteredRun[], nowMs: number): boolean {
    const runs = (this.#runs.get(t) ?? []).toReversed();
    const at = runs.findIndex(({ run }) => run.name === from[0]);
    const gone = runs.slice(Math.max(0, at), at + from.length);
    if (at < 0 || gone.some(({ run }, k) => run.name !== from[k]) || gone.length < Math.max(from.length, into.length))
      return false;
    const kept = Object.entries(this.#old).filter(([, untilMs]) => untilMs > nowMs);
    this.#old = Object.fromEntries([...kept, ...from.map((name) => [name, nowMs + HOT_GRACE_MS])]);
    this.#runs.set(
      t,
      (this.#runs.get(t) ?? []).filter((held) => !gone.includes(held)),
    );
    for (const { n } of gone) this.#sql.exec("DELETE FROM cold WHERE n = ?", n);
    for (const [k, each] of into.entries()) this.#note(t, { ...each, n: (gone[k] as Held).n });
    this.#save();
    return true;
  }

  /** Names of all runs that are read, or were until a while ago. */
  known(nowMs: number): string[] {
    const inForce = [...this.#runs.values()].flatMap((runs) => runs.map(({ run }) => run.name));
    return [...inForce, ...Object.entries(this.#old).flatMap(([name, untilMs]) => (untilMs > nowMs ? [name] : []))];
  }

  /** All have left that were to. @returns the seq up to which nobody needs to be told of changes any more */
  end(token: string): number {
    const { boundary } = this.#of(token);
    this.left = boundary;
    this.#save();
    this.#leaving = undefined;
    return boundary;
  }
}

/** The chunk that has a row, if the run has it. */
function chunkFor({ chunks, last }: ColdRun, id: string): ColdChunk | undefined {
  if (compareCodePoints(id, last) > 0) return undefined;
  let [low, high] = [0, chunks.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareCodePoints((chunks[middle] as ColdChunk).first, id) <= 0) low = middle + 1;
    else high = middle;
  }
  return chunks[low - 1];
}

export function forgetCold(sql: SqlStore): void {
  sql.exec("DELETE FROM cold");
  for (const key of ["cold", "ages"]) writeMeta(sql, key, undefined);
}

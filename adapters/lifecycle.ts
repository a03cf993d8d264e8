/**
 * Rows that change in a hot tier, rows that nobody touched for a while in a cold one; one table to whoever reads.
 *
 *   flush          -> hot, which is given back first what it let go and needs again (tier-flush.ts)
 *   migrateToTier  hot rows older than maxAgeMs -> cold, read back there, then evicted from hot
 *   read           hot, then cold: a row or a tombstone in hot hides whatever cold has of that row
 *
 *   a row is         in hot       in cold
 *   fresh            live         -
 *   being moved      live         the same       copied, not evicted yet
 *   aged             -            live
 *   changed again    live         the same
 *   deleted          tombstone    -              the tombstone stays as long as hot remembers such
 *
 * Killed between any two steps, hot knows better than cold, and reads say so; what cold has too much is put right when the
 * row moves, or at the next move for the dead. Hot is read before cold and evicted after cold was written, so that a row on
 * its way is seen in either. History stays in hot. One gateway flushes into a table with tiers: what another knew of an
 * aged row would be missing in hot.
 */
import type {
  DatabaseAdapter,
  DeltasSinceQuery,
  FlushBatch,
  FlushReceipt,
  HistoryBatch,
  LatestStateQuery,
  RowBatch,
  RowVersions,
  ShardProgress,
} from "../core/index.ts";
import {
  attempt,
  compareCodePoints,
  LakeSyncError,
  ok,
  packHlc,
  type Result,
  type Seq,
  type Stamp,
  stampHlc,
  type TableSchema,
  TIER_ROWS,
  unwrap,
} from "../schemas/index.ts";
import { type Composed, closeAll, evictable, isTier, tierSource, within } from "./composed.ts";
import { type Row, rowBatchOf, rowsIn, sameRow } from "./rows.ts";
import { flushToTiers } from "./tier-flush.ts";
import { align, evict, handOver, markOf, rowsOf, type Tiers, wasDeleted } from "./tiers.ts";

type Answer<T> = Promise<Result<T, LakeSyncError>>;

export interface LifecycleOptions {
  readonly hot: {
    readonly adapter: DatabaseAdapter;
    /** A row whose newest edit is older than this moves. Milliseconds. */
    readonly maxAgeMs: number;
  };
  readonly cold: { readonly adapter: DatabaseAdapter };
}

export interface TierMove {
  readonly table: string;
  /** Rows that are in cold now, and not in hot any more. */
  readonly moved: number;
  /** Rows that were due and stay, since they changed meanwhile, or somebody else moves them. */
  readonly kept: number;
}

export class LifecycleAdapter implements Composed {
  readonly #tiers: Omit<Tiers, "source">;
  readonly #maxAgeMs: number;
  readonly evictRows?: NonNullable<DatabaseAdapter["evictRows"]>;

  /** @throws `Misconfigured` for a hot tier that cannot let rows go, or an age that is none */
  constructor({ hot, cold }: LifecycleOptions) {
    if (!evictable([hot.adapter]))
      throw new LakeSyncError(
        "Misconfigured",
        "The hot tier cannot let rows go; take Postgres or MySQL (or those composed) for hot, and a lake or warehouse for cold.",
      );
    if (!(hot.maxAgeMs >= 0))
      throw new LakeSyncError("Misconfigured", `hot.maxAgeMs is ${hot.maxAgeMs}; give milliseconds, such as 30 days.`);
    this.#tiers = { hot: hot.adapter, cold: cold.adapter };
    this.#maxAgeMs = hot.maxAgeMs;
    if (evictable([cold.adapter])) this.evictRows = (rows) => attempt(() => this.#evict(rows));
  }

  /** A row that is in hot goes only when cold has nothing that would then show. */
  async #evict({ table, rowIds, stamps, seqs }: RowVersions): Promise<readonly string[]> {
    const { hot, cold } = this.#tiers;
    await align(this.#tiersOf(table), table, rowIds);
    const asked = rowIds.map((id, at) => ({ id, stamp: stamps[at] as Stamp, seq: seqs[at] as Seq }));
    const inCold = await rowsOf(cold, table, rowIds, true);
    const copies = asked.flatMap(({ id, stamp, seq }) => {
      const copy = inCold.get(id);
      return copy && (seq > 0 || (copy.stamp === stamp && copy.seq === -seq)) ? [copy] : [];
    });
    const goneCold = await evict(cold, table, copies);
    const free = asked.filter(({ id, seq }) => seq > 0 && (!inCold.has(id) || goneCold.has(id)));
    const goneHot = await evict(hot, table, free);
    return asked.flatMap(({ id, seq }) => ((seq > 0 ? goneHot : goneCold).has(id) ? [id] : []));
  }

  /** The tiers, and under which name they hand each other a table's rows: those within have lower numbers. */
  #tiersOf(table: TableSchema): Tiers {
    const parts = this.partsFor().flatMap((tier) => [...within(tier, table)]);
    return { ...this.#tiers, source: tierSource(parts.filter((part) => part instanceof LifecycleAdapter).length) };
  }

  partsFor(): readonly DatabaseAdapter[] {
    return [this.#tiers.hot, this.#tiers.cold];
  }

  async ensureSchema(table: TableSchema): Answer<void> {
    const ready = await this.#tiers.hot.ensureSchema(table);
    return ready.ok ? this.#tiers.cold.ensureSchema(table) : ready;
  }

  /** A flush that names rows which were flushed before asks both tiers of them; others are hot's alone. */
  insertDeltas(batch: FlushBatch): Answer<FlushReceipt> {
    return attempt(() => flushToTiers(this.#tiersOf(batch.table), batch));
  }

  queryDeltasSince(query: DeltasSinceQuery): Answer<HistoryBatch> {
    return this.#tiers.hot.queryDeltasSince(query);
  }

  async progress(table: TableSchema): Answer<readonly ShardProgress[]> {
    const progress = await this.#tiers.hot.progress(table);
    return progress.ok ? ok(progress.value.filter(({ shard }) => !isTier(shard))) : progress;
  }

  getLatestState(query: LatestStateQuery): Answer<RowBatch> {
    return attempt(async () => {
      const { table, limit, tombstones = false } = query;
      const found: Row[] = [];
      for (let after = query.after; found.length < limit; ) {
        const { rows, next } = await this.#page({ ...query, ...(after !== undefined && { after }) });
        found.push(...rows.filter(({ deleted }) => tombstones || !deleted));
        if (next === undefined) break;
        after = next;
      }
      return rowBatchOf(table, found.slice(0, limit));
    });
  }

  /** A page of both tiers, up to where both were read. @returns `next` when there may be more after it */
  async #page({ changedBefore: _, ...query }: LatestStateQuery): Promise<{ rows: Row[]; next?: string }> {
    const { limit } = query;
    const hot = unwrap(await this.#tiers.hot.getLatestState({ ...query, tombstones: true }));
    const cold = unwrap(await this.#tiers.cold.getLatestState(query));
    const ends = [hot, cold].flatMap(({ rowIds }) => (rowIds.length < limit ? [] : [rowIds.at(-1) as string]));
    const next = ends.reduce<string | undefined>(
      (least, end) => (least === undefined || compareCodePoints(end, least) < 0 ? end : least),
      undefined,
    );
    const rows = new Map<string, Row>();
    // A seq in cold is the tier's own: below 0, so that nobody takes it for the shard's, and evictRows knows it again.
    for (const row of rowsIn(cold)) rows.set(row.id, { ...row, seq: Math.min(0, -row.seq) as Seq });
    for (const row of rowsIn(hot)) if (!row.deleted || wasDeleted(row)) rows.set(row.id, row);
    const reached = [...rows.values()].filter(({ id }) => next === undefined || compareCodePoints(id, next) <= 0);
    reached.sort((a, b) => compareCodePoints(a.id, b.id));
    return { rows: reached, ...(next !== undefined && { next }) };
  }

  /**
   * Moves the rows of a table whose newest edit is older than `maxAgeMs`, and no others. Stopped anywhere, the next call
   * goes on; two at once do no harm.
   * @param nowMs milliseconds since 1970
   * @param signal ends it between two pages
   */
  migrateToTier(table: TableSchema, nowMs: number, signal?: AbortSignal): Answer<TierMove> {
    return attempt(async () => {
      unwrap(await this.ensureSchema(table));
      const tiers = this.#tiersOf(table);
      const before = packHlc(Math.max(0, nowMs - this.#maxAgeMs), 0);
      let [moved, kept] = [0, 0];
      for (let after: string | undefined; ; ) {
        // Before the rows are looked at: whoever moves some of them meanwhile moves the mark.
        const mark = await markOf(tiers.cold, table, tiers.source);
        const page = await tiers.hot.getLatestState({
          ...{ table, limit: TIER_ROWS, tombstones: true, changedBefore: before },
          ...(after !== undefined && { after }),
        });
        const rows = [...rowsIn(unwrap(page))];
        const due = rows.filter(({ stamp, deleted }) => !deleted && stampHlc(stamp) < before);
        const count = due.length > 0 ? await move(tiers, table, mark, due) : 0;
        const dead = rows.filter(({ deleted }) => deleted).map(({ id }) => id);
        if (dead.length > 0) await align(tiers, table, dead);
        moved += count;
        kept += due.length - count;
        after = rows.at(-1)?.id;
        if (rows.length < TIER_ROWS || signal?.aborted) return { table: table.table, moved, kept };
      }
    });
  }

  close(): Promise<void> {
    return closeAll(this.partsFor());
  }
}

/** @returns how many are in cold now, and not in hot */
async function move(tiers: Tiers, table: TableSchema, mark: Seq, due: readonly Row[]): Promise<number> {
  const { hot, cold, source } = tiers;
  const ids = due.map(({ id }) => id);
  await handOver(cold, table, source, mark, due);
  const inCold = await rowsOf(cold, table, ids);
  const safe = due.filter((row) => {
    const copy = inCold.get(row.id);
    return copy !== undefined && sameRow(row, copy);
  });
  const gone = await evict(hot, table, safe);
  if (gone.size < due.length)
    await align(
      tiers,
      table,
      ids.filter((id) => !gone.has(id)),
    );
  return gone.size;
}

/** A `LifecycleAdapter`, or what stands for one in another process. */
const ages = (part: DatabaseAdapter): part is DatabaseAdapter & Pick<LifecycleAdapter, "migrateToTier"> =>
  "migrateToTier" in part;

export interface TierMigration {
  readonly tables: readonly TableSchema[];
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** Ends it between two pages; the next call goes on. */
  readonly signal?: AbortSignal;
}

/** Moves what is due in every `LifecycleAdapter` within an adapter. Run by Cron. */
export async function migrateToTier(
  adapter: DatabaseAdapter,
  { tables, nowMs, signal }: TierMigration,
): Promise<Result<readonly TierMove[], LakeSyncError>> {
  return attempt(async () => {
    const moves: TierMove[] = [];
    for (const table of tables)
      for (const part of within(adapter, table))
        if (ages(part) && !signal?.aborted) moves.push(unwrap(await part.migrateToTier(table, nowMs, signal)));
    return moves;
  });
}

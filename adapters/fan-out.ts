/**
 * One table in several backends: a flush is done when the primary has it; each secondary follows at its own pace.
 *
 *   flush      -> primary -> acknowledged, the shard trims its log
 *   catchUp()  primary's history and rows after a secondary's own watermark -> secondary
 *
 * Where a secondary stands is written in the secondary, with its data: there is no queue that could be lost, overflow or
 * run out of step, and one that was down for days goes on where it was. Who calls `catchUp` (after flushes, on Cron) only
 * decides how soon. A secondary that fails holds up neither the primary nor the others (F2).
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
import { attempt, type LakeSyncError, ok, type Result, type Seq, type TableSchema, unwrap } from "../schemas/index.ts";
import { type Composed, closeAll, evictable, isTier, watermarkIn, within } from "./composed.ts";
import { replay } from "./replay.ts";

type Answer<T> = Promise<Result<T, LakeSyncError>>;

export interface FanOutOptions {
  /** Acknowledges flushes, and answers reads. */
  readonly primary: DatabaseAdapter;
  readonly secondaries: readonly DatabaseAdapter[];
}

/** How far a secondary is behind with one shard of a table. */
export interface Lag {
  /** Place in the list of secondaries. */
  readonly secondary: number;
  readonly table: string;
  readonly shard: string;
  /** Numbers of the shard between the two watermarks; not all of them need be edits of this table. */
  readonly seqs: number;
  /** When the shard took the oldest edit that is missing, milliseconds since 1970; absent when none of this table is. */
  readonly oldestMs?: number;
}

/** How one secondary's catching up of one table ended. */
export interface CatchUp {
  readonly secondary: number;
  readonly table: string;
  readonly edits: number;
  /** It is behind still, for this reason. */
  readonly error?: LakeSyncError;
}

export interface CatchUpOptions {
  readonly signal?: AbortSignal;
}

export class FanOutAdapter implements Composed {
  readonly #primary: DatabaseAdapter;
  readonly #secondaries: readonly DatabaseAdapter[];
  readonly evictRows?: NonNullable<DatabaseAdapter["evictRows"]>;

  constructor({ primary, secondaries }: FanOutOptions) {
    this.#primary = primary;
    this.#secondaries = secondaries;
    if (evictable([primary])) this.evictRows = (rows) => this.#evict(primary, rows);
  }

  /** A secondary that is behind still needs the rows. */
  async #evict(primary: DatabaseAdapter, rows: RowVersions): Answer<readonly string[]> {
    const lags = await this.lag(rows.table);
    if (!lags.ok) return lags;
    if (lags.value.some(({ seqs }) => seqs > 0)) return ok([]);
    return (await primary.evictRows?.(rows)) ?? ok([]);
  }

  partsFor(): readonly DatabaseAdapter[] {
    return [this.#primary, ...this.#secondaries];
  }

  ensureSchema(table: TableSchema): Answer<void> {
    return this.#primary.ensureSchema(table);
  }

  insertDeltas(batch: FlushBatch): Answer<FlushReceipt> {
    return this.#primary.insertDeltas(batch);
  }

  queryDeltasSince(query: DeltasSinceQuery): Answer<HistoryBatch> {
    return this.#primary.queryDeltasSince(query);
  }

  getLatestState(query: LatestStateQuery): Answer<RowBatch> {
    return this.#primary.getLatestState(query);
  }

  progress(table: TableSchema): Answer<readonly ShardProgress[]> {
    return this.#primary.progress(table);
  }

  /** Brings every secondary to where the primary is with a table. Never fails as a whole: each says how it ended. */
  async catchUp(table: TableSchema, { signal }: CatchUpOptions = {}): Promise<readonly CatchUp[]> {
    return Promise.all(
      this.#secondaries.map(async (to, secondary) => {
        let edits = 0;
        const done = await attempt(async () => {
          for (const { source, after } of await this.#behind(to, table)) {
            unwrap(await to.ensureSchema(table));
            const steps = replay({ from: this.#primary, to, table, source, after, signal });
            for await (const step of steps) edits += step.edits;
          }
        });
        return { secondary, table: table.table, edits, ...(!done.ok && { error: done.error }) };
      }),
    );
  }

  /** How far each secondary is behind, shard by shard; nothing of those that are not. */
  lag(table: TableSchema): Answer<readonly Lag[]> {
    return attempt(async () => {
      const lags = await Promise.all(
        this.#secondaries.map(async (to, secondary) => {
          const behind = await this.#behind(to, table);
          return Promise.all(behind.map(({ source, after }) => this.#lagOf(table, secondary, source, after)));
        }),
      );
      return lags.flat();
    });
  }

  async #lagOf(table: TableSchema, secondary: number, source: ShardProgress, afterSeq: Seq): Promise<Lag> {
    const { shard, gatewayId, watermark } = source;
    const query = { table, shard, afterSeq, limit: 1, ...(gatewayId !== undefined && { gatewayId }) };
    const [oldestMs] = unwrap(await this.#primary.queryDeltasSince(query)).receivedMs;
    const seqs = watermark - afterSeq;
    return { secondary, table: table.table, shard, seqs, ...(oldestMs !== undefined && { oldestMs }) };
  }

  async #behind(to: DatabaseAdapter, table: TableSchema) {
    const held = unwrap(await to.progress(table));
    return unwrap(await this.#primary.progress(table)).flatMap((source) => {
      const after = watermarkIn(held, source);
      return after < source.watermark && !isTier(source.shard) ? [{ source, after }] : [];
    });
  }

  close(): Promise<void> {
    return closeAll(this.partsFor());
  }
}

/** A `FanOutAdapter`, or what stands for one in another process. */
const follows = (part: DatabaseAdapter): part is DatabaseAdapter & Pick<FanOutAdapter, "catchUp"> => "catchUp" in part;

/** Brings the secondaries of every `FanOutAdapter` within an adapter to where their primaries are. */
export async function catchUp(
  adapter: DatabaseAdapter,
  { tables, signal }: { readonly tables: readonly TableSchema[]; readonly signal?: AbortSignal },
): Promise<readonly CatchUp[]> {
  const reports: CatchUp[] = [];
  for (const table of tables)
    for (const part of within(adapter, table))
      if (follows(part)) reports.push(...(await part.catchUp(table, signal ? { signal } : {})));
  return reports;
}

/**
 * Flush, the consumer's half: lease a range of a shard's log, hand it table by table to the destination, say how it ended.
 *
 *   lease -> for each table: destination takes (from, to] -> settle: the shard trims its log, or keeps the lease
 *
 * A consumer may be killed anywhere. What the destination has it recognises when the range comes again, since the range of
 * a lease never changes (F1); what nobody acknowledged is still in the log (F2).
 */
import {
  FLUSH_ATTEMPTS_MAX,
  FLUSH_LEASE_MS,
  isLakeSyncError,
  type LakeSyncError,
  type Result,
  type Seq,
  type TableSchema,
  unwrap,
} from "../schemas/index.ts";
import type { Clock, DatabaseAdapter, FlushBatch } from "./ports/index.ts";
import type { FlushFailure, FlushPage, Lease, TableResult } from "./shard/flush.ts";
import { type HistoryText, historyOf, type RowsText, rowsOf } from "./shard/flush-pages.ts";

type Answer<T> = Promise<Result<T, LakeSyncError>>;

/** A shard, as a consumer sees it: a Durable Object's stub, or an engine in the same process. */
export interface FlushSource {
  readonly gatewayId: string;
  readonly shard: string;
  lease(
    token: string,
    atOnce: boolean,
  ): Answer<{ readonly lease: Lease; readonly tables: readonly TableSchema[] } | "empty" | "busy">;
  renew(token: string): Answer<void>;
  flushRows(token: string, table: string, after: Seq): Answer<FlushPage<RowsText>>;
  flushHistory(token: string, table: string, after: Seq): Answer<FlushPage<readonly HistoryText[]>>;
  settle(token: string, results: readonly TableResult[]): Answer<"trimmed" | "again">;
}

export interface FlushDeps {
  readonly source: FlushSource;
  readonly destination: Pick<DatabaseAdapter, "ensureSchema" | "insertDeltas">;
  readonly clock: Clock;
  /** Names this attempt; never used twice. */
  readonly token: string;
  /** Whether a flush that rests is tried, too: an operator asks for it. */
  readonly atOnce?: boolean;
  /** Called between any two steps; a test makes it throw to kill the consumer there. */
  fault?(point: ConsumerFault): Promise<void>;
}

export const CONSUMER_FAULTS = [
  "consumer: after the lease",
  "consumer: after a page",
  "consumer: between tables",
  "consumer: before settling",
  "consumer: after settling",
] as const;
export type ConsumerFault = (typeof CONSUMER_FAULTS)[number];

export interface FlushSummary {
  /** "busy": another consumer is at work. "failed": `errors` says what; the shard keeps what is not flushed. */
  readonly state: "empty" | "busy" | "flushed" | "failed";
  readonly rows: number;
  readonly deltas: number;
  /** Highest seq that the destination now holds; absent when nothing was flushed. */
  readonly watermark?: number;
  readonly errors: readonly string[];
}

/** Flushes everything that was in a shard's log when called. Throws a LakeSyncError when the shard cannot be reached. */
export async function flushOnce(deps: FlushDeps): Promise<FlushSummary> {
  const { source, token, atOnce = false } = deps;
  const leased = unwrap(await source.lease(token, atOnce));
  if (leased === "empty" || leased === "busy") return { state: leased, rows: 0, deltas: 0, errors: [] };
  await deps.fault?.("consumer: after the lease");
  const { lease, tables } = leased;
  const results: TableResult[] = [];
  let rows = 0;
  let deltas = 0;
  for (const table of tables) {
    const outcome = await flushTable(deps, table, lease);
    results.push({ table: table.table, ...(outcome.error && { error: outcome.error }) });
    rows += outcome.rows;
    deltas += outcome.deltas;
    await deps.fault?.("consumer: between tables");
  }
  await deps.fault?.("consumer: before settling");
  unwrap(await source.settle(token, results));
  await deps.fault?.("consumer: after settling");
  const errors = results.flatMap(({ table, error }) => (error ? [`${table}: ${error.message}`] : []));
  const state = errors.length > 0 ? "failed" : "flushed";
  return { state, rows, deltas, ...(state === "flushed" && { watermark: lease.to }), errors };
}

interface Outcome {
  readonly rows: number;
  readonly deltas: number;
  readonly error?: FlushFailure;
}

/**
 * What may pass is tried again, and so is what a person has to mend at the destination, more seldom; what will not pass, and has been
 * tried often enough, is set aside with its reason (F3).
 */
async function flushTable(deps: FlushDeps, table: TableSchema, lease: Lease): Promise<Outcome> {
  const ready = await deps.destination.ensureSchema(table);
  const written = ready.ok ? await deps.destination.insertDeltas(flushBatch(deps, table, lease)) : ready;
  if (written.ok) return written.value;
  const { error } = written;
  if (error.code === "LeaseLost") throw error; // another consumer has taken over; it will say how it ended
  const rests = error.details.needs === "operator" || error.code === "Misconfigured";
  const lasting = !rests && (!error.retryable || error.code === "Internal"); // a bug of ours does not go away by itself
  const hopeless = lasting && (lease.failures?.[table.table] ?? 0) + 1 >= FLUSH_ATTEMPTS_MAX;
  return { rows: 0, deltas: 0, error: { message: `${error.code}: ${error.message}`, hopeless, lasting, rests } };
}

function flushBatch(deps: FlushDeps, table: TableSchema, lease: Lease): FlushBatch {
  const { source, clock, token } = deps;
  let renewedMs = clock.now();
  async function* pages<T>(fetch: (after: Seq) => Answer<FlushPage<T>>): AsyncGenerator<T> {
    for (let after: Seq | undefined = lease.from; after !== undefined; ) {
      if (clock.now() - renewedMs > FLUSH_LEASE_MS / 4) {
        unwrap(await source.renew(token));
        renewedMs = clock.now();
      }
      const { page, next }: FlushPage<T> = unwrap(await fetch(after));
      yield page;
      await deps.fault?.("consumer: after a page");
      after = next;
    }
  }
  return {
    gatewayId: source.gatewayId,
    shard: source.shard,
    table,
    fromSeq: lease.from,
    toSeq: lease.to,
    toMs: lease.toMs,
    digest: lease.digests?.[table.table],
    async *rows() {
      for await (const page of pages((after) => source.flushRows(token, table.table, after))) yield rowsOf(table, page);
    },
    async *history() {
      for await (const page of pages((after) => source.flushHistory(token, table.table, after)))
        for (const text of page) yield historyOf(table, text);
    },
  };
}

/** An error that a consumer met, as a summary: for callers that have to go on. */
export function failedFlush(thrown: unknown): FlushSummary {
  const message = isLakeSyncError(thrown) ? `${thrown.code}: ${thrown.message}` : String(thrown);
  return { state: "failed", rows: 0, deltas: 0, errors: [message] };
}

/**
 * Flush, the consumer's half: lease a range of a shard's log, hand it table by table to the destination, say how it ended.
 * Messages are hints (decision 12): one for a shard with nothing to do, or that another consumer is at work on, is done.
 */
import type { FlushBatch, FlushPage, HistoryBatch, Lease, RowBatch, TableResult } from "../core/index.ts";
import { call, type Env, type FlushMessage, type Plain } from "../durable-objects/index.ts";
import {
  FLUSH_ATTEMPTS_MAX,
  isLakeSyncError,
  LakeSyncError,
  type Seq,
  type TableSchema,
  unwrap,
} from "../schemas/index.ts";
import { destinationFor } from "./destination.ts";
import { log } from "./middleware/log.ts";

export interface FlushSummary {
  readonly state: "empty" | "busy" | "flushed" | "failed";
  readonly rows: number;
  readonly deltas: number;
  /** Highest seq that the destinations now hold; absent when nothing was flushed. */
  readonly watermark?: number;
  readonly errors: readonly string[];
}

/** Flushes everything that was in a shard's log when called. */
export async function flushShard(env: Env, { gatewayId, shard }: FlushMessage): Promise<FlushSummary> {
  const stub = env.SHARD.getByName(`${gatewayId}/${shard}`);
  const token = crypto.randomUUID();
  const leased = unwrap(await call("shard", stub.lease(token) as Promise<Plain<LeaseAnswer>>));
  if (leased === "empty" || leased === "busy") return { state: leased, rows: 0, deltas: 0, errors: [] };
  const { lease, tables } = leased;
  const results: TableResult[] = [];
  let rows = 0;
  let deltas = 0;
  for (const table of tables) {
    const batch = flushBatch(stub, gatewayId, shard, table, lease);
    const outcome = await attempt(env, batch, lease);
    if (outcome.error)
      log("error", { event: "flush", gatewayId, shard, table: table.table, attempt: lease.attempt, ...outcome.error });
    results.push({ table: table.table, ...(outcome.error && { error: outcome.error }) });
    rows += outcome.rows;
    deltas += outcome.deltas;
    unwrap(await call("shard", stub.renew(token)));
  }
  unwrap(await call("shard", stub.settle(token, results)));
  const errors = results.flatMap(({ table, error }) => (error ? [`${table}: ${error.message}`] : []));
  return { state: errors.length > 0 ? "failed" : "flushed", rows, deltas, watermark: lease.to, errors };
}

type LeaseAnswer = { lease: Lease; tables: readonly TableSchema[] } | "empty" | "busy";

interface Outcome {
  readonly rows: number;
  readonly deltas: number;
  readonly error?: { readonly message: string; readonly hopeless: boolean };
}

/** What may pass is tried again; what will not, or has not passed for long, is set aside with its reason (F3). */
async function attempt(env: Env, batch: FlushBatch, lease: Lease): Promise<Outcome> {
  try {
    const destination = destinationFor(env, batch.gatewayId);
    return unwrap(await destination.insertDeltas(batch));
  } catch (thrown) {
    if (isLakeSyncError(thrown) && thrown.code === "Conflict") throw thrown; // the lease is another's by now
    const error = isLakeSyncError(thrown)
      ? thrown
      : new LakeSyncError("Internal", String(thrown), {}, { cause: thrown });
    const hopeless = !error.retryable && lease.attempt >= FLUSH_ATTEMPTS_MAX;
    return { rows: 0, deltas: 0, error: { message: `${error.code}: ${error.message}`, hopeless } };
  }
}

type ShardStub = ReturnType<Env["SHARD"]["getByName"]>;

function flushBatch(stub: ShardStub, gatewayId: string, shard: string, table: TableSchema, lease: Lease): FlushBatch {
  async function* pages<T>(fetch: (after: Seq) => Promise<Plain<FlushPage<T>>>): AsyncGenerator<T> {
    for (let after: Seq | undefined = lease.from; after !== undefined; ) {
      const { page, next }: FlushPage<T> = unwrap(await call("shard", fetch(after)));
      yield page;
      after = next;
    }
  }
  return {
    gatewayId,
    shard,
    table,
    fromSeq: lease.from,
    toSeq: lease.to,
    toMs: lease.toMs,
    rows: () =>
      pages<RowBatch>(
        (after) => stub.flushRows(lease.token, table, after) as unknown as Promise<Plain<FlushPage<RowBatch>>>,
      ),
    async *history() {
      const all = pages<HistoryBatch[]>(
        (after) => stub.flushHistory(lease.token, table, after) as unknown as Promise<Plain<FlushPage<HistoryBatch[]>>>,
      );
      for await (const page of all) yield* page;
    },
  };
}

/** The Queue's consumer. A message whose flush failed comes again; the shard's alarm would repeat it anyway. */
export async function consume(batch: MessageBatch<FlushMessage>, env: Env): Promise<void> {
  const shards = new Map(batch.messages.map((m) => [`${m.body.gatewayId}/${m.body.shard}`, m.body]));
  for (const body of shards.values()) {
    const summary = await flushShard(env, body).catch((error: unknown) => ({
      state: "failed" as const,
      errors: [String(error)],
    }));
    if (summary.state === "failed") log("error", { event: "flush", ...body, ...summary });
    else if (summary.state !== "empty" && env.LOG_LEVEL !== "error")
      log("info", { event: "flush", ...body, ...summary });
  }
}

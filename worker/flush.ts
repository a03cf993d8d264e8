/** The flush queue's consumer. Messages are hints (decision 12): the truth is each shard's log, and its alarm repeats the hint. */
import {
  checkpointDuty,
  type DatabaseAdapter,
  type FlushDeps,
  type FlushSource,
  type FlushSummary,
  failedFlush,
  flushOnce,
  followDuty,
} from "../core/index.ts";
import { ask, type Env, type FlushMessage, Router } from "../durable-objects/index.ts";
import { err, LakeSyncError, type Result, type TableSchema, unwrap } from "../schemas/index.ts";
import { backendsIn } from "./backends.ts";
import { leaveHot } from "./checkpoint/leave.ts";
import { upkeepOf } from "./config.ts";
import { destinationFor } from "./destination.ts";
import { noteFlush, sendFor } from "./maintenance.ts";
import { log } from "./middleware/log.ts";

/** Flushes everything that was in a shard's log when called. @param atOnce also where a flush that failed rests */
export async function flushShard(env: Env, message: FlushMessage, atOnce = false): Promise<FlushSummary> {
  const written: TableSchema[] = [];
  const windows = new Set<string>();
  const destination = destinationFor(env, message.gatewayId);
  const summary = await flushOnce({
    source: sourceOf(env, message),
    destination: guarded(destination, written, windows),
    clock: { now: () => Date.now() },
    token: crypto.randomUUID(),
    atOnce,
  }).catch(failedFlush);
  await destination.close();
  if (summary.state === "flushed" && windows.size > 0) await letGo(env, message);
  const checkpoints = summary.state === "flushed" ? [checkpointDuty(message.shard)] : [];
  await noteFlush(env, message.gatewayId, [...written.flatMap((table) => dutiesAfter(env, table)), ...checkpoints]);
  return summary;
}

/** What a flush of a table makes due, now or after some more of them. */
function dutiesAfter(env: Env, table: TableSchema): string[] {
  const { lakeFirst, follows } = upkeepOf(backendsIn(env), table);
  return [...(lakeFirst ? [table.table] : []), ...(follows ? [followDuty(table.table)] : [])];
}

/** What has grown older than its table's window. What goes wrong here is made good after the next flush. */
async function letGo(env: Env, { gatewayId, shard }: FlushMessage): Promise<void> {
  try {
    const { version } = unwrap(await new Router(env).freshState(gatewayId));
    const { left, runs } = unwrap(await leaveHot(env, { gatewayId, shard, version }));
    if (left === 0) return;
    if (env.LOG_LEVEL !== "error") log("info", { event: "hot window", gatewayId, shard, left, runs });
    // The last checkpoint may be one from which nobody can go on.
    await sendFor(env, [{ gatewayId, duty: checkpointDuty(shard) }]);
  } catch (error) {
    log("error", { event: "hot window", gatewayId, shard, error: String(error) });
  }
}

/**
 * A bug in a destination is a failure of its batch, told and counted like any other (F3).
 * @param written takes the tables that something was written to
 * @param windows takes the names of tables with a hot window
 */
function guarded(adapter: DatabaseAdapter, written: TableSchema[], windows: Set<string>): FlushDeps["destination"] {
  const guard = async <T>(answer: Promise<Result<T, LakeSyncError>>): Promise<Result<T, LakeSyncError>> => {
    try {
      return await answer;
    } catch (cause) {
      log("error", { event: "flush", error: cause instanceof Error ? cause.stack : String(cause) });
      return err(new LakeSyncError("Internal", `The destination broke: ${cause}`, {}, { cause }));
    }
  };
  return {
    ensureSchema: (table) => guard(adapter.ensureSchema(table)),
    insertDeltas: async (batch) => {
      const receipt = await guard(adapter.insertDeltas(batch));
      const { table } = batch;
      if (table.hot) windows.add(table.table);
      if (receipt.ok && receipt.value.rows + receipt.value.deltas > 0) written.push(table);
      return receipt;
    },
  };
}

function sourceOf(env: Env, { gatewayId, shard }: FlushMessage): FlushSource {
  const stub = env.SHARD.getByName(`${gatewayId}/${shard}`);
  return {
    gatewayId,
    shard,
    lease: (token, atOnce) => ask("shard", stub.lease(token, atOnce)),
    renew: (token) => ask("shard", stub.renew(token)),
    flushRows: (token, table, after) => ask("shard", stub.flushRows(token, table, after)),
    flushHistory: (token, table, after) => ask("shard", stub.flushHistory(token, table, after)),
    settle: (token, results) => ask("shard", stub.settle(token, results)),
  };
}

export async function consume(messages: readonly FlushMessage[], env: Env): Promise<void> {
  const shards = new Map(messages.map((body) => [`${body.gatewayId}/${body.shard}`, body]));
  for (const body of shards.values()) {
    const summary = await flushShard(env, body);
    if (summary.state === "failed") log("error", { event: "flush", ...body, ...summary });
    else if (summary.state !== "empty" && env.LOG_LEVEL !== "error")
      log("info", { event: "flush", ...body, ...summary });
  }
}

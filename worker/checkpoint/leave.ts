/** Rows leave a shard whose table has a hot window (decision 0052): after a flush, and with each look at its checkpoint;
 * then what lies there of them is tended. */
import { ask, type Env, Router, type ShardAddress } from "../../durable-objects/index.ts";
import {
  type LeavingTable,
  type LeftSummary,
  leaveShard,
  type MergingTable,
  mergeRuns,
  sweepRuns,
} from "../../lake/index.ts";
import { type LakeSyncError, ok, type Result } from "../../schemas/index.ts";
import { lakeOf } from "../destination.ts";

export function leaveHot(env: Env, address: ShardAddress): Promise<Result<LeftSummary, LakeSyncError>> {
  const { gatewayId, shard } = address;
  const stub = new Router(env).shard(gatewayId, shard);
  return leaveShard(lakeOf(env, gatewayId), {
    gatewayId,
    shard,
    begin: (token) => ask<LeavingTable | undefined>("shard", stub.leaveBegin(address, token)),
    rows: (token, after) => ask("shard", stub.leavingRows(token, after)),
    leave: (...args) => ask("shard", stub.leave(...args)),
    end: (token) => ask("shard", stub.leaveEnd(token)),
  });
}

/** What is due of a shard with a hot window: rows leave, and runs of those that left before are merged. */
export async function tendHot(
  env: Env,
  address: ShardAddress,
): Promise<Result<{ readonly left: number; readonly merged: number }, LakeSyncError>> {
  const gone = await leaveHot(env, address);
  if (!gone.ok) return gone;
  const { gatewayId, shard } = address;
  const stub = new Router(env).shard(gatewayId, shard);
  const done = await mergeRuns(lakeOf(env, gatewayId), {
    gatewayId,
    shard,
    begin: () => ask<MergingTable | undefined>("shard", stub.mergeBegin(address)),
    merged: (...args) => ask("shard", stub.mergeRuns(...args)),
  });
  return done.ok ? ok({ left: gone.value.left, merged: done.value.merged }) : done;
}

/** @returns how many objects nobody needed any more */
export function sweepCold(env: Env, { gatewayId, shard }: ShardAddress): Promise<Result<number, LakeSyncError>> {
  const stub = new Router(env).shard(gatewayId, shard);
  return sweepRuns(lakeOf(env, gatewayId), { gatewayId, shard }, () => ask("shard", stub.knownRuns()));
}

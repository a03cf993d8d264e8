/** Rows leave a shard whose table has a hot window (decision 0052): after a flush, and with each look at its checkpoint. */
import { ask, type Env, Router, type ShardAddress } from "../../durable-objects/index.ts";
import { type LeavingTable, type LeftSummary, leaveShard } from "../../lake/index.ts";
import type { LakeSyncError, Result } from "../../schemas/index.ts";
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

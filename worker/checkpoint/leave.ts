/** Rows leave a shard whose table has a hot window (decision 0052): after a flush, and with each look at its checkpoint. */
import { ask, type Env, Router } from "../../durable-objects/index.ts";
import { type LeavingTable, type LeftSummary, leaveShard } from "../../lake/index.ts";
import { type LakeSyncError, type Result, unwrap } from "../../schemas/index.ts";
import { lakeOf } from "../destination.ts";

export async function leaveHot(
  env: Env,
  gatewayId: string,
  shard: string,
): Promise<Result<LeftSummary, LakeSyncError>> {
  const router = new Router(env);
  const { version } = unwrap(await router.freshState(gatewayId));
  const stub = router.shard(gatewayId, shard);
  return leaveShard(lakeOf(env, gatewayId), {
    gatewayId,
    shard,
    begin: (token) => ask<LeavingTable | undefined>("shard", stub.leaveBegin({ gatewayId, shard, version }, token)),
    rows: (token, after) => ask("shard", stub.leavingRows(token, after)),
    leave: (...args) => ask("shard", stub.leave(...args)),
    end: (token) => ask("shard", stub.leaveEnd(token)),
  });
}

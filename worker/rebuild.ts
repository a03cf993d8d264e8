/** A lost shard is rebuilt on an operator's word (L7), some seconds at a time. */
import { layoutOf, type RebuildState } from "../core/index.ts";
import { ask, type Env, Router } from "../durable-objects/index.ts";
import { type RebuildOptions, type RebuildReport, type RebuildTarget, rebuildShard } from "../lake/index.ts";
import { type LakeSyncError, type Result, unwrap } from "../schemas/index.ts";
import { destinationFor, lakeOf } from "./destination.ts";

/** How long one request goes on. Milliseconds. */
const REQUEST_MS = 20_000;

export type RebuildRequest = Pick<RebuildOptions, "force" | "noCheckpoint" | "unverified">;

/** @param now when called: a request goes on from part to part until its time is up */
export async function rebuildOne(
  env: Env,
  gatewayId: string,
  shard: string,
  { force = false, ...request }: RebuildRequest,
): Promise<Result<RebuildReport, LakeSyncError>> {
  const router = new Router(env);
  // A move of rows waits for a shard that is out of service: the layout stays as it is now.
  const { version, map, tables } = unwrap(await router.freshState(gatewayId));
  const options: RebuildOptions = {
    ...request,
    mapVersion: map.version,
    tables: tables.filter(({ table }) => layoutOf(map, table).includes(shard)),
  };
  const stub = router.shard(gatewayId, shard);
  const address = { gatewayId, shard, version };
  const target: RebuildTarget = {
    gatewayId,
    shard,
    begin: (at, top, anew) => ask<RebuildState>("shard", stub.rebuildBegin(address, at, top, anew)),
    clocks: (at, table, clocks) => ask("shard", stub.rebuildClocks(at, table, clocks)),
    rows: (step, table, rows) => ask("shard", stub.rebuildRows(step, table, rows)),
    edits: (step, table, edits, watermark) => ask("shard", stub.rebuildEdits(step, table, edits, watermark)),
    digests: (names) => ask("shard", stub.rebuiltDigests(names)),
    end: (at) => ask("shard", stub.rebuildEnd(address, at)),
  };
  const history = destinationFor(env, gatewayId);
  const deps = { store: lakeOf(env, gatewayId).store, history };
  const started = Date.now();
  try {
    let report = await rebuildShard(deps, target, { ...options, force });
    while (report.ok && report.value.state === "more" && Date.now() - started < REQUEST_MS)
      report = await rebuildShard(deps, target, options);
    return report;
  } finally {
    await history.close();
  }
}

/** Checkpoints are made by the maintenance queue's consumer, of one shard at a time, or on an operator's word. */
import { type CheckpointSource, layoutOf } from "../../core/index.ts";
import { ask, type Env, Router, type ShardAddress } from "../../durable-objects/index.ts";
import { type CheckpointSummary, writeCheckpoint } from "../../lake/index.ts";
import { err, LakeSyncError, ok, type Result, type Seq, unwrap } from "../../schemas/index.ts";
import { lakeOf } from "../destination.ts";
import { flushShard } from "../flush.ts";
import { sweepCold, tendHot } from "./leave.ts";

/** Flushes that a checkpoint waits for, while others may be under way. */
const FLUSHES_MAX = 30;
const FLUSH_WAIT_MS = 1000;

/** One go at a shard's checkpoint. @param asked make one however little has changed */
export async function checkpointShard(
  env: Env,
  gatewayId: string,
  shard: string,
  asked: boolean,
): Promise<Result<CheckpointSummary & { readonly left: number; readonly more: boolean }, LakeSyncError>> {
  const router = new Router(env);
  const { version, tables, map } = unwrap(await router.freshState(gatewayId));
  const windowed = tables.some(({ table, hot }) => hot && layoutOf(map, table).includes(shard));
  const address = { gatewayId, shard, version };
  const gone = windowed ? await tendHot(env, address) : ok({ left: 0 });
  if (!gone.ok) return gone;
  const source = sourceOf(env, router, address);
  const mapVersion = async () => unwrap(await router.freshState(gatewayId)).map.version;
  const written = await writeCheckpoint(lakeOf(env, gatewayId), source, { mapVersion, force: asked });
  if (!written.ok) return written;
  const removed = windowed && written.value.state === "written" ? await sweepCold(env, address) : ok(0);
  if (!removed.ok) return removed;
  return ok({ ...written.value, ...gone.value, removed: removed.value, more: written.value.state === "more" });
}

function sourceOf(env: Env, router: Router, address: ShardAddress): CheckpointSource {
  const { gatewayId, shard } = address;
  const stub = router.shard(gatewayId, shard);
  return {
    gatewayId,
    shard,
    start: () => ask("shard", stub.checkpointStart(address)),
    rows: (table, after) => ask("shard", stub.checkpointRows(table, after)),
    changes: (tables, since) => ask("shard", stub.checkpointChanges([...tables], since)),
    clocks: (tables) => ask("shard", stub.checkpointClocks([...tables])),
    remembers: (seq) => ask("shard", stub.remembers(seq)),
    landed: (seq) => landed(env, gatewayId, shard, seq, () => ask("shard", stub.progress())),
  };
}

async function landed(
  env: Env,
  gatewayId: string,
  shard: string,
  seq: Seq,
  progress: () => Promise<Result<{ readonly flushed: number }, LakeSyncError>>,
): Promise<Result<void, LakeSyncError>> {
  for (let round = 0; round < FLUSHES_MAX; round++) {
    const at = await progress();
    if (!at.ok) return at;
    if (at.value.flushed >= seq) return ok(undefined);
    const { state, errors } = await flushShard(env, { gatewayId, shard });
    if (state === "failed") return err(new LakeSyncError("DestinationUnavailable", `The flush failed: ${errors[0]}`));
    if (state === "busy") await new Promise((resolve) => setTimeout(resolve, FLUSH_WAIT_MS));
  }
  return err(new LakeSyncError("Unavailable", "The shard's flush takes long; the checkpoint is made another time."));
}

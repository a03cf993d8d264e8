/**
 * A device without data, or one that was away for too long, installs a checkpoint and pulls the rest (CK1, PL8).
 *
 *   plan      what the gateway offered, written down: whoever is killed goes on with the next chunk (CK2)
 *   download  a few chunks ahead, each checked against its checksum
 *   install   one transaction a chunk, with the count of those that are in
 *   end       the plan's cursor becomes the device's, and the pull goes on from there
 *
 * A chunk that is gone (a new checkpoint, new rules) ends the plan; another is asked for, and if that ends too the pull
 * does it all.
 */
import {
  bytesToHex,
  type ClientId,
  type DeltaBatch,
  decodeBatch,
  fromPlanes,
  isLakeSyncError,
  LakeSyncError,
  unwrap,
} from "../../schemas/index.ts";
import type { LocalDB } from "../db/local-db.ts";
import { DELTA_BATCH } from "../transport/codec.ts";
import type { Checkpoint, CheckpointChunk } from "../transport/port.ts";
import { decode } from "../transport/protobuf.ts";
import { through } from "../transport/through.ts";
import { applyBatch } from "./apply.ts";
import { receive } from "./device-clock.ts";
import { Sweep } from "./sweep.ts";

export interface Installation {
  /** What the gateway offers now. */
  offer(): Promise<Checkpoint | undefined>;
  chunk(name: string): Promise<Uint8Array>;
  /** Whether rows take the place of what is there; otherwise they are merged with it. */
  readonly replace: boolean;
  /** @param rows that the last chunk brought */
  progress(step: { readonly rows: number; readonly bytes: number; readonly total: number }, rows: number): void;
  /** Local edits go out between chunks: they do not wait for the end. */
  push(): Promise<void>;
}

const CHUNK = {
  batches: { no: 1, type: DELTA_BATCH, repeated: true },
  planes: { no: 2, type: "bool" },
} as const;

/** Chunks that are downloaded at once, ahead of the one that is being installed. */
const AHEAD = 4;
const PLANS_MAX = 2;
/** A chunk that will not come, however often it is asked for. */
const GONE: ReadonlySet<string> = new Set(["CursorExpired", "Forbidden", "NotFound", "Corrupt"]);

/**
 * @param first under way, or just offered
 * @returns whether the device now has a cursor; false when it has to pull from nothing
 */
export async function install(db: LocalDB, first: Checkpoint, host: Installation): Promise<boolean> {
  let plan: Checkpoint | undefined = first;
  for (let plans = 0; plan?.cursor && plans < PLANS_MAX; plans++) {
    await begin(db, plan);
    try {
      await follow(db, host, plan);
      return true;
    } catch (error) {
      // What may pass is tried again, and goes on where it was.
      if (!isLakeSyncError(error) || !GONE.has(error.code)) throw error;
    }
    await db.transaction((tx) => tx.setMeta("checkpoint", ""));
    plan = await host.offer();
  }
  await db.transaction((tx) => tx.setMeta("checkpoint", "off"));
  return false;
}

/** Writes a plan down, unless it is under way. */
async function begin(db: LocalDB, plan: Checkpoint): Promise<void> {
  await db.applyRemote(async (tx) => {
    if (await tx.getMeta("checkpoint")) return;
    await Sweep.begin(tx);
    await tx.setMeta("checkpoint", JSON.stringify(plan));
    await tx.setMeta("installed", "0");
  });
}

async function follow(db: LocalDB, host: Installation, { cursor, chunks, rows: total }: Checkpoint): Promise<void> {
  let at = Number((await db.transaction((tx) => tx.getMeta("installed"))) ?? 0);
  let rows = chunks.slice(0, at).reduce((sum, chunk) => sum + chunk.rows, 0);
  let bytes = 0;
  // Chunks are downloaded ahead as they come, and decoded one at a time: what is decoded takes many times the memory.
  const loading: Promise<Uint8Array>[] = [];
  let next = at;
  for (; at < chunks.length; at++) {
    while (next < chunks.length && loading.length <= AHEAD) {
      const load = host.chunk((chunks[next++] as CheckpointChunk).name);
      load.catch(() => undefined); // told where it is awaited
      loading.push(load);
    }
    const chunk = chunks[at] as CheckpointChunk;
    const zipped = (await loading.shift()) as Uint8Array;
    // What was damaged on the way comes whole the next time; what is damaged where it lies does not.
    const batches = (await decodeChunk(zipped, chunk)) ?? (await decodeChunk(await host.chunk(chunk.name), chunk));
    if (!batches)
      throw new LakeSyncError("Corrupt", `The chunk ${chunk.name} has another checksum than the gateway said.`);
    await db.applyRemote(async (tx) => {
      const sweep = await Sweep.resume(tx, host.replace);
      const applier = { tx, clientId: db.clientId, sweep };
      for (const batch of batches) await tx.fill(batch.table, () => applyBatch(applier, batch));
      await receive(
        tx,
        batches.flatMap((batch) => batch.hlcs),
      );
      await tx.setMeta("installed", String(at + 1));
    });
    const { length: came } = batches.flatMap(({ rowIds }) => rowIds);
    rows += chunk.rows || came;
    bytes += zipped.length;
    host.progress({ rows, bytes, total: Math.max(total, rows) }, came);
    await host.push();
  }
  await db.transaction(async (tx) => {
    await tx.setMeta("cursor", cursor);
    await tx.setMeta("checkpoint", "");
  });
}

/** @returns undefined when it is not what the gateway said */
async function decodeChunk(
  zipped: Uint8Array,
  { sha256: expected }: CheckpointChunk,
): Promise<DeltaBatch[] | undefined> {
  if (expected !== undefined && (await sha256Of(zipped)) !== expected) return undefined;
  const plain = await through(new DecompressionStream("gzip"), zipped).catch(() => undefined);
  if (!plain) return undefined;
  const { batches, planes } = decode(CHUNK, plain);
  return batches.map((batch) =>
    unwrap(decodeBatch(planes ? { ...batch, hlcs: fromPlanes(batch.hlcs) } : batch, "" as ClientId)),
  );
}

const sha256Of = async (bytes: Uint8Array): Promise<string> =>
  bytesToHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)));

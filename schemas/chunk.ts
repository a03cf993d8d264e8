/** Chunks of checkpoints, not yet compressed: batches as in a page. Several chunks behind each other are one. */
import type { DeltaBatch } from "./delta.ts";
import type { LakeSyncError } from "./errors.ts";
import { ChunkSchema } from "./gen/lakesync_pb.js";
import { decodeBatch, foldBatch, fromPlanes, toPlanes } from "./packed-batch.ts";
import { ok, type Result } from "./result.ts";
import { decodeMessage, encodeBinary } from "./wire.ts";

export function encodeChunk(batches: readonly DeltaBatch[]): Uint8Array {
  const some = batches.filter((batch) => batch.rowIds.length > 0);
  const folded = some.map((batch) => {
    const { hlcs, columns, ...packed } = foldBatch(batch);
    return { ...packed, columns: [...columns], hlcs: toPlanes(hlcs) };
  });
  return encodeBinary(ChunkSchema, { batches: folded, planes: true });
}

export function decodeChunk(bytes: Uint8Array): Result<DeltaBatch[], LakeSyncError> {
  const chunk = decodeMessage(ChunkSchema, bytes);
  if (!chunk.ok) return chunk;
  const { batches, planes } = chunk.value;
  const decoded: DeltaBatch[] = [];
  for (const packed of batches) {
    const batch = decodeBatch(planes ? { ...packed, hlcs: fromPlanes(packed.hlcs) } : packed);
    if (!batch.ok) return batch;
    decoded.push(batch.value);
  }
  return ok(decoded);
}

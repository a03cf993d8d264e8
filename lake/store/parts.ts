/** Streams of bytes cut anew: whole, or in parts as a multipart upload wants them. */

/** Bytes of R2 and S3 parts: at least this, and all equal but for the last (R2). */
export const PART_BYTES = 8 * 1024 * 1024;

export async function joinParts(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const part of parts) chunks.push(part);
  return concat(chunks);
}

/** The same bytes in parts of exactly `size`, but for the last. Holds one part. */
export async function* evenParts(parts: AsyncIterable<Uint8Array>, size = PART_BYTES): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of parts) {
    for (let at = 0; at < part.length; ) {
      const piece = part.subarray(at, at + size - bytes);
      held.push(piece);
      bytes += piece.length;
      at += piece.length;
      if (bytes < size) continue;
      yield concat(held);
      held = [];
      bytes = 0;
    }
  }
  if (bytes > 0) yield concat(held);
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

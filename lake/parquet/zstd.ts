/**
 * ZSTD pages, decompressed. fzstd runs everywhere; a platform's own decoder is some twenty times as fast (1.5 ms for a
 * million bytes of ids against 30), but workerd's throws for outputs of exactly 40,960 x 2^k bytes: what it refuses, fzstd
 * does.
 */
import { decompress } from "fzstd";

export type ZstdDecompress = (compressed: Uint8Array) => Uint8Array;

let native: ZstdDecompress | undefined;

/** @param decompress `zstdDecompressSync` of node:zlib, in workerd with nodejs_compat as in Node */
export function initZstd(decompress: ZstdDecompress): void {
  native = decompress;
}

/** @param length of the output, as the page header has it */
export function unzstd(compressed: Uint8Array, length: number): Uint8Array {
  if (native) {
    try {
      const output = native(compressed);
      if (output.length === length) return output;
    } catch {
      // Below; a frame that is really broken fails there too, and says so.
    }
  }
  return decompress(compressed, new Uint8Array(length));
}

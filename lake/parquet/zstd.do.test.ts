import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { initZstd, unzstd } from "./zstd.ts";

test("pages of every size are decompressed, also of those sizes that workerd's own decoder refuses", () => {
  const pages = [0, 1, 40_959, 40_960, 81_920, 163_840, 1_000_000].map((length) => new Uint8Array(length).fill(7));
  const used: number[] = [];
  const refused: number[] = [];
  initZstd((compressed) => {
    try {
      const output = zstdDecompressSync(compressed);
      used.push(output.length);
      return output;
    } catch (error) {
      refused.push(compressed.length);
      throw error;
    }
  });
  for (const page of pages) {
    const output = unzstd(zstdCompressSync(page), page.length);
    expect(new Uint8Array(output)).toEqual(page);
  }
  expect(used).toContain(1_000_000);
  expect(used.length + refused.length).toBe(pages.length);
});

/** What the lake needs of Node: the compiled Parquet writer, and a store in a folder. Not part of the Worker. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { zstdDecompressSync } from "node:zlib";
import { initParquet, initZstd } from "./parquet/index.ts";

export { FolderStore } from "./store/folder.ts";

/** Compiles parquet-wasm from the package and hands it to the writer; the reader gets Node's ZSTD. */
export function initParquetInNode(): void {
  const path = fileURLToPath(import.meta.resolve("parquet-wasm/esm/parquet_wasm_bg.wasm"));
  // The Workers types, which rule here, know no compiler; Node has one.
  const Compiled = WebAssembly.Module as unknown as new (bytes: Uint8Array) => WebAssembly.Module;
  initParquet(new Compiled(readFileSync(path)));
  initZstd(zstdDecompressSync);
}

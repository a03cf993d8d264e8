/**
 * The door to parquet-wasm. A Worker may not compile WebAssembly at run time, so the module comes in compiled: worker/
 * imports `parquet-wasm/esm/parquet_wasm_bg.wasm` and passes it here; Node has its own door (lake/node.ts).
 */
import { initSync, wasmMemory } from "parquet-wasm/esm";
import { invariant } from "../../schemas/index.ts";

let ready = false;

/** Makes `writeParquet` usable in this isolate. Called again, it does nothing. */
export function initParquet(module: WebAssembly.Module): void {
  if (ready) return;
  initSync({ module });
  ready = true;
}

/** Bytes of WebAssembly memory that the writer holds; it never shrinks, and counts against the isolate's 128 MB. */
export const parquetMemoryBytes = (): number => (ready ? (wasmMemory() as WebAssembly.Memory).buffer.byteLength : 0);

export const assertParquetReady = (): void => invariant(ready, "writeParquet before initParquet");

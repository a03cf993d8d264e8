import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/** An isolate's memory, which a Worker shares with everything else in it. Bytes. */
const ISOLATE_BYTES = 128 * 1024 * 1024;
/** V8 dies past this; with buffers and WebAssembly beside it the isolate still fits. Megabytes. */
const HEAP_MB = 64;

test("[F1] a flush of 200,000 rows, and of 50,000 updates of them, fits an isolate of 128 MB", () => {
  const script = fileURLToPath(import.meta.resolve("../testing/flush-200k.ts"));
  const flags = [`--max-old-space-size=${HEAP_MB}`, "--max-semi-space-size=2"];
  const output = execFileSync(process.execPath, [...flags, script], { encoding: "utf8" });
  const { peak, rows } = JSON.parse(output) as { peak: number; rows: number };
  expect(rows).toBe(50_000);
  expect(peak).toBeLessThan(ISOLATE_BYTES);
});

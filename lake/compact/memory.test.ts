import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/** An isolate's memory, which a Worker shares with everything else in it. Bytes. */
const ISOLATE_BYTES = 128 * 1024 * 1024;
/** V8 dies past this; with buffers and WebAssembly beside it the isolate still fits. Megabytes. */
const HEAP_MB = 64;
/** Files so small that these rows pass through every class and layer; LAKE_MEMORY_ROWS=3000000 has the same peak. */
const ROWS = Number(process.env.LAKE_MEMORY_ROWS ?? 500_000);
const TARGET_ROWS = ROWS / 10;

test("[L3] compaction of a table larger than memory fits an isolate of 128 MB, and ends in few files", () => {
  const script = fileURLToPath(import.meta.resolve("../testing/compact-rows.ts"));
  const flags = [`--max-old-space-size=${HEAP_MB}`, "--max-semi-space-size=2"];
  const output = execFileSync(process.execPath, [...flags, script, String(ROWS), String(TARGET_ROWS)], {
    encoding: "utf8",
  });
  const { before, after, files, peak, jobs } = JSON.parse(output);
  expect(jobs).toBeGreaterThan(1);
  expect(after).toEqual(before);
  expect(files).toBeLessThanOrEqual(20);
  expect(peak).toBeLessThan(ISOLATE_BYTES);
}, 900_000);

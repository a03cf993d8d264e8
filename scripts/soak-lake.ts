/**
 * `npm run soak:lake -- [--flushes 1000] [--edits 200] [--seed 1]`: a lake in use for long (lake/testing/soak.ts). Prints a
 * line now and then, and the result; fails when a row, a reader or a file is not as it should be.
 */
import { parseArgs } from "node:util";
import { initParquetInNode, soak } from "../lake/testing.ts";

const { values } = parseArgs({
  options: {
    flushes: { type: "string", default: "1000" },
    edits: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
  },
});
initParquetInNode();
const started = performance.now();
const result = await soak({
  flushes: Number(values.flushes),
  edits: Number(values.edits),
  seed: Number(values.seed),
  progress(flushes, state) {
    if (flushes % 80 === 0) console.error(`${flushes} flushes  ${JSON.stringify(state)}`);
  },
});
console.log(JSON.stringify({ ...result, seconds: Math.round((performance.now() - started) / 1000) }, null, 2));
process.exitCode = result.orphans + result.wrong > 0 ? 1 : 0;

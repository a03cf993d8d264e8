/**
 *   npm run sim -- --seeds 1000 --from 1    runs seeds; the last line is `N passed, N failed`
 *   npm run sim -- --seed 81 --trace        one seed, told as a story
 */
import { parseArgs } from "node:util";
import { initParquetInNode } from "../lake/node.ts";
import { planOf } from "./plan.ts";
import { runPlan } from "./world.ts";

export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: "string", default: "100" },
      from: { type: "string", default: "1" },
      seed: { type: "string" },
      trace: { type: "boolean", default: false },
      bug: { type: "string" },
      stats: { type: "boolean" },
    },
  });
  initParquetInNode();
  const from = Number(values.seed ?? values.from);
  const seeds = values.seed === undefined ? Number(values.seeds) : 1;
  let passed = 0;
  let failed = 0;
  const began = Date.now();
  for (let seed = from; seed < from + seeds; seed++) {
    const t0 = Date.now();
    const verdict = await runPlan(planOf(seed));
    if (values.trace) for (const line of verdict.trace) console.log(line);
    if (values.stats)
      console.log(`${seed} ${Date.now() - t0}ms settled ${verdict.settledMs} lines ${verdict.trace.length}`);
    if (verdict.failure === undefined) passed++;
    else {
      failed++;
      console.log(`seed ${seed}: ${verdict.failure}`);
    }
    if ((passed + failed) % 100 === 0) console.log(`${passed + failed} seeds, ${failed} failed`);
  }
  const minutes = (Date.now() - began) / 60_000;
  console.log(`${Math.round(seeds / minutes)} seeds per minute`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

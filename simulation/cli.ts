/**
 *   npm run sim -- --seeds 1000 --from 1    runs seeds; the last line is `N passed, N failed`; a failure is shrunk and printed
 *   npm run sim -- --seed 81 --trace        one seed, told as a story
 *   npm run sim -- --plan file.json         a plan that was kept, with --trace as well; --worlds N lets it happen by so many chances
 *   npm run sim -- --bugs                   plants every bug and says which seed finds it; --bug NAME plants one
 *
 *   --twice   every seed runs twice and has to be the same
 *   --first   stops at the first failure        --whole   leaves failures as large as they are
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { initParquetInNode } from "../lake/node.ts";
import { runBugs } from "./bugs/run.ts";
import { Tally } from "./kernel/tally.ts";
import { type Plan, planOf } from "./plan.ts";
import { shrink } from "./shrink.ts";
import { runPlan, type Verdict } from "./world.ts";

const OPTIONS = {
  seeds: { type: "string", default: "1000" },
  from: { type: "string", default: "1" },
  seed: { type: "string" },
  plan: { type: "string" },
  worlds: { type: "string", default: "1" },
  bug: { type: "string" },
  trace: { type: "boolean", default: false },
  first: { type: "boolean", default: false },
  twice: { type: "boolean", default: false },
  whole: { type: "boolean", default: false },
  bugs: { type: "boolean", default: false },
} as const;

const PROGRESS = 100;
/** Seeds of one plan's worlds, so that no two plans share any. */
const CHANCES_APART = 1_000_003;

export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  if (values.bugs) return (await runBugs(values.seeds, values.bug)) === 0 ? 0 : 1;
  initParquetInNode();
  const tally = { passed: 0, failed: 0 };
  const happened = new Tally();
  const began = Date.now();
  for (const plan of plans(values)) {
    const verdict = await run(plan, values.twice);
    happened.addAll(verdict.tally);
    if (values.trace) console.log(verdict.trace.join("\n"));
    tally[verdict.failure === undefined ? "passed" : "failed"]++;
    if (verdict.failure !== undefined) {
      console.log(`seed ${plan.seed}: ${verdict.failure}`);
      if (!values.trace && !values.whole) await tellSmallest(plan, verdict);
      if (values.first) break;
    }
    if ((tally.passed + tally.failed) % PROGRESS === 0) console.log(`${plan.seed}: ${tally.failed} failed so far`);
  }
  const minutes = (Date.now() - began) / 60_000;
  console.log(`in them: ${happened}`);
  console.log(`${Math.round((tally.passed + tally.failed) / minutes)} seeds per minute`);
  console.log(`${tally.passed} passed, ${tally.failed} failed`);
  return tally.failed === 0 ? 0 : 1;
}

function* plans({
  plan,
  seed,
  seeds,
  from,
  worlds,
}: {
  plan?: string;
  seed?: string;
  seeds: string;
  from: string;
  worlds: string;
}): Generator<Plan> {
  if (plan !== undefined) {
    const kept = JSON.parse(readFileSync(plan, "utf8")) as Plan;
    for (let n = 0; n < Number(worlds); n++) yield { ...kept, seed: kept.seed + n * CHANCES_APART };
  } else if (seed !== undefined) yield planOf(Number(seed));
  else for (let next = Number(from); next < Number(from) + Number(seeds); next++) yield planOf(next);
}

async function run(plan: Plan, twice: boolean): Promise<Verdict> {
  const verdict = await runPlan(plan);
  if (!twice || verdict.failure !== undefined) return verdict;
  const again = await runPlan(plan);
  if (again.digest === verdict.digest) return verdict;
  const at = verdict.trace.findIndex((line, n) => line !== again.trace[n]);
  return { ...again, failure: `A second run differs: ${verdict.trace[at]} | ${again.trace[at]}` };
}

async function tellSmallest(plan: Plan, verdict: Verdict): Promise<void> {
  const smallest = await shrink(plan, verdict);
  console.log(`  the smallest plan that fails so, ${smallest.plan.actions.length} actions:`);
  console.log(`  ${JSON.stringify(smallest.plan)}`);
  for (const line of smallest.verdict.trace) console.log(`  ${line}`);
}

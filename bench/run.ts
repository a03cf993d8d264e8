/**
 * `npm run bench -- [NAME...] [--json] [--check | --accept]`: all benchmarks, or those named.
 *
 *   --json    one JSON object a benchmark, a line each, instead of a table
 *   --check   fails when a ratio is more than 20 % worse than in bench/baselines.json
 *   --accept  writes the ratios into bench/baselines.json
 */
import { parseArgs } from "node:util";
import type { Bench } from "./bench.ts";
import { bootstrap } from "./benches/bootstrap.ts";
import { bundle } from "./benches/bundle.ts";
import { compact } from "./benches/compact.ts";
import { cost } from "./benches/cost.ts";
import { flush } from "./benches/flush.ts";
import { latency } from "./benches/latency.ts";
import { local } from "./benches/local.ts";
import { memory } from "./benches/memory.ts";
import { pull } from "./benches/pull.ts";
import { push } from "./benches/push.ts";
import { hangUp } from "./http.ts";
import { accept, asJson, asTable, baselines, worseThan } from "./report.ts";
import { progress } from "./stats.ts";

const BENCHES: readonly Bench[] = [push, latency, pull, bootstrap, local, flush, compact, memory, cost, bundle];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    check: { type: "boolean", default: false },
    accept: { type: "boolean", default: false },
  },
});
const unknown = positionals.filter((name) => !BENCHES.some((b) => b.name === name));
if (unknown.length > 0) {
  console.error(`There is no benchmark ${unknown.join(", ")}; there are ${BENCHES.map((b) => b.name).join(", ")}.`);
  process.exit(2);
}
const failures: string[] = [];
for (const bench of BENCHES) {
  if (positionals.length > 0 && !positionals.includes(bench.name)) continue;
  const sheet = await bench.run();
  console.log(values.json ? JSON.stringify(asJson(bench.name, sheet)) : asTable(bench.name, sheet));
  if (values.accept) accept(bench.name, sheet);
  if (values.check) failures.push(...worseThan(baselines()[bench.name], sheet).map((f) => `${bench.name}: ${f}`));
}
hangUp();
for (const failure of failures) progress(`worse: ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;

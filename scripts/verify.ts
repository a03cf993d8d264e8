/**
 * `npm run verify`: everything that must be true before a change is pushed. One line per step; a step that fails shows
 * all it said; the others run all the same.
 *
 *   npm run verify -- --fast      without the tests
 *   LAKESYNC_TESTED=1             without the tests, because they passed a moment ago (.ci/run)
 */
import { spawn } from "node:child_process";
import { stripVTControlCharacters } from "node:util";

const STEPS = [
  { name: "types", script: "types" },
  { name: "lint", script: "lint" },
  { name: "import law", script: "law" },
  { name: "dead code", script: "dead" },
  { name: "rules", script: "rules" },
  { name: "budgets", script: "budgets" },
  { name: "tests", script: "test" },
];

const fast = process.argv.includes("--fast");
const tested = process.env.LAKESYNC_TESTED === "1";

function run(script: string): Promise<{ code: number; output: string }> {
  return new Promise((done) => {
    const child = spawn("npm", ["run", "--silent", script], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1" },
    });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk) => chunks.push(chunk));
    child.stderr.on("data", (chunk) => chunks.push(chunk));
    child.once("error", (error) => done({ code: 127, output: error.message }));
    child.once("close", (code) => done({ code: code ?? 128, output: Buffer.concat(chunks).toString() }));
  });
}

let failed = 0;
for (const { name, script } of STEPS) {
  const label = name.padEnd(12);
  if (script === "test" && (fast || tested)) {
    console.log(`-  ${label} ${fast ? "left out (--fast)" : "passed just before"}`);
    continue;
  }
  const started = performance.now();
  const { code, output } = await run(script);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  // The last line of a step that went well says what it counted.
  const summary =
    code === 0 ? stripVTControlCharacters(output.trimEnd().split("\n").at(-1) ?? "") : `FAILED: npm run ${script}`;
  console.log(`${code === 0 ? "ok" : "X "} ${label} ${seconds.padStart(6)} s  ${summary}`);
  if (code !== 0) {
    failed++;
    console.log(output.trimEnd().replace(/^/gm, "   | "));
  }
}
console.log(failed === 0 ? "verified" : `${failed} steps failed`);
process.exitCode = failed === 0 ? 0 : 1;

/**
 * `npm test`: every kind of test, progress as it goes, and one plain last line that a machine can read:
 *
 *   N passed, N failed[, N skipped]
 *
 *   npm test                      everything
 *   npm test -- core/merge        files whose path contains a word; vitest's own options work as well
 *
 * vitest runs as a child process and reports into a file, so that a runner that crashes, finds no tests of some kind or
 * fails outside of a test counts as a failure and never as silence.
 */
import { TEST_KINDS } from "./testing/kinds.ts";
import { lastLine, runVitest } from "./testing/run.ts";

const args = process.argv.slice(2);
// A whole run owes a test of each kind; a filtered run owes at least one test.
const tally = await runVitest(args, args.length === 0 ? TEST_KINDS : []);
for (const problem of tally.problems) console.error(`\n${problem}`);
console.log(lastLine(tally));
process.exitCode = tally.failed === 0 ? 0 : 1;

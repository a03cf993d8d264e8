/** `npm run rules`: every rule of docs/SPEC.md with the tests that quote it; fails as scripts/rules/ledger.ts says. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ledgerOf, type Quote, quotedIn, readSpec } from "./rules/ledger.ts";
import { titlesOf } from "./rules/titles.ts";

const root = join(import.meta.dirname, "..");

// A contract suite lives in a folder's testing.ts and runs wherever a port is implemented.
const files = globSync(["**/*.test.{ts,tsx}", "**/testing.ts"], {
  cwd: root,
  exclude: (name) => /(^|\/)(node_modules|dist|fixtures|\.[^./][^/]*)$/.test(name),
}).sort();

const quotes = files.flatMap((file) =>
  titlesOf(file, readFileSync(join(root, file), "utf8")).flatMap(({ text, line }) =>
    quotedIn(text).map((rule): Quote => ({ rule, where: `${file}:${line}`, title: text })),
  ),
);
const spec = readSpec(readFileSync(join(root, "docs/SPEC.md"), "utf8"));
const { lines, failures } = ledgerOf(spec, quotes);
for (const line of lines) console.log(line);
for (const failure of failures) console.error(failure);
const open = [...spec.notYet.keys()].length;
console.log(`${spec.rules.size} rules, ${spec.rules.size - open} proven, ${open} not yet, ${failures.length} failures`);
process.exitCode = failures.length === 0 ? 0 : 1;

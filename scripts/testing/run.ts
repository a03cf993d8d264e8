/**
 * Runs vitest and counts what it did.
 *
 *   passed, failed, skipped   tests
 *   problems                  what failed outside of a test; each counts as one failure
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kindOf, type TestKind } from "./kinds.ts";

export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  problems: string[];
}

/** The part of vitest's JSON report that is read here. */
export interface Report {
  success: boolean;
  testResults: {
    name: string;
    status: string;
    message: string;
    assertionResults: { status: string }[];
  }[];
}

/** Counts a report. `report` is undefined where the runner left none; `owed` are the kinds of which a test must have run. */
export function tallyOf(report: Report | undefined, exitCode: number, owed: readonly TestKind[]): Tally {
  const problems: string[] = [];
  const files = report?.testResults ?? [];
  const statuses = files.flatMap((file) => file.assertionResults.map((test) => test.status));
  const passed = statuses.filter((status) => status === "passed").length;
  const broken = statuses.filter((status) => status === "failed").length;

  for (const file of files) {
    const hasFailedTest = file.assertionResults.some((test) => test.status === "failed");
    if (file.status === "failed" && !hasFailedTest) problems.push(`${file.name} failed before or after its tests`);
  }
  if (report === undefined) problems.push(`vitest ended with exit code ${exitCode} and left no report`);
  else if (passed + broken + problems.length === 0) problems.push("vitest found no test to run");
  for (const kind of owed) {
    const ran = files.some((file) => kindOf(file.name) === kind && file.assertionResults.some(isRun));
    if (!ran) problems.push(`no test of kind "${kind}" ran`);
  }
  if (exitCode !== 0 && broken + problems.length === 0) {
    problems.push(`vitest ended with exit code ${exitCode} although no test failed; its own words are above`);
  }
  return { passed, failed: broken + problems.length, skipped: statuses.length - passed - broken, problems };
}

function isRun({ status }: { status: string }): boolean {
  return status === "passed" || status === "failed";
}

/** `N passed, N failed`, and `, N skipped` where some were. */
export function lastLine({ passed, failed, skipped }: Omit<Tally, "problems">): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/** Runs vitest with these arguments; what it prints goes straight to the terminal. */
export async function runVitest(
  args: readonly string[],
  owed: readonly TestKind[],
  env: Record<string, string> = {},
): Promise<Tally> {
  const scratch = mkdtempSync(join(tmpdir(), "lakesync-test-"));
  const file = join(scratch, "report.json");
  const vitest = join(import.meta.dirname, "../../node_modules/vitest/vitest.mjs");
  const options = ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  try {
    const child = spawn(process.execPath, [vitest, ...options, ...args], {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, ...env },
    });
    const exitCode = await new Promise<number>((done) => {
      child.once("error", () => done(127));
      child.once("exit", (code) => done(code ?? 128));
    });
    return tallyOf(existsSync(file) ? parseReport(file) : undefined, exitCode, owed);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** A runner that dies while it writes leaves half a report, which is none. */
function parseReport(file: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

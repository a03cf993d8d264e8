import { expect, test } from "vitest";
import { filesOf, kindOf, otherKinds, TEST_KINDS } from "./kinds.ts";
import { lastLine, type Report, tallyOf } from "./run.ts";

const file = (name: string, ...statuses: string[]): Report["testResults"][number] => ({
  name,
  status: statuses.includes("failed") ? "failed" : "passed",
  message: "",
  assertionResults: statuses.map((status) => ({ status })),
});
const report = (...testResults: Report["testResults"]): Report => ({ success: true, testResults });

test("passed, failed and skipped tests are counted", () => {
  const tally = tallyOf(report(file("a.test.ts", "passed", "failed"), file("b.test.ts", "passed", "pending")), 1, []);
  expect(tally).toEqual({ passed: 2, failed: 1, skipped: 1, problems: [] });
  expect(lastLine(tally)).toBe("2 passed, 1 failed, 1 skipped");
  expect(lastLine({ ...tally, skipped: 0 })).toBe("2 passed, 1 failed");
});

test("a file that fails without a failing test is a failure", () => {
  const broken = { ...file("a.test.ts"), status: "failed" };
  const tally = tallyOf(report(broken, file("b.test.ts", "passed")), 1, []);
  expect(tally).toMatchObject({ passed: 1, failed: 1, problems: ["a.test.ts failed before or after its tests"] });
});

test("a runner that leaves no report is a failure, whatever its exit code", () => {
  const problems = ["vitest ended with exit code 0 and left no report"];
  expect(tallyOf(undefined, 0, [])).toMatchObject({ passed: 0, failed: 1, problems });
});

test("a runner that fails although all tests pass is a failure", () => {
  expect(tallyOf(report(file("a.test.ts", "passed")), 1, [])).toMatchObject({ passed: 1, failed: 1 });
});

test("a run without tests, or with skipped ones only, is a failure", () => {
  expect(tallyOf(report(), 0, []).failed).toBe(1);
  expect(tallyOf(report(file("a.test.ts", "pending")), 0, []).failed).toBe(1);
});

test("a kind of which no test ran is a failure", () => {
  const tally = tallyOf(report(file("a.test.ts", "passed"), file("a.pg.test.ts", "pending")), 0, ["node", "pg"]);
  expect(tally.problems).toEqual(['no test of kind "pg" ran']);
});

test("a file's longest suffix is its kind, and each kind's glob leaves the longer ones out", () => {
  expect(kindOf("core/merge.test.ts")).toBe("node");
  expect(kindOf("core/merge.do.test.ts")).toBe("workerd");
  expect(kindOf("core/merge.ts")).toBeUndefined();
  expect(filesOf("pg")).toBe("**/*.pg.test.ts");
  expect(otherKinds("node")).toEqual(["workerd", "web", "pg", "interop"]);
  expect(TEST_KINDS.filter((kind) => kind !== "node").flatMap(otherKinds)).toEqual([]);
});

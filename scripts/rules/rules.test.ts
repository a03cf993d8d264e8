import { expect, test } from "vitest";
import { ledgerOf, type Quote, quotedIn, readSpec } from "./ledger.ts";
import { titlesOf } from "./titles.ts";

const spec = (notYet: string) =>
  readSpec(`# Spec\n## Clock\n- **H1** One.\n- **H2** Two.\n## Not yet proven\n${notYet}`);
const quote = (rule: string): Quote => ({ rule, where: "core/a.test.ts:3", title: `[${rule}] holds` });

test("a rule that a test quotes is proven, one on the list is not yet due", () => {
  const { lines, failures } = ledgerOf(spec("- **H2**: later."), [quote("H1")]);
  expect(failures).toEqual([]);
  expect(lines).toEqual(["H1", "    core/a.test.ts:3  [H1] holds", "H2  not yet"]);
});

test("a rule that no test quotes and no list excuses fails", () => {
  expect(ledgerOf(spec(""), [quote("H1")]).failures).toEqual([
    `docs/SPEC.md:4  no test quotes H2: write test("[H2] ...")`,
  ]);
});

test("a rule that is proven and still excused fails, so that the list shrinks", () => {
  expect(ledgerOf(spec("- **H1** **H2**: later."), [quote("H1")]).failures).toEqual([
    `docs/SPEC.md:6  H1 is proven: take it off "Not yet proven"`,
  ]);
});

test("a quote of an unknown rule fails", () => {
  expect(ledgerOf(spec("- **H2**: later."), [quote("H1"), quote("H9")]).failures).toEqual([
    "core/a.test.ts:3  quotes H9, which is no rule of docs/SPEC.md",
  ]);
});

test("an excuse without a reason or of an unknown rule, a rule twice and a text without rules fail", () => {
  expect(spec("- **H2**").faults[0]).toContain("wants a reason");
  expect(spec("- **H7**: later.").faults[0]).toContain("H7, which is no rule");
  expect(readSpec("- **H1** One.\n- **H1** Again.").faults[0]).toContain("H1 is there twice");
  expect(readSpec("# Nothing").faults).toEqual(["docs/SPEC.md  holds no rule"]);
});

test("a title may quote several rules", () => {
  expect(quotedIn("[PU1][PU2] and [PL1, PL2], not [x] nor PU9")).toEqual(["PU1", "PU2", "PL1", "PL2"]);
});

test("titles are found in plain, each, tagged, template and grouped tests, and not in idle ones or in text", () => {
  const source = [
    'test("[H1] plain", () => {});',
    "it.each([1, 2])('[H2] each %s', () => {});",
    "test.for`a|b`(`[M1] template $" + "{x} end`, () => {});",
    'describe("[M2] group", () => { test.only("[M3] only", () => {}); });',
    'test.skip("[S1] skipped", () => {}); test.todo("[S2] todo"); it.skipIf(true)("[S3] maybe", () => {});',
    'other("[S4] no test"); const text = \'test("[S5] in a string")\'; // test("[S6] in a comment")',
  ].join("\n");
  expect(titlesOf("a.test.ts", source)).toEqual([
    { text: "[H1] plain", line: 1 },
    { text: "[H2] each %s", line: 2 },
    { text: "[M1] template … end", line: 3 },
    { text: "[M2] group", line: 4 },
    { text: "[M3] only", line: 4 },
  ]);
});

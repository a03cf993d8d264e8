import { expect, test } from "vitest";
import { filterOf, lookFor } from "./cold-filter.ts";

const KINDS: Record<string, (n: number) => string> = {
  "in a line": (n) => `row-${n}`,
  "of digits only": (n) => String(n * 7919),
  "that look like uuids": (n) =>
    `${(Math.imul(n, 0x9e3779b1) >>> 0).toString(16)}-${(Math.imul(n, 0x85ebca6b) >>> 0).toString(16)}`,
  "of few letters": (n) => n.toString(2).replaceAll("0", "é"),
};

test.each(Object.entries(KINDS))("ids %s are found, and few that are not there", (_, idOf) => {
  const bits = filterOf(Array.from({ length: 20_000 }, (_, n) => idOf(n)));
  expect(bits.length).toBe(60_000);
  for (let n = 0; n < 20_000; n++) expect(lookFor(idOf(n))(bits)).toBe(true);
  let wrong = 0;
  for (let n = 20_000; n < 320_000; n++) if (lookFor(idOf(n))(bits)) wrong++;
  expect(wrong).toBeLessThan(30); // 3 are expected
});

test("a filter of one id, or none, says no to others", () => {
  expect(lookFor("a")(filterOf(["a"]))).toBe(true);
  expect(lookFor("b")(filterOf(["a"]))).toBe(false);
  expect(lookFor("a")(filterOf([]))).toBe(false);
});

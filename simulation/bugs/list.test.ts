import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SCALED } from "../scaled.ts";
import { BUGS } from "./list.ts";

const ROOT = join(import.meta.dirname, "../..");

test("every planted bug, and every limit made small, still has its place in the product's source", () => {
  const places = [...BUGS.flatMap(({ name, edits }) => edits.map((edit) => ({ name, ...edit })))];
  for (const { name, file, find } of [...places, ...SCALED.map((edit) => ({ name: "scaled", ...edit }))])
    expect(readFileSync(join(ROOT, file), "utf8").split(find).length, `${name}: ${find}`).toBe(2);
});

test("bugs have names of their own", () => {
  expect(new Set(BUGS.map(({ name }) => name)).size).toBe(BUGS.length);
});

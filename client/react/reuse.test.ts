import { expect, test } from "vitest";
import { reuseRows } from "./reuse.ts";

test("equal rows give the array that was there", () => {
  const held = [{ id: "1", due: new Date(5), note: { a: [1] }, icon: new Uint8Array([1, 2]) }];
  expect(reuseRows(held, structuredClone(held))).toBe(held);
});

test("a row that moved is still the same object; one that changed is the new one", () => {
  const held = [
    { id: "1", n: 1 },
    { id: "2", n: 2 },
  ];
  const next = [
    { id: "2", n: 2 },
    { id: "1", n: 9 },
  ];
  const rows = reuseRows(held, next);
  expect(rows).toEqual(next);
  expect(rows[0]).toBe(held[1]);
  expect(rows[1]).toBe(next[1]);
});

test.each([
  [{ v: new Date(1) }, { v: new Date(2) }],
  [{ v: new Uint8Array([1]) }, { v: new Uint8Array([2]) }],
  [{ v: { a: 1 } }, { v: { a: 1, b: 2 } }],
  [{ v: [] }, { v: {} }],
  [{ v: null }, { v: 0 }],
  [{ v: 1n }, { v: 1 }],
  [{ a: undefined }, { b: undefined }],
])("%o is not %o", (before, after) => {
  const held = [before] as object[];
  expect(reuseRows(held, [after])).not.toBe(held);
});

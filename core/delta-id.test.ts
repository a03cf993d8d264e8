/** Ids against vectors that another implementation computed (fixtures/delta_ids.py). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bytesToHex } from "@noble/hashes/utils.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ClientId, Delta, HlcText } from "../schemas/index.ts";
import { deltaId, encodeDelta } from "./delta-id.ts";

type Vector = Delta & { readonly id: string; readonly encoded: string | null };
const vectors = JSON.parse(readFileSync(join(import.meta.dirname, "fixtures/delta-ids.json"), "utf8")) as Vector[];

test("[M4] ids and encodings are those of the other implementation", () => {
  expect(vectors.length).toBeGreaterThan(80);
  for (const { id, encoded, ...delta } of vectors) {
    if (encoded !== null) expect(bytesToHex(encodeDelta(delta))).toBe(encoded);
    expect(deltaId(delta)).toBe(id);
  }
});

const short = fc.string({ unit: fc.constantFrom("a", "b", "é", "\u0004"), maxLength: 3 });
const scalar = fc.oneof(fc.constantFrom(null, true, false, 0, 1, 4), short);
const identified = fc.record({
  clientId: fc.constantFrom("a", "ab").map((c) => c as ClientId),
  hlc: fc.constantFrom("0000000000000001", "0000000100000000").map((h) => h as HlcText),
  table: fc.constantFrom("t", "tt"),
  rowId: short,
  columns: fc.dictionary(fc.constantFrom("a", "b", "ab"), scalar, { maxKeys: 3, noNullPrototype: true }),
});

test("[M4] two deltas have one id exactly when they are the same", () => {
  const sorted = (d: object) =>
    JSON.stringify(d, (_, v) => (v && typeof v === "object" ? Object.fromEntries(Object.entries(v).sort()) : v));
  fc.assert(
    fc.property(identified, identified, (a, b) => {
      expect(deltaId(a) === deltaId(b)).toBe(sorted(a) === sorted(b));
      const reversed = Object.fromEntries(Object.entries(a.columns).reverse());
      expect(deltaId({ ...a, columns: reversed })).toBe(deltaId(a));
    }),
    { numRuns: 10_000 },
  );
});

/** The readers themselves: a table that PyIceberg wrote comes out of all three engines the same, cell by cell. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ENGINES, runPython } from "./python.ts";

interface Sample {
  appended: { metadata: string; snapshotId: string };
  deleted: { metadata: string };
}

const directory = mkdtempSync(join(tmpdir(), "lakesync-interop-"));
let sample: Sample;
beforeAll(async () => {
  sample = await runPython<Sample>("sample.py", { directory });
});
afterAll(() => rmSync(directory, { recursive: true }));

const seen = "2026-01-15T12:30:00.123456Z";
const alien = { id: "1", title: "Alien", rating: 8.5, seen, raw: "AP8=" };
const empty = { id: "9007199254740993", title: null, rating: null, seen: null, raw: null };
const brazil = { id: "3", title: "Brazil 🎬", rating: 7.9, seen, raw: "" };

describe.each(ENGINES)("$engine", ({ engine, left }) => {
  type Ask = { metadata: string; snapshotId?: string };
  const tables = async (...asks: Ask[]) => {
    const found = await runPython<{ id: string }[][]>(
      "readers.py",
      asks.map((ask) => ({ engine, ...ask })),
    );
    return found.map((rows) => rows.sort((a, b) => a.id.length - b.id.length || a.id.localeCompare(b.id)));
  };

  test.skipIf(left)("reads every type, and 64-bit integers without loss", async () => {
    expect(await tables({ metadata: sample.appended.metadata })).toEqual([[alien, brazil, empty]]);
  });

  test.skipIf(left)("does not see a row that was deleted, but sees it in the snapshot before", async () => {
    const { metadata } = sample.deleted;
    const { snapshotId } = sample.appended;
    expect(await tables({ metadata }, { metadata, snapshotId })).toEqual([
      [alien, empty],
      [alien, brazil, empty],
    ]);
  });
});

import { beforeAll, expect, test } from "vitest";
import { initParquetInNode } from "../node.ts";
import { soak } from "../testing/soak.ts";

beforeAll(initParquetInNode);

test("[L3] [L5] [F1] a soak: flushes, kills, maintenance and slow readers, and in the end rows, files and no orphan", async () => {
  const { end, most, orphans, wrong } = await soak({ flushes: 160, edits: 40, seed: 81 });
  expect(wrong).toBe(0);
  expect(orphans).toBe(0);
  expect(end.readersServed).toBeGreaterThan(20);
  expect(end.kills).toBeGreaterThan(5);
  expect(end.rows).toBeGreaterThan(3000);
  expect(end.edits).toBe(6400);
  // Three classes of fewer than eight small files each, in each of the two tables; of delete files the few that may stay.
  expect(most.dataFiles).toBeLessThanOrEqual(2 * 3 * 8);
  expect(most.deleteFiles).toBeLessThanOrEqual(10);
}, 240_000);

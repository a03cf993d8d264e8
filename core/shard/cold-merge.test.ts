import { expect, test } from "vitest";
import { HOT_MERGE_ROWS, HOT_MERGE_RUNS, HOT_MERGED_ROWS } from "../../schemas/index.ts";
import { runsToMerge } from "./cold-merge.ts";

test("[HW1] however many rows leave, in runs of whatever size, few runs are there and each row is written a few times", () => {
  for (const size of [100, 2000, 20_000, 50_000, 150_000]) {
    let runs: number[] = [];
    let written = 0;
    const count = Math.min(2000, Math.floor(6_000_000 / size));
    for (let n = 0; n < count; n++) {
      runs.push(size);
      for (let range = runsToMerge(runs); range; range = runsToMerge(runs)) {
        const [from, to] = range;
        const sum = runs.slice(from, to).reduce((a, b) => a + b, 0);
        expect(sum).toBeLessThanOrEqual(HOT_MERGE_ROWS);
        written += sum;
        const into = Array.from({ length: Math.ceil(sum / HOT_MERGED_ROWS) }, (_, k) =>
          Math.min(HOT_MERGED_ROWS, sum - k * HOT_MERGED_ROWS),
        );
        expect(into.length).toBeLessThan(to - from);
        runs = [...runs.slice(0, from), ...into, ...runs.slice(to)];
      }
    }
    const rows = size * count;
    expect(runs.reduce((a, b) => a + b, 0)).toBe(rows);
    expect(written / rows).toBeLessThan(6);
    expect(runs.length).toBeLessThan(rows / (HOT_MERGED_ROWS / 2) + 3 * HOT_MERGE_RUNS);
  }
});

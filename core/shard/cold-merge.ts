/**
 * Which runs of rows that left are better one. Runs that stand behind each other in the order in which rows left may be merged, since a
 * row is in the newest run that has it: of those that are merged the newest counts, and what is before and behind them counts as it did.
 *
 *   a level    runs of its size, an eighth of the next one's; the last ends at half of a full run
 *   merged     once HOT_MERGE_RUNS of a level stand behind each other, with what is smaller between them
 *
 * What becomes of them is of a higher level: a row is written once for each, however many runs there come to be.
 */
import { HOT_MERGE_ROWS, HOT_MERGE_RUNS, HOT_MERGED_ROWS } from "../../schemas/index.ts";

/** Rows at which levels end. */
const ENDS = [3, 2, 1, 0].map((below) => HOT_MERGED_ROWS / 2 / HOT_MERGE_RUNS ** below);

/** @param rows of each run, oldest first @returns the first and one past the last of those that are to be merged */
export function runsToMerge(rows: readonly number[]): readonly [number, number] | undefined {
  for (const [level, end] of ENDS.entries()) {
    const begin = ENDS[level - 1] ?? 0;
    let [from, sum, count] = [0, 0, 0];
    for (const [at, size] of rows.entries()) {
      if (size >= end || sum + size > HOT_MERGE_ROWS) [from, sum, count] = [at + (size >= end ? 1 : 0), 0, 0];
      if (size >= end) continue;
      sum += size;
      if (size >= begin) count++;
      if (count === HOT_MERGE_RUNS) return [from, at + 1];
    }
  }
  return undefined;
}

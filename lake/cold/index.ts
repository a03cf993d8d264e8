/** Rows that have left their shard's hot window (decision 0052): how they go, how they are found again, and how they are kept. */
export { type LeavingSource, type LeavingTable, type LeftSummary, leaveShard } from "./leave.ts";
export { type MergingSource, type MergingTable, mergeRuns } from "./merge.ts";
export { type ColdRows, readCold } from "./read.ts";
export { sweepRuns } from "./sweep.ts";

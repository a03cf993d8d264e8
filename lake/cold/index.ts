/** Rows that have left their shard's hot window (decision 0052): how they go, and how they are found again. */
export { type LeavingSource, type LeavingTable, type LeftSummary, leaveShard } from "./leave.ts";
export { type ColdRows, readCold } from "./read.ts";

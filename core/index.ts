/** Pure decisions: no clock, no randomness, no I/O. */
export type * from "./ports/index.ts";

/** What happened, line by line, as a story; and its digest, by which two runs of a seed are told to be the same. */
import { createHash } from "node:crypto";
import type { Scheduler } from "./scheduler.ts";

export class Trace {
  readonly #scheduler: Scheduler;
  readonly #start: number;
  readonly lines: string[] = [];

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    this.#start = scheduler.now;
  }

  readonly note = (who: string, what: string): void => {
    const seconds = ((this.#scheduler.now - this.#start) / 1000).toFixed(3).padStart(9);
    this.lines.push(`${seconds}  ${who.padEnd(16)}  ${what}`);
  };

  digest(): string {
    const hash = createHash("sha256");
    for (const line of this.lines) hash.update(`${line}\n`);
    return hash.digest("hex").slice(0, 16);
  }
}

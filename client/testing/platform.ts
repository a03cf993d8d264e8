/** A platform on virtual time and seeded chance; devices of one world share the time, each with an error of its own. */
import { defaultPlatform, type Platform } from "../platform.ts";

interface Timer {
  readonly atMs: number;
  readonly run: () => void;
}

export class TestWorld {
  nowMs = Date.UTC(2026, 0, 1);
  #seed: number;
  readonly #timers = new Map<number, Timer>();
  #nextTimer = 1;

  constructor(seed = 1) {
    this.#seed = seed;
  }

  /** Mulberry32. */
  readonly random = (): number => {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };

  /** @param skew how far the device's clock is ahead; may change */
  platform(skew: { ms: number } = { ms: 0 }): Platform {
    return {
      ...defaultPlatform(),
      clock: { now: () => this.nowMs + skew.ms },
      random: this.random,
      timers: {
        set: (run, ms) => {
          const handle = this.#nextTimer++;
          this.#timers.set(handle, { atMs: this.nowMs + ms, run });
          return handle;
        },
        clear: (handle) => void this.#timers.delete(handle as number),
      },
    };
  }

  /** Lets time pass: timers run in order, and what they start is given turns of the event loop to finish. */
  async pass(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    for (;;) {
      await settled();
      const next = [...this.#timers].sort(([a, x], [b, y]) => x.atMs - y.atMs || a - b)[0];
      if (!next || next[1].atMs > endMs) break;
      this.#timers.delete(next[0]);
      this.nowMs = Math.max(this.nowMs, next[1].atMs);
      next[1].run();
    }
    this.nowMs = endMs;
  }
}

/** What is ready to run has run, promises after promises. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/**
 * Chance, from one seed. Each part of the world draws from a stream of its own, so that an action that is left out when a
 * failure is shrunk does not change what happens elsewhere.
 */
export class Random {
  #state: number;

  /** @param stream whose chance it is */
  constructor(seed: number, stream: string) {
    let hash = 0x811c9dc5;
    for (const char of `${seed}/${stream}`) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
    this.#state = hash | 0;
    this.next();
  }

  /** Uniform in [0, 1). Mulberry32. */
  readonly next = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };

  /** A whole number from `low` up to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.next() * from.length)] as T;
  }
}

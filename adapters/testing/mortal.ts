/** Adapters and feeds that die: before or after any of their calls, as a process does. */
class Killed extends Error {}

/** Counts the calls of adapters, and dies once, at the step that is asked for: odd ones before a call, even ones after. */
export class Fuse {
  #left: number;

  /** @param steps 0 for never */
  constructor(steps = 0) {
    this.#left = steps;
  }

  get burnt(): boolean {
    return this.#left < 0;
  }

  step(): void {
    if (this.#left > 0 && --this.#left === 0) {
      this.#left = -1;
      throw new Killed();
    }
  }
}

const MORTAL = new Set([
  "insertDeltas",
  "evictRows",
  "getLatestState",
  "progress",
  "queryDeltasSince",
  "ensureSchema",
  "read",
  "settle",
]);

export const mortal = <T extends object>(adapter: T, fuse: Fuse): T =>
  new Proxy(adapter, {
    get(target, name) {
      const member = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      if (!MORTAL.has(String(name))) return member.bind(target);
      return async (...args: unknown[]) => {
        fuse.step();
        const answer = await member.apply(target, args);
        fuse.step();
        return answer;
      };
    },
  });

/** Runs something that may die. @returns whether it lived */
export async function survives(body: () => Promise<unknown>): Promise<boolean> {
  try {
    await body();
    return true;
  } catch (error) {
    if (error instanceof Killed) return false;
    throw error;
  }
}

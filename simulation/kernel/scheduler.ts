/**
 * Virtual time. Whatever takes time in the world is an event here; between two events all promises that can go on do, and
 * nothing else: no event starts before the last one's microtasks have run out.
 */
import type { Process } from "./process.ts";

interface Event {
  readonly at: number;
  readonly order: number;
  readonly owner: Process | undefined;
  run: (() => void) | undefined;
}

/** Taken before the guards take it away from everyone else. */
const nextTurn = globalThis.setImmediate;

/** Every promise that was ready has run, and those that it made ready, and so on. */
export const drained = (): Promise<void> => new Promise((resolve) => void nextTurn(resolve));

/** Where every world's time starts: a Thursday in January 2026. Milliseconds since 1970. */
const START = Date.UTC(2026, 0, 1);

export class Scheduler {
  now = START;
  #order = 0;
  /** A binary heap by (at, order). */
  readonly #heap: Event[] = [];

  /** @param owner an event of a process that has died does not happen */
  after(ms: number, run: () => void, owner?: Process): Event {
    const at = this.now + Math.max(0, Math.ceil(Number.isFinite(ms) ? ms : 0));
    const event = { at, order: this.#order++, owner, run };
    const heap = this.#heap;
    let child = heap.push(event) - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!before(event, heap[parent] as Event)) break;
      heap[child] = heap[parent] as Event;
      child = parent;
    }
    heap[child] = event;
    return event;
  }

  sleep(ms: number, owner?: Process): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve, owner));
  }

  /** Runs what is due up to a moment; stops early when `stop` says so. */
  async runUntil(end: number, stop: () => boolean = () => false): Promise<void> {
    await drained();
    while (!stop()) {
      const next = this.#heap[0];
      if (!next || next.at > end) {
        this.now = Math.max(this.now, end);
        return;
      }
      this.#pop();
      if (!next.run || next.owner?.alive === false) continue;
      this.now = Math.max(this.now, next.at);
      next.run();
      await drained();
    }
  }

  /** Time passes and nobody is awake: what falls due meanwhile happens after it. */
  leap(ms: number): void {
    this.now += ms;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Event;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (!before(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

const before = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

export type { Event };

export const cancel = (event: Event): void => {
  event.run = undefined;
};

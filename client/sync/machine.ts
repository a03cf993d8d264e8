/**
 * The states of automatic sync, as a total table: every state answers every event (C9).
 *
 *   stopped  nothing runs, nothing is scheduled
 *   idle     in step as far as is known; a poll is scheduled
 *   syncing  a round (push, then pull) is under way
 *   waiting  the last round failed; the next try is scheduled
 *
 * In every state but `stopped` either a round runs, bounded by timeouts, or a timer is set: there is no state from which
 * nothing follows.
 */
export type SyncState = "stopped" | "idle" | "syncing" | "waiting";

export type SyncEvent =
  | "start"
  | "stop"
  /** The app committed something. */
  | "change"
  /** The gateway may have news, or the network is back. */
  | "poke"
  /** The scheduled moment has come. */
  | "timer"
  /** A round ended well; `again` when something came in meanwhile. */
  | "done"
  | "failed";

type Effect =
  /** Start a round. */
  | "run"
  /** Remember that the round under way has to be followed by another. */
  | "again"
  /** Set the timer for the next poll; or start at once when there is something left to do. */
  | "rest"
  /** Set the timer for the next try. */
  | "backOff"
  /** Cancel the round and the timer. */
  | "halt"
  | "nothing";

export interface Step {
  readonly to: SyncState;
  readonly effect: Effect;
}

const step = (to: SyncState, effect: Effect = "nothing"): Step => ({ to, effect });

export const MACHINE: Readonly<Record<SyncState, Readonly<Record<SyncEvent, Step>>>> = {
  stopped: {
    start: step("syncing", "run"),
    stop: step("stopped"),
    change: step("stopped"),
    poke: step("stopped"),
    timer: step("stopped"),
    done: step("stopped"),
    failed: step("stopped"),
  },
  idle: {
    start: step("idle"),
    stop: step("stopped", "halt"),
    change: step("syncing", "run"),
    poke: step("syncing", "run"),
    timer: step("syncing", "run"),
    done: step("idle"),
    failed: step("idle"),
  },
  syncing: {
    start: step("syncing"),
    stop: step("stopped", "halt"),
    change: step("syncing", "again"),
    poke: step("syncing", "again"),
    timer: step("syncing"),
    done: step("idle", "rest"),
    failed: step("waiting", "backOff"),
  },
  waiting: {
    start: step("syncing", "run"),
    stop: step("stopped", "halt"),
    change: step("waiting"), // it waits in the outbox; trying at each keystroke would only make the trouble worse
    poke: step("syncing", "run"),
    timer: step("syncing", "run"),
    done: step("waiting"),
    failed: step("waiting"),
  },
};

export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
}

/**
 * How long to wait after so many failures in a row: twice as long each time, up to a bound, half of it by chance, never
 * less than the gateway asked for.
 */
export function backoffMs(
  failures: number,
  retryAfterMs: number,
  random: () => number,
  options: BackoffOptions,
): number {
  const full = Math.min(options.maxMs, options.firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.max(retryAfterMs, Math.ceil(full * (0.5 + random() / 2)));
}

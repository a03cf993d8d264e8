/**
 * The Hybrid Logical Clock (Kulkarni et al., "Logical Physical Clocks", 2014), on 64 bits: 48 of milliseconds, 16 of
 * counter. Stamps strictly increase whatever the wall clock does (H1); a remote stamp moves the clock past itself unless
 * it is more than a minute ahead of the wall (H2).
 */
import {
  CLOCK_DRIFT_MS_MAX,
  err,
  HLC_COUNTER_MAX,
  HLC_ZERO,
  type HLC as HlcBigInt,
  type HlcText,
  hlcCounter,
  hlcFromBigInt,
  hlcMillis,
  hlcToBigInt,
  LakeSyncError,
  ok,
  packHlc,
  type Result,
} from "../schemas/index.ts";
import type { Clock } from "./ports/index.ts";

/** A hybrid logical clock value as a branded 64-bit integer. */
export type HLC = HlcBigInt;

/** Conversions of `HLC` values. */
export const HLC = {
  /** @param millis milliseconds since 1970, 48 bits @param counter 16 bits */
  of: (millis: number, counter: number): HLC => hlcToBigInt(packHlc(millis, counter)),
  millis: (hlc: HLC): number => Number(hlc >> 16n),
  counter: (hlc: HLC): number => Number(hlc & 0xffffn),
  /** 16 hex digits that sort like the number. */
  toText: (hlc: HLC): HlcText => {
    const text = hlcFromBigInt(hlc);
    if (text === undefined) throw new LakeSyncError("BadHlc", `${hlc} is not a 64-bit HLC.`);
    return text;
  },
  fromText: hlcToBigInt,
};

/** The clock alone: what a device needs. */
export class TickingClock {
  readonly #clock: Clock;
  #last: HlcText;

  /** @param last the greatest stamp ever given or received by this node, as it was persisted; survives restarts (H1) */
  constructor(clock: Clock, last: HlcText = HLC_ZERO) {
    this.#clock = clock;
    this.#last = last;
  }

  /** The greatest stamp given or received so far: what has to be persisted with the write that used it. */
  get last(): HlcText {
    return this.#last;
  }

  /** A stamp for a new event, greater than every one before it. */
  tick(): HlcText {
    const wall = Math.max(0, Math.floor(this.#clock.now()));
    const millis = hlcMillis(this.#last);
    if (wall > millis) this.#last = packHlc(wall, 0);
    else if (hlcCounter(this.#last) < HLC_COUNTER_MAX) this.#last = packHlc(millis, hlcCounter(this.#last) + 1);
    else this.#last = packHlc(millis + 1, 0); // 65,536 events in one millisecond: borrow the next
    return this.#last;
  }

  /**
   * Moves past a stamp from elsewhere, unless that is too far ahead (H2).
   * @returns how far ahead one is that was refused, in milliseconds; 0 for one that was taken
   */
  pass(remote: HlcText): number {
    const ahead = hlcMillis(remote) - this.#clock.now();
    if (ahead > CLOCK_DRIFT_MS_MAX) return ahead;
    if (remote > this.#last) this.#last = remote;
    return 0;
  }
}

export class HybridClock extends TickingClock {
  /** Moves past a stamp from elsewhere, or refuses it with `ClockDrift` and stays (H2). */
  receive(remote: HlcText): Result<void, LakeSyncError> {
    const ahead = this.pass(remote);
    return ahead > 0 ? err(driftError(ahead)) : ok(undefined);
  }
}

export const driftError = (aheadMs: number): LakeSyncError =>
  new LakeSyncError(
    "ClockDrift",
    `The stamp is ${Math.round(aheadMs / 1000)} s ahead of the gateway's clock; at most ${CLOCK_DRIFT_MS_MAX / 1000} s are taken. Set the clock by the answer's serverHlc, stamp again and retry.`,
    { aheadMs: Math.round(aheadMs) },
  );

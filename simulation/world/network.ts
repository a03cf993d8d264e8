/**
 * The roads between processes inside the gateway. Everything that crosses is copied, takes time, and may be lost on the way
 * there (nothing was done) or back (it was); at either end a process may die of it.
 */
import { never, type Process } from "../kernel/process.ts";
import type { Random } from "../kernel/random.ts";
import type { Scheduler } from "../kernel/scheduler.ts";
import type { Tally } from "../kernel/tally.ts";

/** Chances, each between 0 and 1. All zero once the faults stop. */
export interface Weather {
  /** A call inside the gateway is lost before, or after it was done. */
  rpcLost: number;
  rpcAnswerLost: number;
  /** The callee dies of a call, before or after it was done; the caller dies of it. */
  calleeDies: number;
  callerDies: number;
  /** A Durable Object dies as it turns to its storage. */
  storageDies: number;
  /** A request of a device is lost; its answer is; it arrives twice. */
  requestLost: number;
  answerLost: number;
  requestTwice: number;
  /** A frame of a socket is lost with its connection. */
  socketDies: number;
  /** The object store fails, without or with having done what it was asked; or does it once more, later. */
  storeFails: number;
  storeSilent: number;
  storeTwice: number;
  /** A poke of the hub is lost, and nobody is told. */
  pokeLost: number;
  /** A message of the queue is lost, or comes twice; its consumer dies at some crossing. */
  queueLost: number;
  queueTwice: number;
  consumerDies: number;
  /** A device dies at some statement of its database. */
  deviceDies: number;
  /** SQLite in a tab's worker is cut off in a call. */
  workerTorn: number;
  /** Something takes a hundred times as long. */
  slow: number;
}

export type WeatherKind = keyof Weather;

export const FAIR: Readonly<Weather> = {
  rpcLost: 0,
  rpcAnswerLost: 0,
  calleeDies: 0,
  callerDies: 0,
  storageDies: 0,
  requestLost: 0,
  answerLost: 0,
  requestTwice: 0,
  socketDies: 0,
  storeFails: 0,
  storeSilent: 0,
  storeTwice: 0,
  pokeLost: 0,
  queueLost: 0,
  queueTwice: 0,
  consumerDies: 0,
  deviceDies: 0,
  workerTorn: 0,
  slow: 0,
};

export class Network {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly tally: Tally;
  weather: Weather;

  constructor(scheduler: Scheduler, random: Random, tally: Tally, weather: Weather) {
    this.scheduler = scheduler;
    this.random = random;
    this.tally = tally;
    this.weather = weather;
  }

  strikes(kind: WeatherKind): boolean {
    const struck = this.weather[kind] > 0 && this.random.chance(this.weather[kind]);
    if (struck) this.tally.add(kind);
    return struck;
  }

  /** How long a message takes that usually takes up to `ms`. */
  delay(ms: number): number {
    return this.random.next() * ms * (this.strikes("slow") ? 100 : 1);
  }

  /** Somebody dies at this crossing. */
  #mayKill(process: Process, kind: WeatherKind): void {
    if (this.strikes(kind)) process.die();
  }

  /** What a crossing costs its caller: a consumer's life hangs by a thread of its own. */
  crossing(caller: Process): void {
    this.#mayKill(caller, caller.name.startsWith("consumer") ? "consumerDies" : "callerDies");
  }

  /**
   * A call from one process to another.
   * @param execute does it, in the callee that is alive when the call arrives
   */
  call<T>(caller: Process, usualMs: number, execute: () => Promise<T>): Promise<T> {
    if (!caller.alive) return never();
    this.crossing(caller);
    return new Promise<T>((resolve, reject) => {
      const fail = (error: unknown) => void this.scheduler.after(this.delay(usualMs), () => reject(error), caller);
      if (this.strikes("rpcLost")) return fail(new Error("Network connection lost."));
      this.scheduler.after(this.delay(usualMs), () => {
        execute().then((answer) => {
          if (this.strikes("rpcAnswerLost")) return fail(new Error("Network connection lost."));
          const arrive = () => {
            this.crossing(caller);
            if (caller.alive) resolve(answer);
          };
          this.scheduler.after(this.delay(usualMs), arrive, caller);
        }, fail);
      });
    });
  }
}

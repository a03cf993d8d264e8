/**
 * Durable Objects: one live instance at most of each name, over what it has made durable. An instance dies (all that it knew
 * is gone, whoever waits for it is told so) or is put to sleep (when nobody waits for it); the next call makes another.
 */

import type { SqlValue } from "../../core/index.ts";
import { NodeSqlStore } from "../../core/testing.ts";
import { never, Process } from "../kernel/process.ts";
import { drained } from "../kernel/scheduler.ts";
import type { Network } from "./network.ts";
import { Sockets } from "./sockets.ts";

/** An exception of an alarm is followed by another try after this long. Milliseconds. */
const ALARM_RETRY_MS = 2000;
const RPC_MS = 4;

type Method = (...args: unknown[]) => unknown;
export type DurableClass = new (ctx: never, env: never) => object;

interface Instance {
  readonly process: Process;
  readonly object: Record<string, Method>;
}

export interface ObjectDeps {
  readonly network: Network;
  /** Bindings, as one process sees them. */
  envFor(process: Process): object;
  note(who: string, what: string): void;
}

export class DurableHost {
  readonly name: string;
  readonly sql = new NodeSqlStore();
  readonly sockets: Sockets;
  readonly #kv = new Map<string, unknown>();
  readonly #class: DurableClass;
  readonly #deps: ObjectDeps;
  #alarm: number | null = null;
  #alarmSet = 0;
  #instance: Instance | undefined;
  #births = 0;
  #busy = 0;

  constructor(name: string, durableClass: DurableClass, deps: ObjectDeps) {
    this.name = name;
    this.#class = durableClass;
    this.#deps = deps;
    this.sockets = new Sockets((run) => this.#inside(run));
  }

  /** The live object; made when there is none. */
  #awake(): Instance {
    if (this.#instance?.process.alive) return this.#instance;
    const process = new Process(`${this.name}#${++this.#births}`);
    const env = this.#deps.envFor(process);
    const object = new this.#class(this.#context(process) as never, env as never) as Record<string, Method>;
    this.#instance = { process, object };
    return this.#instance;
  }

  /** What the object is, for those who look at it from outside. */
  get object(): object {
    return this.#awake().object;
  }

  /** The process dies, and its sockets with it. */
  crash(): void {
    if (!this.#instance) return;
    this.#deps.note(this.name, "dies");
    this.#instance.process.die();
    this.#instance = undefined;
    this.sockets.dropAll();
  }

  /** The process dies, and what it has on disk is gone. */
  lose(): void {
    this.crash();
    for (const { name } of this.sql.exec<{ name: string }>("SELECT name FROM sqlite_schema WHERE type = 'table'"))
      this.sql.exec(`DROP TABLE ${name}`);
    this.#kv.clear();
    this.#alarm = null;
  }

  /** The object forgets what it has in memory, if nobody waits for it; its sockets stay. */
  evict(): void {
    if (!this.#instance || this.#busy > 0) return;
    this.#deps.note(this.name, "is put to sleep");
    this.#instance.process.die();
    this.#instance = undefined;
  }

  /** A call that arrives. Fails when the instance dies before it has answered. */
  async #inside<T>(run: (object: Record<string, Method>) => T | Promise<T>): Promise<T> {
    const { network } = this.#deps;
    const { process, object } = this.#awake();
    this.#busy++;
    try {
      return await new Promise<T>((resolve, reject) => {
        process.onDeath(() => reject(new Error("The Durable Object was reset.")));
        if (network.strikes("calleeDies")) return this.crash();
        const done = (async () => run(object))();
        done.then((answer) => {
          if (process.alive && network.strikes("calleeDies")) this.crash();
          resolve(answer);
        }, reject);
      });
    } finally {
      this.#busy--;
    }
  }

  /** What others hold of it. */
  stub(caller: Process): object {
    return new Proxy(
      {},
      {
        get:
          (_, method: string) =>
          (...args: unknown[]) =>
            this.#call(caller, method, args),
      },
    );
  }

  #call(caller: Process, method: string, args: unknown[]): Promise<unknown> {
    if (method === "poke" && this.#deps.network.strikes("pokeLost")) return Promise.resolve();
    const copied = method === "fetch" ? args : structuredClone(args);
    return this.#deps.network.call(caller, RPC_MS, async () => {
      const answer = await this.#inside((object) => (object[method] as Method).apply(object, copied));
      return method === "fetch" ? answer : structuredClone(answer);
    });
  }

  #context(process: Process): object {
    const alive = () => {
      if (!process.alive) throw new Error(`${process.name} is dead and touches its storage.`);
    };
    const late = async <T>(body: () => T): Promise<T> => {
      if (process.alive && this.#deps.network.strikes("storageDies")) this.crash();
      return process.alive ? body() : never<T>();
    };
    const { sql } = this;
    const storage = {
      sql: {
        exec: (text: string, ...bindings: SqlValue[]) => {
          alive();
          const before = sql.rowsWritten;
          const rows = sql.exec(text, ...bindings);
          return { toArray: () => rows, rowsWritten: sql.rowsWritten - before };
        },
        get databaseSize() {
          return sql.sizeBytes;
        },
      },
      transactionSync: <T>(body: () => T): T => {
        alive();
        return sql.transaction(body);
      },
      get: (key: string) => late(() => structuredClone(this.#kv.get(key))),
      put: (key: string | Record<string, unknown>, value?: unknown) =>
        late(() => {
          const entries = typeof key === "string" ? [[key, value] as const] : Object.entries(key);
          for (const [name, held] of entries) this.#kv.set(name, structuredClone(held));
        }),
      getAlarm: () => late(() => this.#alarm),
      setAlarm: (at: number) => late(() => this.#setAlarm(at)),
    };
    return {
      id: { name: this.name.slice(this.name.indexOf(":") + 1) },
      storage,
      waitUntil: (promise: Promise<unknown>) => void promise.catch(() => undefined),
      ...this.sockets.context(process),
    };
  }

  #setAlarm(at: number): void {
    this.#alarm = at;
    const set = ++this.#alarmSet;
    this.#deps.network.scheduler.after(at - Date.now(), () => void this.#ring(set));
  }

  /** At least once: until the object has come through it without an exception. */
  async #ring(set: number): Promise<void> {
    if (set !== this.#alarmSet || this.#alarm === null) return;
    const at = this.#alarm;
    this.#alarm = null;
    try {
      await this.#inside((object) => (object.alarm as Method).call(object));
    } catch {
      await drained();
      if (this.#alarm === null && set === this.#alarmSet) this.#setAlarm(Math.max(at, Date.now() + ALARM_RETRY_MS));
    }
  }
}

/** The driver port on the page's side: each call is a message to the worker that owns the database. */
import { LakeSyncError } from "../../../schemas/index.ts";
import { SETUP_SQL } from "../bookkeeping.ts";
import type { Driver, DriverOptions, ResultSet, SqlParam, TableUse } from "../driver.ts";
import type { WorkerLike } from "./browser.ts";
import type { FromWorker, Opened, Reply, RequestMessage } from "./protocol.ts";

type Call = RequestMessage extends infer M ? (M extends { id: number } ? Omit<M, "id"> : never) : never;

/** @param start a tab's dedicated worker @throws LakeSyncError `StorageUnavailable` when no backend works here */
export async function openWorkerDriver(options: DriverOptions, start = startWorker): Promise<Driver> {
  if (options.backend === "file")
    throw new LakeSyncError(
      "StorageUnavailable",
      'Backend "file" exists in Node only; in browsers use "opfs" or "idb".',
    );
  const remote = new RemoteDriver(options, start);
  await remote.ready();
  return remote;
}

function startWorker(name: string): WorkerLike {
  const { Worker } = globalThis as unknown as { Worker: new (url: URL, options: object) => WorkerLike };
  return new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: `lakesync ${name}` });
}

class RemoteDriver implements Driver {
  backend: Driver["backend"] = "memory";
  identity = "";
  leads = false;
  alone = true;
  onLead: (() => void) | undefined;
  readonly #options: DriverOptions;
  readonly #start: (name: string) => WorkerLike;
  #worker: WorkerLike | undefined;
  #opened: Promise<void> | undefined;
  /** A transaction was open when the last worker ended. */
  #lost = false;
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: unknown) => void }>();
  #nextId = 1;

  constructor(options: DriverOptions, start: (name: string) => WorkerLike) {
    this.#options = options;
    this.#start = start;
  }

  /** Starts a worker where there is none: at first, and after one that ended itself. */
  ready(): Promise<void> {
    this.#opened ??= this.#open();
    return this.#opened;
  }

  async #open(): Promise<void> {
    const { name, backend: wanted } = this.#options;
    const worker = this.#start(name);
    this.#worker = worker;
    worker.addEventListener("message", (event) => {
      const message = event.data as FromWorker;
      if ("leads" in message) {
        this.leads = message.leads;
        this.alone &&= message.leads;
        this.onLead?.();
      } else if ("others" in message) this.alone = false;
      else if ("torn" in message) {
        this.#lost = message.inTransaction;
        this.#end("The database broke down. Look whether the write is there, and try again.");
        this.ready().catch(() => undefined); // so that it is known who leads now
      } else this.#receive(message);
    });
    worker.addEventListener("error", () => this.#fail("The database's worker broke down."));
    try {
      const { backend, identity } = await this.#post<Opened>({
        call: "open",
        name,
        backend: wanted,
        lost: this.#lost,
        setup: SETUP_SQL,
      });
      this.backend = backend;
      this.identity = identity;
    } catch (error) {
      this.#end("");
      throw error;
    }
  }

  execute(sql: string, params: readonly SqlParam[] = []): Promise<ResultSet> {
    return this.#ask({ call: "execute", sql, params });
  }

  executeMany(sql: string, paramLists: readonly (readonly SqlParam[])[]): Promise<ResultSet> {
    return this.#ask({ call: "executeMany", sql, params: paramLists });
  }

  script(sql: string): Promise<void> {
    return this.#ask({ call: "script", sql });
  }

  tablesOf(sql: string): Promise<TableUse> {
    return this.#ask({ call: "tablesOf", sql });
  }

  async close(): Promise<void> {
    await this.#ask({ call: "close" });
    this.#end("The database is closed.");
  }

  async #ask<T>(call: Call): Promise<T> {
    await this.ready();
    return this.#post(call);
  }

  #post<T>(call: Call): Promise<T> {
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: never) => void, reject });
      this.#worker?.postMessage({ id, ...call });
    });
  }

  #receive({ id, value, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new LakeSyncError(error.code, error.message, error.details));
    else waiting?.resolve(value as never);
  }

  #end(message: string): void {
    this.#worker?.terminate();
    this.#opened = undefined;
    this.leads = this.alone = false;
    this.#fail(message);
  }

  #fail(message: string): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new LakeSyncError("StorageUnavailable", message));
  }
}

/** The driver port on the page's side: each call is a message to the worker that owns the database. */
import { LakeSyncError } from "../../../schemas/index.ts";
import type { Driver, DriverOptions, ResultSet, SqlParam, TableUse } from "../driver.ts";
import type { WorkerLike } from "./browser.ts";
import type { FromWorker, Opened, Reply, RequestMessage } from "./protocol.ts";

type Call = RequestMessage extends infer M ? (M extends { id: number } ? Omit<M, "id"> : never) : never;

/** @throws LakeSyncError `StorageUnavailable` when no backend works here */
export async function openWorkerDriver(options: DriverOptions): Promise<Driver> {
  const { name, backend } = options;
  if (backend === "file")
    throw new LakeSyncError(
      "StorageUnavailable",
      'Backend "file" exists in Node only; in browsers use "opfs" or "idb".',
    );
  const { Worker } = globalThis as unknown as { Worker: new (url: URL, options: object) => WorkerLike };
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: `lakesync ${name}` });
  const remote = new RemoteDriver(worker);
  try {
    await remote.open(name, backend);
    return remote;
  } catch (error) {
    worker.terminate();
    throw error;
  }
}

class RemoteDriver implements Driver {
  backend: Driver["backend"] = "memory";
  identity = "";
  leads = false;
  onLead: (() => void) | undefined;
  readonly #worker: WorkerLike;
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: unknown) => void }>();
  #nextId = 1;

  constructor(worker: WorkerLike) {
    this.#worker = worker;
    worker.addEventListener("message", (event) => {
      const message = event.data as FromWorker;
      if ("leads" in message) {
        this.leads = true;
        this.onLead?.();
      } else this.#receive(message);
    });
    worker.addEventListener("error", () =>
      this.#fail("The worker of the database could not be started or broke down."),
    );
  }

  async open(name: string, backend: DriverOptions["backend"]): Promise<void> {
    const opened = await this.#ask<Opened>({ call: "open", name, backend });
    this.backend = opened.backend;
    this.identity = opened.identity;
  }

  execute(sql: string, params: readonly SqlParam[] = []): Promise<ResultSet> {
    return this.#ask({ call: "execute", sql, params });
  }

  executeMany(sql: string, paramLists: readonly (readonly SqlParam[])[]): Promise<ResultSet> {
    return this.#ask({ call: "executeMany", sql, paramLists });
  }

  script(sql: string): Promise<void> {
    return this.#ask({ call: "script", sql });
  }

  tablesOf(sql: string): Promise<TableUse> {
    return this.#ask({ call: "tablesOf", sql });
  }

  async close(): Promise<void> {
    await this.#ask({ call: "close" });
    this.#worker.terminate();
    this.#fail("The database is closed.");
  }

  #ask<T>(call: Call): Promise<T> {
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: never) => void, reject });
      this.#worker.postMessage({ id, ...call });
    });
  }

  #receive({ id, value, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new LakeSyncError(error.code, error.message, error.details));
    else waiting?.resolve(value as never);
  }

  #fail(message: string): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new LakeSyncError("StorageUnavailable", message));
  }
}

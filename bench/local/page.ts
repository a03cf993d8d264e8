/** In the browser: one device with its outbox, and bare wa-sqlite beside it, each in a worker of its own. */
import { LocalDB } from "../../client/index.ts";
import { type Bare, type Round, type Statements, type Turns, takeTurns, workOf } from "./work.ts";

interface BareWorker {
  postMessage(message: unknown): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  terminate(): void;
}

const { Worker } = globalThis as unknown as { Worker: new (url: URL, options: object) => BareWorker };

class BareSqlite implements Bare {
  readonly #worker: BareWorker;
  #answer: (rows: unknown) => void = () => undefined;

  constructor(worker: BareWorker) {
    this.#worker = worker;
    worker.addEventListener("message", ({ data }) => this.#answer(data));
  }

  answer(): Promise<unknown> {
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  ask(message: unknown): Promise<unknown> {
    const answered = this.answer();
    this.#worker.postMessage(message);
    return answered;
  }

  run(sql: string, params: readonly unknown[]): Promise<unknown> {
    return this.ask({ sql, params });
  }
}

let statements: Statements;

export async function open(backend: "opfs" | "idb" | "memory"): Promise<void> {
  const worker = new Worker(new URL("./bare.js", import.meta.url), { type: "module" });
  const bare = new BareSqlite(worker);
  await bare.answer();
  await bare.ask({ backend });
  statements = await workOf((schema) => LocalDB.open({ name: `bench-${backend}`, backend, schema }), bare);
}

export const round = (turns: Turns): Promise<Round> => takeTurns(statements, turns);

/** In the browser: one device with its outbox, and bare wa-sqlite beside it, each in a worker of its own. */
import { LocalDB, SyncTracker } from "../../client/index.ts";

interface BareWorker {
  postMessage(message: unknown): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
}

const { Worker } = globalThis as unknown as { Worker: new (url: URL, options: object) => BareWorker };

const SCHEMA = {
  orders: {
    owner: { type: "string" },
    name: { type: "string" },
    amount: { type: "number" },
    count: { type: "integer" },
    at: { type: "timestamp" },
  },
} as const;
const QUERY = "SELECT id, owner, name, amount, count, at FROM orders WHERE id = ?";

class Bare {
  readonly #worker: BareWorker;
  #answer: (rows: unknown) => void = () => undefined;

  constructor(worker: BareWorker) {
    this.#worker = worker;
    worker.addEventListener("message", ({ data }) => this.#answer(data));
  }

  ready(): Promise<unknown> {
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  run(sql: string, params: readonly unknown[]): Promise<unknown> {
    const answered = this.ready();
    this.#worker.postMessage({ sql, params });
    return answered;
  }
}

type Work = (n: number) => Promise<unknown>;
type Operation = "insert" | "update" | "query";
/** Microseconds a statement. */
export type Round = Readonly<Record<Operation, { readonly ours: number; readonly bare: number }>>;

let works: Readonly<Record<Operation, { readonly ours: Work; readonly bare: Work }>>;

const idOf = (n: number): string => `order-${String(n).padStart(10, "0")}`;
const cellsOf = (n: number) => ({
  owner: "user-1",
  name: `order number ${n}`,
  amount: n * 1.25,
  count: n % 100,
  at: new Date(1_700_000_000_000 + n),
});
/** As they are stored. */
const boundOf = (n: number): unknown[] => {
  const { owner, name, amount, count, at } = cellsOf(n);
  return [idOf(n), owner, name, amount, count, at.getTime() * 1000];
};

export async function open(): Promise<string> {
  const db = await LocalDB.open({ name: "bench", backend: "opfs", schema: SCHEMA });
  const tracker = new SyncTracker(db);
  const worker = new Worker(new URL("./bare.js", import.meta.url), { type: "module" });
  const bare = new Bare(worker);
  await bare.ready();
  works = {
    insert: {
      ours: (n) => tracker.insert("orders", idOf(n), cellsOf(n)),
      bare: (n) =>
        bare.run("INSERT INTO orders (id, owner, name, amount, count, at) VALUES (?, ?, ?, ?, ?, ?)", boundOf(n)),
    },
    update: {
      ours: (n) => tracker.update("orders", idOf(n), { name: `changed ${n}`, count: n % 77 }),
      bare: (n) => bare.run("UPDATE orders SET name = ?, count = ? WHERE id = ?", [`changed ${n}`, n % 77, idOf(n)]),
    },
    query: {
      ours: (n) => db.query(QUERY, [idOf(n)]),
      bare: (n) => bare.run(QUERY, [idOf(n)]),
    },
  };
  return db.backend;
}

/** Each operation on rows `from` to `from + rows`, ours and bare in turns of `turn` rows. */
export async function round(from: number, rows: number, turn: number): Promise<Round> {
  const timed = async (work: Work, first: number): Promise<number> => {
    const started = performance.now();
    for (let n = first; n < first + turn; n++) await work(n);
    return performance.now() - started;
  };
  const result: Partial<Record<Operation, { ours: number; bare: number }>> = {};
  for (const operation of ["insert", "update", "query"] as const) {
    const { ours, bare } = works[operation];
    const sum = { ours: 0, bare: 0 };
    for (let at = from; at < from + rows; at += turn) {
      sum.ours += await timed(ours, at);
      sum.bare += await timed(bare, at);
    }
    result[operation] = { ours: (sum.ours * 1000) / rows, bare: (sum.bare * 1000) / rows };
  }
  return result as Round;
}

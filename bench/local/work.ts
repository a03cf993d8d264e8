/** Insert, update and query of one row: by the client, and the same statements by bare SQLite. */
import { type LocalDB, type SchemaSpec, SyncTracker } from "../../client/index.ts";

/** SQLite with nothing of ours. */
export interface Bare {
  run(sql: string, params: readonly unknown[]): Promise<unknown>;
}

type Work = (n: number) => Promise<unknown>;
export const OPERATIONS = ["insert", "update", "query"] as const;
type Operation = (typeof OPERATIONS)[number];
export type Statements = Readonly<Record<Operation, { readonly ours: Work; readonly bare: Work }>>;
/** Microseconds a statement. */
export type Round = Readonly<Record<Operation, { readonly ours: number; readonly bare: number }>>;

export interface Turns {
  readonly from: number;
  readonly rows: number;
  readonly turn: number;
}

const SCHEMA = {
  orders: {
    owner: { type: "string" },
    name: { type: "string" },
    amount: { type: "number" },
    count: { type: "integer" },
    at: { type: "timestamp" },
  },
} as const satisfies SchemaSpec;

const INSERT = "INSERT INTO orders (id, owner, name, amount, count, at) VALUES (?, ?, ?, ?, ?, ?)";
const UPDATE = "UPDATE orders SET name = ?, count = ? WHERE id = ?";
const QUERY = "SELECT id, owner, name, amount, count, at FROM orders WHERE id = ?";

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

export async function workOf(open: (schema: SchemaSpec) => Promise<LocalDB>, bare: Bare): Promise<Statements> {
  const db = await open(SCHEMA);
  const tracker = new SyncTracker(db);
  return {
    insert: {
      ours: (n) => tracker.insert("orders", idOf(n), cellsOf(n)),
      bare: (n) => bare.run(INSERT, boundOf(n)),
    },
    update: {
      ours: (n) => tracker.update("orders", idOf(n), { name: `changed ${n}`, count: n % 77 }),
      bare: (n) => bare.run(UPDATE, [`changed ${n}`, n % 77, idOf(n)]),
    },
    query: {
      ours: (n) => db.query(QUERY, [idOf(n)]),
      bare: (n) => bare.run(QUERY, [idOf(n)]),
    },
  };
}

/** Each operation on rows `from` to `from + rows`, ours and bare in turns of `turn` rows. */
export async function takeTurns(statements: Statements, { from, rows, turn }: Turns): Promise<Round> {
  const timed = async (work: Work, first: number): Promise<number> => {
    const started = performance.now();
    for (let n = first; n < first + turn; n++) await work(n);
    return performance.now() - started;
  };
  const result: Partial<Record<Operation, { ours: number; bare: number }>> = {};
  for (const operation of OPERATIONS) {
    const { ours, bare } = statements[operation];
    const sum = { ours: 0, bare: 0 };
    for (let at = from; at < from + rows; at += turn) {
      sum.ours += await timed(ours, at);
      sum.bare += await timed(bare, at);
    }
    result[operation] = { ours: (sum.ours * 1000) / rows, bare: (sum.bare * 1000) / rows };
  }
  return result as Round;
}

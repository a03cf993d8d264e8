/**
 * The row of the benchmarks: five columns of four types, the same for every run. A change of it in every third column
 * stands for what people edit; both sides get the same cells.
 */
import {
  type ClientId,
  type DeltaBatch,
  DeltaBatchBuilder,
  type HlcText,
  hlcToBigInt,
  opOf,
  packHlc,
  type Scalar,
} from "../schemas/index.ts";

export const TABLE = "orders";
export const COLUMNS = [
  { name: "owner", type: "string" },
  { name: "name", type: "string" },
  { name: "amount", type: "number" },
  { name: "count", type: "integer" },
  { name: "at", type: "timestamp" },
] as const;

/** Everyone sees and writes their own rows: a rule with a claim, as most apps have it. */
export const RULES = {
  buckets: [{ name: "own", tables: [TABLE], filters: [{ column: "owner", op: "eq", value: "jwt:sub" }] }],
};
export const USER = "user-1";

export type IdStyle = "counted" | "random";

export interface Edit {
  readonly op: "I" | "U";
  readonly id: string;
  readonly hlc: HlcText;
  readonly cells: Readonly<Record<string, Scalar>>;
}

/** A number that looks random and is the same for the same `n` (SplitMix32). */
export function scramble(n: number): number {
  let z = (n + 0x9e3779b9) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return (z ^ (z >>> 16)) >>> 0;
}

const hex = (n: number): string => n.toString(16).padStart(8, "0");

/** Ids that grow, as counters, ULIDs and UUIDv7 do, or UUIDv4-like ones that land anywhere in the index. */
export function rowId(n: number, style: IdStyle): string {
  if (style === "counted") return `order-${n.toString().padStart(10, "0")}`;
  const [a, b, c] = [hex(scramble(n)), hex(scramble(n + 1e9)), hex(scramble(n + 2e9))];
  return `${a}-${b.slice(0, 4)}-4${b.slice(5)}-8${c.slice(0, 3)}-${c.slice(3)}${a.slice(1)}`;
}

/** Clocks of one device: each later than the one before, none ahead of now. */
export class Clock {
  #millis = 0;
  #counter = 0;

  next(): HlcText {
    const now = Date.now();
    if (now > this.#millis) {
      this.#millis = now;
      this.#counter = 0;
    } else if (++this.#counter > 0xffff) {
      this.#millis++;
      this.#counter = 0;
    }
    return packHlc(this.#millis, this.#counter);
  }
}

export function newRow(n: number, clock: Clock, style: IdStyle): Edit {
  const random = scramble(n);
  const cells = {
    owner: USER,
    name: `Item ${random.toString(36)} of order ${n}`,
    amount: (random % 100_000) / 100,
    count: random % 50,
    at: 1_790_000_000_000_000 + n * 1000,
  };
  return { op: "I", id: rowId(n, style), hlc: clock.next(), cells };
}

/** Two cells of a row that is there. */
export function changedRow(n: number, clock: Clock, style: IdStyle, salt: number): Edit {
  const random = scramble(n + salt);
  const cells = { amount: (random % 100_000) / 100, at: 1_795_000_000_000_000 + random };
  return { op: "U", id: rowId(n, style), hlc: clock.next(), cells };
}

export function toBatch(edits: readonly Edit[]): DeltaBatch {
  const builder = new DeltaBatchBuilder(TABLE);
  for (const { op, id, hlc, cells } of edits) builder.add(op, id, hlc, "" as ClientId, cells);
  return { ...builder.build(), clients: [] };
}

/** The same push as JSON, as docs/http.md has it. */
export function toJsonPush(edits: readonly Edit[], clientId = "device-1"): string {
  const deltas = edits.map(({ op, id, hlc, cells }) => ({
    op: opOf(op),
    table: TABLE,
    rowId: id,
    hlc: hlcToBigInt(hlc).toString(),
    columns: Object.entries(cells).map(([column, value]) => ({ column, value })),
  }));
  return JSON.stringify({ clientId, deltas });
}

/** The same rows for the yardstick, as any app would send them: one object a row, with the cells that the edit names. */
export function toBareJson(edits: readonly Edit[]): string {
  return JSON.stringify(edits.map(({ id, hlc, cells }) => ({ id, hlc, ...cells })));
}

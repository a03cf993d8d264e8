/**
 * Digests of a table's rows (V1): sums of hashes, so that order does not matter and a changed row costs two hashes.
 *
 *   state    every cell with its stamp, and the stamps of the row: device = shard
 *   content  every cell that is not NULL, and the row's newest clock: shard = lake, which keeps no more than that
 *
 * Only rows that are alive count. A hash has 64 bits: made to find mistakes, not to withstand somebody who makes them. True and
 * false count as 1 and 0, which is what a device keeps that was never told a column's type.
 */
import { type HlcText, type Scalar, type Stamp, stampHlc } from "../schemas/index.ts";
import { isAlive, type RowState } from "./merge.ts";

/** Two lanes of 32 bits each. */
let a = 0;
let b = 0;

function text(value: string): void {
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    a = Math.imul(a ^ code, 0x9e3779b1);
    b = Math.imul(b ^ code, 0x5f356495);
  }
  // Where one text ends and the next begins counts.
  a = Math.imul(a ^ (a >>> 15) ^ 0x10000, 0x85ebca77);
  b = Math.imul(b ^ (b >>> 13) ^ 0x10000, 0xc2b2ae3d);
}

function scalar(value: Scalar): void {
  if (typeof value === "string") text(`"${value}`);
  else text(value === null ? "" : String(Number(value)));
}

/** Finishes a hash (MurmurHash3's last step, each lane with a part of the other). */
const finish = (x: number, y: number): number => {
  let hash = x ^ Math.imul(y ^ (y >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
};

/** What one row adds to its table's digest. */
export interface RowDigest {
  readonly state: readonly [number, number];
  readonly content: readonly [number, number];
}

const hex = (lanes: readonly [number, number]): string =>
  lanes.map((lane) => lane.toString(16).padStart(8, "0")).join("");
const lanesOf = (digits: string): [number, number] => [
  Number.parseInt(digits.slice(0, 8), 16),
  Number.parseInt(digits.slice(8), 16),
];
const TEXT = /^(\d{1,15})-([0-9a-f]{16})-([0-9a-f]{16})$/;

/** Collects the cells of one row. */
class RowHash {
  state: [number, number] = [0, 0];
  content: [number, number] = [0, 0];
  readonly #a: number;
  readonly #b: number;

  constructor(id: string) {
    a = 0x3c6ef372;
    b = 0x1b873593;
    text(id);
    this.#a = a;
    this.#b = b;
  }

  #add(lanes: [number, number]): void {
    lanes[0] = (lanes[0] + finish(a, b)) >>> 0;
    lanes[1] = (lanes[1] + finish(b, a)) >>> 0;
  }

  /** @param stamp absent where only content is known */
  cell(column: string, value: Scalar, stamp?: Stamp): void {
    a = this.#a;
    b = this.#b;
    text(column);
    scalar(value);
    if (value !== null) this.#add(this.content);
    if (stamp === undefined) return;
    text(stamp);
    this.#add(this.state);
  }

  /** @param stamps of insert and delete, in that order; absent where only content is known */
  row(newest: HlcText, stamps?: readonly [Stamp, Stamp]): void {
    a = this.#a;
    b = this.#b;
    text(newest);
    this.#add(this.content);
    if (!stamps) return;
    a = this.#a;
    b = this.#b;
    text(stamps[0]);
    text(stamps[1]);
    this.#add(this.state);
  }
}

/** @param nameOf of a cell's column; undefined for one that was dropped @returns undefined for a row that is dead */
export function rowDigest(
  id: string,
  row: RowState,
  nameOf: (column: string) => string | undefined,
): RowDigest | undefined {
  if (!isAlive(row)) return undefined;
  const hash = new RowHash(id);
  let newest: Stamp = row.inserted;
  for (const { stamp, cells } of row.layers) {
    if (stamp > newest) newest = stamp;
    for (const column in cells) {
      const name = nameOf(column);
      if (name !== undefined) hash.cell(name, cells[column] as Scalar, stamp);
    }
  }
  hash.row(stampHlc(newest), [row.inserted, row.deleted]);
  return hash;
}

/** The content of a row that is known without its stamps. */
export function contentDigest(id: string, hlc: HlcText, cells: Iterable<readonly [string, Scalar]>): RowDigest {
  const hash = new RowHash(id);
  for (const [column, value] of cells) hash.cell(column, value);
  hash.row(hlc);
  return hash;
}

/** Of some rows of one table; the rows of several shards add up. */
export class TableDigest {
  #rows = 0;
  readonly #state: [number, number] = [0, 0];
  readonly #content: [number, number] = [0, 0];

  /** @returns undefined for what is no digest */
  static parse(digest: string): TableDigest | undefined {
    const [, rows, state = "", content = ""] = TEXT.exec(digest) ?? [];
    if (rows === undefined) return undefined;
    const parsed = new TableDigest();
    parsed.#plus(Number(rows), 1, { state: lanesOf(state), content: lanesOf(content) });
    return parsed;
  }

  #plus(rows: number, sign: 1 | -1, { state, content }: RowDigest): void {
    this.#rows += rows;
    for (const lane of [0, 1] as const) {
      this.#state[lane] = (this.#state[lane] + sign * state[lane]) >>> 0;
      this.#content[lane] = (this.#content[lane] + sign * content[lane]) >>> 0;
    }
  }

  get rows(): number {
    return this.#rows;
  }

  /** What lakes know: rows and content. */
  get content(): string {
    return `${this.#rows}-${hex(this.#content)}`;
  }

  add(row: RowDigest | undefined): void {
    if (row) this.#plus(1, 1, row);
  }

  remove(row: RowDigest | undefined): void {
    if (row) this.#plus(-1, -1, row);
  }

  addTable(other: TableDigest): void {
    this.#plus(other.#rows, 1, { state: other.#state, content: other.#content });
  }

  copy(): TableDigest {
    const copy = new TableDigest();
    copy.addTable(this);
    return copy;
  }

  /** `rows-state-content`: a decimal number and twice 16 hex digits. */
  toString(): string {
    return `${this.#rows}-${hex(this.#state)}-${hex(this.#content)}`;
  }
}

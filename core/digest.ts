/**
 * Digests of a table's rows (V1): sums of hashes, so that order does not matter and a changed row costs two hashes.
 *
 *   state    every cell with its stamp, and the stamps of the row: device = shard
 *   content  every cell that is not NULL, and the row's newest clock: shard = lake, which keeps no more than that
 *
 * Only rows that are alive count. A hash has 64 bits: made to find mistakes, not to withstand somebody who makes them. True and
 * false count as 1 and 0, which is what a device keeps that was never told a column's type.
 */
import { HLC_TEXT_CHARS, type HlcText, NO_STAMP, type Scalar, type Stamp } from "../schemas/index.ts";
import { type ColumnKey, isAlive, newestStamp, type RowState } from "./merge.ts";

/** The hash under way, two lanes of 32 bits: a typed array keeps them as they are, where a variable would box them. */
const lanes = new Int32Array(2);

function text(value: string, length = value.length): void {
  let x = lanes[0] as number;
  let y = lanes[1] as number;
  for (let at = 0; at < length; at += 2) {
    const pair = value.charCodeAt(at) | (at + 1 < length ? value.charCodeAt(at + 1) << 16 : 0);
    x = Math.imul(((x << 13) | (x >>> 19)) ^ pair, 0x9e3779b1);
    y = Math.imul(((y << 17) | (y >>> 15)) ^ pair, 0x5f356495);
  }
  // Where one text ends and the next begins counts.
  lanes[0] = Math.imul(x ^ (x >>> 15) ^ length, 0x85ebca77);
  lanes[1] = Math.imul(y ^ (y >>> 13) ^ ~length, 0xc2b2ae3d);
}

const float = new Float64Array(1);
const halves = new Int32Array(float.buffer);

/** By its bits; there is one zero. */
function number(value: number): void {
  float[0] = value + 0;
  const low = halves[0] as number;
  const high = halves[1] as number;
  const x = Math.imul((lanes[0] as number) ^ low, 0x9e3779b1);
  const y = Math.imul((lanes[1] as number) ^ high, 0x5f356495);
  lanes[0] = Math.imul(x ^ (x >>> 15) ^ high, 0x85ebca77);
  lanes[1] = Math.imul(y ^ (y >>> 13) ^ low, 0xc2b2ae3d);
}

/** Finishes a hash (MurmurHash3's last step, each lane with a part of the other). */
function finish(x: number, y: number): number {
  let hash = x ^ Math.imul(y ^ (y >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/** What one row adds to its table's digest: two lanes of `state`, two of `content`. */
export interface RowDigest {
  readonly sums: Int32Array;
}

/** Collects the cells of one row, or what makes one state of it differ from another. */
class RowHash {
  readonly sums = new Int32Array(4);
  /** Whether what comes counts, or is taken away. */
  sign: 1 | -1 = 1;
  /** Two lanes of the row's id, and two of the stamp that the next cells have. */
  readonly #seed = new Int32Array(4);

  /** Forgets what it has. */
  begin(id: string): this {
    this.sums.fill(0);
    this.sign = 1;
    lanes[0] = 0x3c6ef372;
    lanes[1] = 0x1b873593;
    text(id);
    this.#seed.set(lanes);
    return this;
  }

  #start(): void {
    lanes[0] = this.#seed[0] as number;
    lanes[1] = this.#seed[1] as number;
  }

  /** @param at 0 for `state`, 2 for `content` */
  #add(at: 0 | 2, x: number, y: number): void {
    const { sums, sign } = this;
    sums[at] = (sums[at] as number) + sign * finish(x, y);
    sums[at + 1] = (sums[at + 1] as number) + sign * finish(y, x);
  }

  #addContent(): void {
    this.#add(2, lanes[0] as number, lanes[1] as number);
  }

  #addState(): void {
    const x = Math.imul((lanes[0] as number) ^ (this.#seed[2] as number), 0xcc9e2d51);
    this.#add(0, x, Math.imul((lanes[1] as number) ^ (this.#seed[3] as number), 0x1b873593));
  }

  /** Of the cells that follow. */
  stamp(stamp: string): void {
    this.#start();
    text(stamp);
    this.#seed.set(lanes, 2);
  }

  /** @param stamped whether a stamp was given; where not, only content is known */
  cell(column: string, value: Scalar, stamped: boolean): void {
    this.#start();
    text(column);
    // What is text and what is not has to differ.
    if (typeof value === "string") lanes[0] = ~(lanes[0] as number);
    if (typeof value === "string" || value === null) text(value ?? "");
    else number(Number(value));
    if (value !== null) this.#addContent();
    if (stamped) this.#addState();
  }

  /** @param newest a clock, or a stamp that begins with it */
  newest(newest: HlcText | Stamp): void {
    this.#start();
    text(newest, HLC_TEXT_CHARS);
    this.#addContent();
  }

  marks(inserted: Stamp, deleted: Stamp): void {
    this.stamp(inserted);
    this.#start();
    text(deleted);
    this.#addState();
  }
}

type NameOf<C> = (column: C) => string | undefined;

/** @param only these columns' cells */
function addCells<C extends ColumnKey>(hash: RowHash, row: RowState<C>, nameOf: NameOf<C>, only?: readonly C[]): void {
  for (const { stamp, columns, values } of row.layers) {
    let stamped = false;
    for (let k = 0; k < columns.length; k++) {
      const column = columns[k] as C;
      if (only && !only.includes(column)) continue;
      const name = nameOf(column);
      if (name === undefined) continue;
      if (!stamped) hash.stamp(stamp);
      stamped = true;
      hash.cell(name, values[k] as Scalar, true);
    }
  }
}

function addRow<C extends ColumnKey>(hash: RowHash, row: RowState<C>, nameOf: NameOf<C>): void {
  addCells(hash, row, nameOf);
  hash.newest(newestStamp(row));
  hash.marks(row.inserted, row.deleted);
}

/**
 * @param nameOf of a cell's column; undefined for one that was dropped
 * @returns undefined for a row that is dead
 */
export function rowDigest<C extends ColumnKey>(id: string, row: RowState<C>, nameOf: NameOf<C>): RowDigest | undefined {
  if (!isAlive(row)) return undefined;
  const hash = new RowHash().begin(id);
  addRow(hash, row, nameOf);
  return hash;
}

/**
 * What edits do to their table's digest, one after the other: begun before a row is merged in place, added after it. Where
 * the row stays alive, only the columns that the edit names are looked at.
 */
export class DigestChange<C extends ColumnKey> {
  readonly #hash = new RowHash();
  readonly #nameOf: NameOf<C>;
  #alive = false;
  #newest = NO_STAMP;
  #inserted = NO_STAMP;
  #deleted = NO_STAMP;
  #only: readonly C[] | undefined;

  constructor(nameOf: NameOf<C>) {
    this.#nameOf = nameOf;
  }

  /** @param edited columns that an edit names which leaves a living row alive; otherwise left out */
  begin(id: string, before: RowState<C>, edited?: readonly C[]): void {
    const hash = this.#hash.begin(id);
    this.#alive = isAlive(before);
    this.#only = this.#alive ? edited : undefined;
    this.#newest = newestStamp(before);
    this.#inserted = before.inserted;
    this.#deleted = before.deleted;
    hash.sign = -1;
    if (this.#only) addCells(hash, before, this.#nameOf, this.#only);
    else if (this.#alive) addRow(hash, before, this.#nameOf);
  }

  /** @param after the row, merged */
  addTo(digest: TableDigest, after: RowState<C>): void {
    const alive = isAlive(after);
    if (this.#only) this.#addMarks(after);
    this.#hash.sign = 1;
    if (this.#only) addCells(this.#hash, after, this.#nameOf, this.#only);
    else if (alive) addRow(this.#hash, after, this.#nameOf);
    digest.change(Number(alive) - Number(this.#alive), this.#hash);
  }

  /** Of a row that stays alive: what it has beside its cells. */
  #addMarks(after: RowState<C>): void {
    const hash = this.#hash;
    const newest = newestStamp(after);
    if (newest !== this.#newest) {
      hash.newest(this.#newest);
      hash.sign = 1;
      hash.newest(newest);
    }
    if (after.inserted === this.#inserted && after.deleted === this.#deleted) return;
    hash.sign = -1;
    hash.marks(this.#inserted, this.#deleted);
    hash.sign = 1;
    hash.marks(after.inserted, after.deleted);
  }
}

/** The content of a row that is known without its stamps. */
export function contentDigest(id: string, hlc: HlcText, cells: Iterable<readonly [string, Scalar]>): RowDigest {
  const hash = new RowHash().begin(id);
  for (const [column, value] of cells) hash.cell(column, value, false);
  hash.newest(hlc);
  return hash;
}

const hex = (lane: number | undefined): string => ((lane ?? 0) >>> 0).toString(16).padStart(8, "0");

/** The sum of some rows: as much of a digest as a device needs. */
export class RowsDigest {
  protected count = 0;
  /** Two lanes of `state`, two of `content`. */
  readonly sums = new Int32Array(4);

  protected plus(rows: number, sign: 1 | -1, row: RowDigest): void {
    this.count += rows;
    for (let at = 0; at < 4; at++) this.sums[at] = (this.sums[at] as number) + sign * (row.sums[at] as number);
  }

  /** @param row undefined for one that is dead */
  add(row: RowDigest | undefined): void {
    if (row) this.plus(1, 1, row);
  }

  /** `rows-state-content`: a decimal number and twice 16 hex digits. */
  toString(): string {
    const [a, b, c, d] = this.sums;
    return `${this.count}-${hex(a)}${hex(b)}-${hex(c)}${hex(d)}`;
  }
}

const TEXT = /^(\d{1,15})-([0-9a-f]{8})([0-9a-f]{8})-([0-9a-f]{8})([0-9a-f]{8})$/;

/** Of a table, as it is kept: rows come and go, and the parts that several shards have add up. */
export class TableDigest extends RowsDigest {
  /** @returns undefined for what is no digest */
  static parse(digest: string): TableDigest | undefined {
    const [, rows, ...digits] = TEXT.exec(digest) ?? [];
    if (rows === undefined) return undefined;
    const parsed = new TableDigest();
    parsed.count = Number(rows);
    parsed.sums.set(digits.map((lane) => Number.parseInt(lane, 16)));
    return parsed;
  }

  /** Of parts of a table, each as text. */
  static sum(digests: Iterable<string>): TableDigest {
    const sum = new TableDigest();
    for (const digest of digests) {
      const part = TableDigest.parse(digest);
      if (part) sum.addTable(part);
    }
    return sum;
  }

  get rows(): number {
    return this.count;
  }

  /** What lakes know: rows and content. */
  get content(): string {
    return `${this.count}-${hex(this.sums[2])}${hex(this.sums[3])}`;
  }

  remove(row: RowDigest | undefined): void {
    if (row) this.plus(-1, -1, row);
  }

  /** @param rows how many more are alive, or fewer @param difference of the row's digest, after it and before */
  change(rows: number, difference: RowDigest): void {
    this.plus(rows, 1, difference);
  }

  addTable(other: TableDigest): void {
    this.plus(other.count, 1, other);
  }

  copy(): TableDigest {
    const copy = new TableDigest();
    copy.addTable(this);
    return copy;
  }
}

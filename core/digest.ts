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
import { type ColumnKey, isAlive, newestStamp, type RowState } from "./merge.ts";

/** The hash under way, two lanes of 32 bits: a typed array keeps them as they are, where a variable would box them. */
const lanes = new Int32Array(2);

function text(value: string): void {
  let x = lanes[0] as number;
  let y = lanes[1] as number;
  const { length } = value;
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

/** What one row adds to its table's digest: two lanes of each sum. */
export interface RowDigest {
  readonly state0: number;
  readonly state1: number;
  readonly content0: number;
  readonly content1: number;
}

/** Collects the cells of one row. */
class RowHash {
  state0 = 0;
  state1 = 0;
  content0 = 0;
  content1 = 0;
  /** Of the row's id. */
  readonly #row0: number;
  readonly #row1: number;
  /** Of the stamp that the next cells have. */
  #stamp0 = 0;
  #stamp1 = 0;

  constructor(id: string) {
    this.#start(0x3c6ef372, 0x1b873593);
    text(id);
    this.#row0 = lanes[0] as number;
    this.#row1 = lanes[1] as number;
  }

  #start(x: number, y: number): void {
    lanes[0] = x;
    lanes[1] = y;
  }

  #addContent(): void {
    const x = lanes[0] as number;
    const y = lanes[1] as number;
    this.content0 = (this.content0 + finish(x, y)) | 0;
    this.content1 = (this.content1 + finish(y, x)) | 0;
  }

  #addState(): void {
    const x = Math.imul((lanes[0] as number) ^ this.#stamp0, 0xcc9e2d51);
    const y = Math.imul((lanes[1] as number) ^ this.#stamp1, 0x1b873593);
    this.state0 = (this.state0 + finish(x, y)) | 0;
    this.state1 = (this.state1 + finish(y, x)) | 0;
  }

  /** Of the cells that follow. */
  stamp(stamp: string): void {
    this.#start(this.#row0, this.#row1);
    text(stamp);
    this.#stamp0 = lanes[0] as number;
    this.#stamp1 = lanes[1] as number;
  }

  /** @param stamped whether a stamp was given; where not, only content is known */
  cell(column: string, value: Scalar, stamped: boolean): void {
    this.#start(this.#row0, this.#row1);
    text(column);
    // What is text and what is not has to differ.
    if (typeof value === "string") lanes[0] = ~(lanes[0] as number);
    if (typeof value === "string" || value === null) text(value ?? "");
    else number(Number(value));
    if (value !== null) this.#addContent();
    if (stamped) this.#addState();
  }

  newest(newest: HlcText): void {
    this.#start(this.#row0, this.#row1);
    text(newest);
    this.#addContent();
  }

  marks(inserted: Stamp, deleted: Stamp): void {
    this.stamp(inserted);
    this.#start(this.#row0, this.#row1);
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
  hash.newest(stampHlc(newestStamp(row)));
  hash.marks(row.inserted, row.deleted);
}

/**
 * @param nameOf of a cell's column; undefined for one that was dropped
 * @returns undefined for a row that is dead
 */
export function rowDigest<C extends ColumnKey>(id: string, row: RowState<C>, nameOf: NameOf<C>): RowDigest | undefined {
  if (!isAlive(row)) return undefined;
  const hash = new RowHash(id);
  addRow(hash, row, nameOf);
  return hash;
}

/**
 * What an edit does to its table's digest: made before the row is merged in place, finished after it. Where the row stays
 * alive, only the columns that the edit names are looked at.
 */
export class DigestChange<C extends ColumnKey> {
  readonly #was: RowHash;
  readonly #now: RowHash;
  readonly #nameOf: NameOf<C>;
  readonly #alive: boolean;
  readonly #newest: Stamp;
  readonly #inserted: Stamp;
  readonly #deleted: Stamp;
  readonly #only: readonly C[] | undefined;

  /** @param edited columns that an edit names which leaves a living row alive; otherwise left out */
  constructor(id: string, before: RowState<C>, nameOf: NameOf<C>, edited?: readonly C[]) {
    this.#was = new RowHash(id);
    this.#now = new RowHash(id);
    this.#nameOf = nameOf;
    this.#alive = isAlive(before);
    this.#only = this.#alive ? edited : undefined;
    this.#newest = newestStamp(before);
    this.#inserted = before.inserted;
    this.#deleted = before.deleted;
    if (this.#only) addCells(this.#was, before, nameOf, this.#only);
    else if (this.#alive) addRow(this.#was, before, nameOf);
  }

  /** @param after the row, merged */
  addTo(digest: TableDigest, after: RowState<C>): void {
    const alive = isAlive(after);
    if (this.#only) this.#addDifference(after, this.#only);
    else if (alive) addRow(this.#now, after, this.#nameOf);
    digest.change(Number(alive) - Number(this.#alive), this.#was, this.#now);
  }

  #addDifference(after: RowState<C>, only: readonly C[]): void {
    addCells(this.#now, after, this.#nameOf, only);
    const newest = newestStamp(after);
    if (newest !== this.#newest) {
      this.#was.newest(stampHlc(this.#newest));
      this.#now.newest(stampHlc(newest));
    }
    if (after.inserted !== this.#inserted || after.deleted !== this.#deleted) {
      this.#was.marks(this.#inserted, this.#deleted);
      this.#now.marks(after.inserted, after.deleted);
    }
  }
}

/** The content of a row that is known without its stamps. */
export function contentDigest(id: string, hlc: HlcText, cells: Iterable<readonly [string, Scalar]>): RowDigest {
  const hash = new RowHash(id);
  for (const [column, value] of cells) hash.cell(column, value, false);
  hash.newest(hlc);
  return hash;
}

const hex = (lane: number | undefined): string => ((lane ?? 0) >>> 0).toString(16).padStart(8, "0");

/** The sum of some rows: as much of a digest as a device needs. */
export class RowsDigest {
  protected count = 0;
  /** Two lanes of `state`, two of `content`. */
  protected readonly sums = new Int32Array(4);

  protected plus(rows: number, sign: 1 | -1, row: RowDigest): void {
    const { sums } = this;
    this.count += rows;
    sums[0] = (sums[0] as number) + sign * row.state0;
    sums[1] = (sums[1] as number) + sign * row.state1;
    sums[2] = (sums[2] as number) + sign * row.content0;
    sums[3] = (sums[3] as number) + sign * row.content1;
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

  /** @param rows how many more are alive, or fewer */
  change(rows: number, was: RowDigest, now: RowDigest): void {
    this.plus(rows, -1, was);
    this.plus(0, 1, now);
  }

  addTable(other: TableDigest): void {
    const [state0 = 0, state1 = 0, content0 = 0, content1 = 0] = other.sums;
    this.plus(other.count, 1, { state0, state1, content0, content1 });
  }

  copy(): TableDigest {
    const copy = new TableDigest();
    copy.addTable(this);
    return copy;
  }
}

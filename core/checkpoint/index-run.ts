/**
 * Which rows have which value in a column that sync rules name: so that a device that may see a hundred rows of a million is
 * told of a hundred, not of a million. An index is made of runs, each over the rows of some chunks. A run is sorted by value and
 * cut into blocks, and its directory says with which value each begins: a reader fetches those that can hold what it wants.
 *
 * What is looked up may have changed since, and is judged by the rules in any case.
 */
import { type ColumnType, compareScalars, type Scalar } from "../../schemas/index.ts";
import type { Selector } from "../sync-rules.ts";

type Value = Exclude<Scalar, null>;

/** The directory and its blocks. */
export const INDEX_PARTS = 256;

type Entry = readonly [Value, string[]];

export class IndexRun {
  readonly #ids = new Map<Value, string[]>();
  readonly type: ColumnType;
  /** Characters of all ids. */
  chars = 0;

  constructor(type: ColumnType) {
    this.type = type;
  }

  add(value: Value, id: string): void {
    const ids = this.#ids.get(value);
    if (ids) ids.push(id);
    else this.#ids.set(value, [id]);
    this.chars += id.length + 3;
  }

  /** JSON texts: the directory, which is a list of values, and the blocks, which are lists of values with their ids. */
  parts(): string[] {
    const sorted = [...this.#ids].sort(([a], [b]) => compareScalars(this.type, a, b));
    const share = this.chars / (INDEX_PARTS - 2);
    const blocks: Entry[][] = [];
    let block: Entry[] = [];
    let chars = 0;
    for (const [value, ids] of sorted) {
      let some: string[] = [];
      block.push([value, some]);
      for (const id of ids) {
        // A value of many rows goes on in the next block.
        if (chars >= share) {
          blocks.push(block);
          some = [];
          block = [[value, some]];
          chars = 0;
        }
        some.push(id);
        chars += id.length + 3;
      }
    }
    if (block.length > 0) blocks.push(block);
    return [blocks.map(([entry]) => entry?.[0]), ...blocks].map((part) => JSON.stringify(part));
  }
}

/** Which parts of a run can hold what is asked for: a block reaches to where the next begins. */
export function partsFor(directory: string, selectors: readonly Selector[]): number[] {
  const firsts = JSON.parse(directory) as Value[];
  return firsts.flatMap((first, at) => {
    const next = firsts[at + 1];
    const holds = selectors.some(({ column: { type }, ranges }) =>
      ranges.some(
        ({ from, to }) =>
          (to === undefined || compareScalars(type, first, to) <= 0) &&
          (from === undefined || next === undefined || compareScalars(type, next, from) >= 0),
      ),
    );
    return holds ? [at + 1] : [];
  });
}

/** Ids of rows in a block that have a value which is asked for. */
export const idsIn = (block: string, selectors: readonly Selector[]): string[] =>
  (JSON.parse(block) as Entry[]).flatMap(([value, ids]) => (selectors.some(({ holds }) => holds(value)) ? ids : []));

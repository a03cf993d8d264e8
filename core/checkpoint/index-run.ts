/**
 * Which rows have which value in a column that sync rules name: so that a device that may see a hundred rows of a million is
 * told of a hundred, not of a million. An index is made of runs, each over the rows of some chunks; a run has buckets of
 * values by hash, so that a reader fetches one bucket of each.
 *
 * Values are known by hash: what is looked up may be more than what matches, and is judged by the rules in any case.
 */
import type { Scalar } from "../../schemas/index.ts";
import { rowHash } from "../shard/config.ts";

export const INDEX_BUCKETS = 256;

const keyOf = (value: Scalar): number => rowHash(JSON.stringify(value));

/** Ids by a value's hash. */
type Bucket = Record<string, string[]>;

export class IndexRun {
  readonly #buckets: Bucket[] = Array.from({ length: INDEX_BUCKETS }, () => ({}));
  /** Characters of all ids. */
  chars = 0;

  add(value: Scalar, id: string): void {
    const key = keyOf(value);
    const bucket = this.#buckets[key % INDEX_BUCKETS] as Bucket;
    const ids = bucket[key];
    if (ids) ids.push(id);
    else bucket[key] = [id];
    this.chars += id.length + 3;
  }

  /** Each bucket as JSON text. */
  texts(): string[] {
    return this.#buckets.map((bucket) => JSON.stringify(bucket));
  }
}

/** Values by the bucket that they are in. */
export const bucketsOf = (values: readonly Scalar[]): Map<number, Scalar[]> =>
  Map.groupBy(values, (value) => keyOf(value) % INDEX_BUCKETS);

/** Ids of rows that may have one of these values. */
export function idsIn(text: string, values: readonly Scalar[]): string[] {
  const bucket = JSON.parse(text) as Bucket;
  return [...new Set(values.map(keyOf))].flatMap((key) => bucket[key] ?? []);
}

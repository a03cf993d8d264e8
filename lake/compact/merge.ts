/**
 * Many sorted files as one sorted stream. A file is opened when the stream reaches its first key, so that of files which
 * lie side by side one is open at a time; of an open file one row group is held.
 *
 *   open what begins before the end of the shortest open group
 *   take from every open group the rows up to where the first of them runs out, sort those together
 *   read on in the files that ran out
 *
 * Rows with the same key all stay: which of them are superseded is what delete files say, and nothing else.
 */

import type { Key } from "./sort-key.ts";
import type { Group, Source, SourceContext } from "./source.ts";

/** Files opened at once; a Worker has six connections. */
const CONCURRENCY = 6;

/** Rows in the order of the key. */
export interface Sorted {
  readonly groups: readonly Group[];
  /** Of each row the group that it is in, and its number there. */
  readonly from: Uint32Array;
  readonly rows: Uint32Array;
}

interface Open {
  readonly source: Source;
  readonly group: Group;
  /** Rows before this one have been handed out. */
  at: number;
}

export async function* merge(sources: readonly Source[], { key }: SourceContext): AsyncGenerator<Sorted> {
  const waiting = [...sources].sort((a, b) => byLower(a, b, key.compare));
  let open: Open[] = [];
  for (;;) {
    if (open.length === 0 && waiting.length === 0) return;
    const reach = open.length === 0 ? waiting[0]?.lower : least(open.map(lastKey), key.compare);
    const due = waiting.findIndex(
      ({ lower }) => lower !== undefined && (reach === undefined || key.compare(lower, reach) > 0),
    );
    const opening = waiting.splice(0, due === -1 ? waiting.length : due);
    if (opening.length > 0) {
      open.push(...(await readAll(opening)));
      continue; // what was opened may end sooner
    }
    yield take(open, boundOf(open, waiting[0]?.lower, key.compare), key);
    const drained = open.filter((each) => each.at >= each.group.keys.length);
    open = open.filter((each) => each.at < each.group.keys.length);
    open.push(...(await readAll(drained.filter((each) => each.source.more).map((each) => each.source))));
  }
}

async function readAll(sources: readonly Source[]): Promise<Open[]> {
  const open: Open[] = [];
  for (let at = 0; at < sources.length; at += CONCURRENCY) {
    const few = sources.slice(at, at + CONCURRENCY);
    const groups = await Promise.all(few.map((source) => source.read()));
    groups.forEach((group, of) => {
      if (group) open.push({ source: few[of] as Source, group, at: 0 });
    });
  }
  return open;
}

interface Bound {
  readonly key: Key;
  /** Whether rows with this very key may go. */
  readonly inclusive: boolean;
}

/** Up to where nothing that is not open can come between: the end of a group that others follow, or the next file. */
function boundOf(
  open: readonly Open[],
  next: Key | undefined,
  compare: SourceContext["key"]["compare"],
): Bound | undefined {
  const unfinished = open.filter((each) => each.source.more).map(lastKey);
  const end = least(unfinished, compare);
  if (next === undefined) return end === undefined ? undefined : { key: end, inclusive: true };
  if (end === undefined || compare(next, end) <= 0) return { key: next, inclusive: false };
  return { key: end, inclusive: true };
}

const lastKey = (open: Open): Key => open.group.keys.at(-1) as Key;

const least = (keys: readonly Key[], compare: SourceContext["key"]["compare"]): Key | undefined =>
  keys.length === 0 ? undefined : keys.reduce((a, b) => (compare(b, a) < 0 ? b : a));

/** Rows of all open groups up to a bound, which they have handed out then. */
function take(open: readonly Open[], bound: Bound | undefined, key: SourceContext["key"]): Sorted {
  const compare = open.every((each) => each.group.plain) ? key.comparePlain : key.compare;
  const ends = open.map(({ group, at }) => (bound ? endOf(group.keys, at, bound, key.compare) : group.keys.length));
  const parts = open
    .map((each, of) => ({ each, of, end: ends[of] as number }))
    .filter(({ each, end }) => end > each.at);
  const count = parts.reduce((sum, { each, end }) => sum + end - each.at, 0);
  const keys: Key[] = [];
  const from = new Uint32Array(count);
  const rows = new Uint32Array(count);
  for (const { each, of, end } of parts) {
    for (let at = each.at; at < end; at++) {
      from[keys.length] = of;
      rows[keys.length] = each.group.rows[at] as number;
      keys.push(each.group.keys[at] as Key);
    }
    each.at = end;
  }
  const groups = open.map((each) => each.group);
  if (parts.length <= 1) return { groups, from, rows };
  // Sorted runs one after the other: the engine's merge sort finds them.
  const order = Array.from({ length: count }, (_, at) => at).sort((a, b) => compare(keys[a] as Key, keys[b] as Key));
  return {
    groups,
    from: Uint32Array.from(order, (at) => from[at] as number),
    rows: Uint32Array.from(order, (at) => rows[at] as number),
  };
}

/** Index after the last key within the bound. */
function endOf(keys: readonly Key[], start: number, bound: Bound, compare: SourceContext["key"]["compare"]): number {
  let [from, to] = [start, keys.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    const order = compare(keys[middle] as Key, bound.key);
    if (order < 0 || (order === 0 && bound.inclusive)) from = middle + 1;
    else to = middle;
  }
  return from;
}

function byLower(a: Source, b: Source, compare: SourceContext["key"]["compare"]): number {
  if (a.lower === undefined || b.lower === undefined)
    return Number(b.lower === undefined) - Number(a.lower === undefined);
  return compare(a.lower, b.lower);
}

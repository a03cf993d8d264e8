/**
 * Which files a compaction merges: a pure decision over what manifests and delete files say of them.
 *
 *   small   files below half the target, in three size classes, each `minInputs` times the one below. Where a class has
 *           `minInputs` files, they are merged, and all smaller ones with them. So a row is rewritten once a class.
 *   dirty   large files of which many rows are gone, and files that equality deletes apply to: rewritten
 *   deep    large files that more than `maxDepth` others overlap at one key: merged into files side by side. So a table
 *           that grows is a few layers of files, each sorted and without overlap, and a merge touches one place.
 *
 * A job takes so many of the files as its memory and its time allow; the rest is for the next.
 */

/** A live data file. */
export interface FileState<Key> {
  readonly path: string;
  readonly rows: number;
  /** Rows that position deletes removed. */
  readonly dead: number;
  readonly bytes: number;
  readonly rowGroups: number;
  /** Bounds of the sort key; undefined where the manifest has none. */
  readonly lower: Key | undefined;
  readonly upper: Key | undefined;
  /** Whether equality deletes apply to it. */
  readonly equality: boolean;
  /** Whether its rows are known to be out of order, so that all of its row groups are held at once. */
  readonly unsorted: boolean;
}

export interface Policy {
  readonly targetRows: number;
  readonly targetBytes: number;
  readonly minInputs: number;
  readonly deleteRatio: number;
  readonly maxDepth: number;
  readonly jobRows: number;
  readonly jobBytes: number;
  readonly openBytes: number;
}

export type Compare<Key> = (a: Key, b: Key) => number;

/** Files to merge with each other; empty when there is nothing to do. @param columns how many the table has */
export function chooseFiles<Key>(
  files: readonly FileState<Key>[],
  policy: Policy,
  compare: Compare<Key>,
  columns: number,
): readonly FileState<Key>[] {
  // Files without a live row cost nothing: they go with whatever is done, or alone.
  const empty = files.filter((file) => file.dead >= file.rows);
  const ordered = files.filter((file) => file.dead < file.rows).sort((a, b) => byLower(a, b, compare));
  const withinJob = (candidates: readonly FileState<Key>[]) => within(candidates, policy, compare, columns);
  for (const candidates of [
    smallFiles(ordered, policy),
    ordered.filter((file) => file.equality),
    ordered.filter((file) => !isSmall(file, policy) && file.dead >= file.rows * policy.deleteRatio),
    deepFiles(ordered, policy, compare),
  ]) {
    const chosen = withinJob(candidates);
    if (chosen.length > 1 || chosen.some((file) => file.dead > 0 || file.equality)) return [...empty, ...chosen];
  }
  return empty;
}

/** Share of the target that a file's live rows are. */
const share = ({ rows, dead, bytes }: FileState<unknown>, policy: Policy): number =>
  Math.max((rows - dead) / policy.targetRows, (bytes * (1 - dead / rows)) / policy.targetBytes);

const isSmall = (file: FileState<unknown>, policy: Policy): boolean => share(file, policy) < 0.5;

/** Below the smallest class files are so small that to rewrite them again costs less than a request. */
const SMALLEST_CLASS = 2;

/** All small files up to the largest class that has enough of them. */
function smallFiles<Key>(files: readonly FileState<Key>[], policy: Policy): readonly FileState<Key>[] {
  const base = Math.log(Math.max(2, policy.minInputs));
  const classOf = (file: FileState<Key>) =>
    Math.min(SMALLEST_CLASS, Math.floor(Math.log(1 / share(file, policy)) / base));
  const small = files.filter((file) => isSmall(file, policy));
  const classes = Map.groupBy(small, classOf);
  const full = [...classes].filter(([, members]) => members.length >= policy.minInputs).map(([of]) => of);
  const largest = Math.min(...full);
  return small.filter((file) => classOf(file) >= largest);
}

/**
 * The large files that hold one key, at the first key that too many hold. Files that meet in one key do not count as
 * overlapping: shards number their edits independently, so where one file of a history ends the next may begin.
 * @param files by lower bound
 */
function deepFiles<Key>(
  files: readonly FileState<Key>[],
  policy: Policy,
  compare: Compare<Key>,
): readonly FileState<Key>[] {
  let open: FileState<Key>[] = [];
  for (const file of files.filter((each) => !isSmall(each, policy))) {
    open = [...open.filter((each) => overlaps(each, file, compare)), file];
    if (open.length > policy.maxDepth) return open;
  }
  return [];
}

/** As many of the files, in order of their lower bounds, as a job may rewrite and a merge may hold. */
function within<Key>(
  files: readonly FileState<Key>[],
  policy: Policy,
  compare: Compare<Key>,
  columns: number,
): readonly FileState<Key>[] {
  const chosen: FileState<Key>[] = [];
  let open: FileState<Key>[] = [];
  let rows = 0;
  let bytes = 0;
  for (const file of files) {
    open = open.filter((each) => reaches(each, file, compare));
    const held = [...open, file].reduce((sum, each) => sum + openBytes(each, columns), 0);
    if (held > policy.openBytes) continue;
    if (rows + file.rows > policy.jobRows || bytes + file.bytes > policy.jobBytes) continue;
    rows += file.rows;
    bytes += file.bytes;
    open.push(file);
    chosen.push(file);
  }
  return chosen;
}

/** Text takes some three times its compressed bytes in memory, and each cell a word and at times a boxed number. */
const TEXT_FACTOR = 3;
const CELL_BYTES = 24;

/** What a merge holds of a file: one row group decoded, or all where they are not in order. */
function openBytes(file: FileState<unknown>, columns: number): number {
  const parts = file.unsorted ? 1 : Math.max(1, file.rowGroups);
  return (file.bytes * TEXT_FACTOR + file.rows * columns * CELL_BYTES) / parts;
}

/** Whether a file ends at or after the start of one that comes later in the order of lower bounds. */
const reaches = <Key>(file: FileState<Key>, later: FileState<Key>, compare: Compare<Key>): boolean =>
  file.upper === undefined || later.lower === undefined || compare(file.upper, later.lower) >= 0;

const overlaps = <Key>(file: FileState<Key>, later: FileState<Key>, compare: Compare<Key>): boolean =>
  file.upper === undefined || later.lower === undefined || compare(file.upper, later.lower) > 0;

function byLower<Key>(a: FileState<Key>, b: FileState<Key>, compare: Compare<Key>): number {
  if (a.lower === undefined || b.lower === undefined)
    return Number(b.lower === undefined) - Number(a.lower === undefined);
  return compare(a.lower, b.lower);
}

/** Keeps what did not change, so that components that are given rows render again only when theirs did. */

/**
 * The rows of `next`; each one that equals a row of `held` is that very object, and the whole array is `held` when
 * nothing changed. Rows are matched by `id` or `_id`, or else by position.
 */
export function reuseRows<T>(held: readonly T[], next: readonly T[]): readonly T[] {
  const byKey = new Map(held.map((row, at) => [keyOf(row, at), row]));
  const rows = next.map((row, at) => {
    const before = byKey.get(keyOf(row, at));
    return before !== undefined && equal(before, row) ? before : row;
  });
  return rows.length === held.length && rows.every((row, at) => row === held[at]) ? held : rows;
}

function keyOf(row: unknown, at: number): unknown {
  const { id, _id } = (row ?? {}) as { id?: unknown; _id?: unknown };
  return _id ?? id ?? at;
}

/** Of what a query gives: scalars, dates, bytes, parsed JSON. */
function equal(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Date || b instanceof Date)
    return a instanceof Date && b instanceof Date && a.getTime() === b.getTime();
  const [names, others] = [Object.keys(a), Object.keys(b)];
  if (names.length !== others.length || Array.isArray(a) !== Array.isArray(b)) return false;
  return names.every((name) => Object.hasOwn(b, name) && equal((a as never)[name], (b as never)[name]));
}

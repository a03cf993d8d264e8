/** Order by rank: a moved item gets a rank between its new neighbours, so that one move is one edit of one row. */
interface Ranked {
  readonly id: string;
  readonly rank: number;
}

/** @param to the place among the others @returns undefined where the item would stay where it is */
export function rankAfterMove(items: readonly Ranked[], id: string, to: number): number | undefined {
  const from = items.findIndex((item) => item.id === id);
  if (from < 0 || to === from || to < 0 || to >= items.length) return undefined;
  const others = items.filter((item) => item.id !== id);
  return between(others[to - 1]?.rank, others[to]?.rank);
}

/** By rank; two that were added on two devices at once may have the same, and then the id decides, everywhere alike. */
export const byRank = (a: Ranked, b: Ranked): number => a.rank - b.rank || (a.id < b.id ? -1 : 1);

export const rankAtEnd = (items: readonly Ranked[]): number => (items.at(-1)?.rank ?? 0) + 1;

function between(before: number | undefined, after: number | undefined): number {
  if (before === undefined) return (after ?? 1) - 1;
  if (after === undefined) return before + 1;
  return (before + after) / 2;
}

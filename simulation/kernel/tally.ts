/** How often what happened. */
export class Tally {
  readonly counts = new Map<string, number>();

  add(what: string, times = 1): void {
    if (times > 0) this.counts.set(what, (this.counts.get(what) ?? 0) + times);
  }

  addAll(other: Tally): void {
    for (const [what, times] of other.counts) this.add(what, times);
  }

  toString(): string {
    const most = [...this.counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
    return most.map(([what, times]) => `${what} ${times}`).join(", ");
  }
}

/** Numbers from noisy machines: medians, spreads, and ratios of what ran side by side. */

export interface Measure {
  readonly value: number;
  readonly min: number;
  readonly max: number;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[half] as number)
    : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2;
}

export const measure = (values: readonly number[]): Measure => ({
  value: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
});

/** Median of the ratios of rounds: a machine that is slow for a while is slow for both sides of a round. */
export const ratioOf = (ours: readonly number[], theirs: readonly number[]): Measure =>
  measure(ours.map((value, at) => value / (theirs[at] as number)));

/** Milliseconds that a body takes. */
export async function timed(body: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await body();
  return performance.now() - started;
}

export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

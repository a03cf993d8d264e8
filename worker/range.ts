/** Ranges of an object (RFC 9110, section 14.1.2). */

export interface Part {
  readonly offset: number;
  readonly length: number;
}

/** Where a range lies in an object of a size; undefined where none of it does. What R2 answers names all three, undefined or not. */
export function placed(range: R2Range, size: number): Part | undefined {
  const { offset = 0, length = size, suffix } = range as { offset?: number; length?: number; suffix?: number };
  const from = suffix === undefined ? offset : Math.max(size - suffix, 0);
  const count = Math.min(suffix ?? length, size - from);
  return count > 0 ? { offset: from, length: count } : undefined;
}

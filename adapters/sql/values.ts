import type { Scalar } from "../../schemas/index.ts";

/** The canonical form of a whole number's digits. */
export function wholeOf(digits: string): Scalar {
  const number = Number(digits);
  return Number.isSafeInteger(number) ? number : digits;
}

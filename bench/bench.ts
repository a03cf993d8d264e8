/** What a benchmark is: a name, and figures and ratios by the names of docs/benchmarks.md. */
import type { Measure } from "./stats.ts";

export interface Bench {
  readonly name: string;
  run(): Promise<Sheet>;
}

interface Figure extends Measure {
  readonly unit: string;
}

/** Ratios are ours / yardstick, or first / last: greater is better. */
export interface Sheet {
  readonly figures: ReadonlyMap<string, Figure>;
  readonly ratios: ReadonlyMap<string, Measure>;
  figure(name: string, value: Measure | number, unit: string): void;
  ratio(name: string, value: Measure | number): void;
}

const spread = (value: Measure | number): Measure =>
  typeof value === "number" ? { value, min: value, max: value } : value;

export function sheet(): Sheet {
  const figures = new Map<string, Figure>();
  const ratios = new Map<string, Measure>();
  return {
    figures,
    ratios,
    figure: (name, value, unit) => figures.set(name, { ...spread(value), unit }),
    ratio: (name, value) => ratios.set(name, spread(value)),
  };
}

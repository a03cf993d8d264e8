/** A benchmark's sheet as a table, as JSON, and against the last accepted ratios. */
import { readFileSync, writeFileSync } from "node:fs";
import { arch, cpus, loadavg, platform, totalmem } from "node:os";
import { join } from "node:path";
import type { Sheet } from "./bench.ts";
import { ROOT } from "./harness.ts";

/** A ratio may be this much worse than the accepted one before --check fails. */
const TOLERANCE = 0.2;

type Ratios = Readonly<Record<string, number>>;

const round = (n: number): number => Number(n.toPrecision(4));

function versionOf(name: string): string {
  return JSON.parse(readFileSync(join(ROOT, "node_modules", name, "package.json"), "utf8")).version;
}

function machine() {
  return {
    cpu: cpus()[0]?.model ?? "",
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    load: round(loadavg()[0] ?? 0),
    platform: `${platform()} ${arch()}`,
    node: process.versions.node,
    workerd: versionOf("workerd"),
    date: new Date().toISOString().slice(0, 10),
  };
}

/** `figures` and `ratios` are medians; `spread` has min and max of those that were measured in rounds. */
export function asJson(name: string, { figures, ratios }: Sheet) {
  const values = (map: ReadonlyMap<string, { value: number }>) =>
    Object.fromEntries([...map].map(([key, { value }]) => [key, round(value)]));
  const measured = [...figures, ...ratios].filter(([, m]) => m.min !== m.max);
  const spread = Object.fromEntries(measured.map(([key, m]) => [key, [round(m.min), round(m.max)]]));
  return { bench: name, figures: values(figures), ratios: values(ratios), spread, machine: machine() };
}

export function asTable(name: string, { figures, ratios }: Sheet): string {
  const cell = (n: number) => (Math.abs(n) >= 1000 ? Math.round(n).toLocaleString("en-GB") : String(round(n)));
  const rows = [
    ...[...ratios].map(([key, m]) => ({ key, ...m, unit: "x" })),
    ...[...figures].map(([key, m]) => ({ key, ...m })),
  ].map(({ key, value, min, max, unit }) => [
    key,
    cell(value),
    unit,
    min === max ? "" : `${cell(min)} to ${cell(max)}`,
  ]);
  const widths = [0, 1, 2, 3].map((at) => Math.max(...rows.map((r) => r[at]?.length ?? 0)));
  const line = ([key = "", value = "", unit = "", range = ""]: string[]) =>
    `  ${key.padEnd(widths[0] ?? 0)}  ${value.padStart(widths[1] ?? 0)} ${unit.padEnd(widths[2] ?? 0)}  ${range}`.trimEnd();
  const { cpu, cores, memoryGb, load } = machine();
  return [`${name}  (${cores} x ${cpu}, ${memoryGb} GB, load ${load})`, ...rows.map(line)].join("\n");
}

/** What is worse than accepted, a sentence each. */
export function worseThan(accepted: Ratios | undefined, { ratios }: Sheet): string[] {
  return Object.entries(accepted ?? {}).flatMap(([key, was]) => {
    const now = ratios.get(key)?.value;
    if (now === undefined) return [`${key} is missing; it was ${was}`];
    return now < was * (1 - TOLERANCE) ? [`${key} is ${round(now)}; it was ${was}`] : [];
  });
}

const BASELINES = join(ROOT, "bench/baselines.json");

export function baselines(): Readonly<Record<string, Ratios>> {
  return JSON.parse(readFileSync(BASELINES, "utf8"));
}

/** Makes a benchmark's ratios the ones that later runs are compared with. */
export function accept(name: string, { ratios }: Sheet): void {
  const accepted = Object.fromEntries([...ratios].map(([key, { value }]) => [key, round(value)]));
  writeFileSync(BASELINES, `${JSON.stringify({ ...baselines(), [name]: accepted }, null, 2)}\n`);
}

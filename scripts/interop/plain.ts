/** Rows of ours in the form in which other engines' rows come (scripts/interop/bridge.py). */
import type { PlainRow } from "../../lake/testing.ts";
import { type Column, timestampToIso } from "../../schemas/index.ts";

const BOOKKEEPING: Record<string, Column["type"]> = { _hlc: "integer", _seq: "integer", _received: "timestamp" };

/** As scripts/interop/bridge.py has it; nulls left out, since engines see old snapshots by old schemas. */
export function inPlainForm(row: PlainRow, columns: readonly Column[]): Record<string, unknown> {
  const types = new Map(columns.map(({ name, type }) => [name, type]));
  return withoutNulls(
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => {
        const type = types.get(name) ?? BOOKKEEPING[name];
        if (value === null) return [name, value];
        if (type === "integer") return [name, String(value)];
        if (type !== "timestamp") return [name, value];
        const [whole, rest] = timestampToIso(value as number)
          .replace("Z", "")
          .split(".");
        return [name, `${whole}.${(rest ?? "").padEnd(6, "0")}Z`];
      }),
    ),
  );
}

export const withoutNulls = (row: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));

export const sorted = (rows: Record<string, unknown>[]): string[] =>
  rows.map((row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))).sort();

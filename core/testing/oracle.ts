/**
 * What rows have to be, computed from the set of all edits by the definitions of M1 to M5 and PL3, slowly and without any
 * state: what the engine's answers are compared with.
 */
import { type Claims, compareCodePoints, type Filter, type Scalar, type SyncRules } from "../../schemas/index.ts";
import type { PlainRow } from "./shard-kit.ts";

/** An edit with its stamp; `row` names table and row. */
export interface StampedEdit {
  readonly letter: "I" | "U" | "D";
  readonly row: string;
  readonly stamp: string;
  readonly columns: Readonly<Record<string, Scalar>>;
}

export interface OracleRow {
  readonly alive: boolean;
  readonly deleted: string;
  readonly cells: PlainRow;
}

const newest = (edits: readonly StampedEdit[], letter: string): string =>
  edits.filter((e) => e.letter === letter).reduce((top, e) => (e.stamp > top ? e.stamp : top), "");

/** The row that a set of edits makes. */
export function rowOf(edits: readonly StampedEdit[]): OracleRow {
  const deleted = newest(edits, "D");
  const cells: Record<string, { value: Scalar; stamp: string }> = {};
  for (const { letter, stamp, columns } of edits) {
    if (letter === "D" || stamp < deleted) continue; // M3
    for (const [name, value] of Object.entries(columns)) {
      const held = Object.hasOwn(cells, name) ? cells[name] : undefined;
      const wins = !held || stamp > held.stamp || (stamp === held.stamp && greater(value, held.value)); // M2
      if (wins) cells[name] = { value, stamp };
    }
  }
  return { alive: newest(edits, "I") > deleted, deleted, cells };
}

/** Null, booleans, numbers, strings: any total order would do, but every replica has to have the same. */
function greater(a: Scalar, b: Scalar): boolean {
  const kinds = ["null", "boolean", "number", "string"];
  const kind = (v: Scalar) => kinds.indexOf(v === null ? "null" : typeof v);
  if (kind(a) !== kind(b)) return kind(a) > kind(b);
  return typeof a === "string" ? compareCodePoints(a, String(b)) > 0 : Number(a) > Number(b);
}

/** PL3 for columns of strings and numbers, with literals and top-level claims. */
export function mayTouch(rules: SyncRules, claims: Claims, table: string, cells: PlainRow, what: "see" | "write") {
  if (claims.role === "admin") return true;
  return rules.buckets.some(
    (bucket) =>
      bucket.tables.includes(table) &&
      (what === "write" && bucket.write ? bucket.write : bucket.filters).every((f) => holds(f, claims, cells)),
  );
}

function holds({ column, op, value }: Filter, claims: Claims, cells: PlainRow): boolean {
  const cell = cells[column]?.value ?? null;
  const operands = [value].flat().flatMap((v) => {
    const claim = typeof v === "string" && v.startsWith("jwt:") ? claims[v.slice(4)] : v;
    return Array.isArray(claim) && op === "in" ? claim : [claim];
  });
  if (cell === null) return false;
  if (op === "in") return operands.includes(cell);
  const operand = operands[0] as string | number;
  if (operand === undefined || typeof operand !== typeof cell) return false;
  const [a, b] = [cell as string | number, operand];
  return { eq: a === b, neq: a !== b, gt: a > b, lt: a < b, gte: a >= b, lte: a <= b }[op];
}

/**
 * What has to be true, worked out naively from the set of all edits that any shard ever accepted: no state, no cleverness.
 * A row is what its edits make by M1 to M5 (rowOf); who may see it is PL3 (mayTouch).
 */
import { mayTouch, type OracleRow, rowOf, type StampedEdit } from "../core/testing.ts";
import type { Claims, Delta, Scalar, SyncRules } from "../schemas/index.ts";
import { letterOf, makeStamp } from "../schemas/index.ts";

export interface Accepted extends StampedEdit {
  readonly table: string;
  readonly rowId: string;
  readonly client: string;
  readonly hlc: string;
}

export const ADMIN = { sub: "root", role: "admin" as const };

export type Cells = Readonly<Record<string, Scalar>>;

export class Oracle {
  readonly #rows = new Map<string, Accepted[]>();
  readonly #known = new Set<string>();
  readonly #newest = new Map<string, string>();
  readonly #refused = new Set<string>();
  /** By version, as the tenant stored them. */
  readonly rules: SyncRules[] = [];
  /** Highest version whose change was answered: nobody may be served by an older one any more. */
  rulesAnswered = 0;
  /** Grows with whatever may change what somebody sees. */
  moment = 0;

  /** @returns whether it is new */
  accept(delta: Delta): boolean {
    const { table, rowId, clientId: client, hlc, columns } = delta;
    const letter = letterOf(delta.op) as "I" | "U" | "D";
    const row = `${table}/${rowId}`;
    return this.add({ letter, row, stamp: makeStamp(hlc, client), columns, table, rowId, client, hlc });
  }

  /** @returns whether it is new */
  add(edit: Accepted): boolean {
    const { stamp, letter, row } = edit;
    const key = `${stamp} ${letter} ${row}`;
    if (this.#known.has(key)) return false; // pushed again
    this.#known.add(key);
    this.moment++;
    if (edit.hlc > this.newestOf(edit.client)) this.#newest.set(edit.client, edit.hlc);
    const edits = this.#rows.get(row) ?? [];
    this.#rows.set(row, edits);
    edits.push(edit);
    return true;
  }

  /** A shard refused it; the device may not hear of it, and push it again. */
  refuse({ table, rowId, hlc, clientId }: Delta): void {
    this.#refused.add(`${table}/${rowId} ${makeStamp(hlc, clientId)}`);
  }

  /** Whether an edit that was accepted had been refused before. */
  wasRefused({ row, stamp }: Accepted): boolean {
    return this.#refused.has(`${row} ${stamp}`);
  }

  storeRules(version: number, rules: SyncRules): void {
    this.rules[version] = rules;
    this.moment++;
  }

  answerRules(version: number): void {
    this.rulesAnswered = Math.max(this.rulesAnswered, version);
    this.moment++;
  }

  /** Rules that may be in force just now. */
  get inForce(): SyncRules[] {
    return this.rules.slice(this.rulesAnswered).filter(Boolean);
  }

  get newestRules(): SyncRules {
    return this.rules.at(-1) ?? { buckets: [] };
  }

  /** Whether a row took an edit with a clock from this on. */
  touchedSince(row: string, hlc: string): boolean {
    return (this.#rows.get(row) ?? []).some((edit) => edit.hlc >= hlc);
  }

  /** The newest clock of a client's edits; "" when it has none. */
  newestOf(client: string): string {
    return this.#newest.get(client) ?? "";
  }

  /** Every edit, once. */
  *edits(): Generator<Accepted> {
    for (const edits of this.#rows.values()) yield* edits;
  }

  row(table: string, rowId: string): OracleRow {
    return rowOf(this.#rows.get(`${table}/${rowId}`) ?? []);
  }

  sees(rules: SyncRules, claims: Claims, table: string, row: OracleRow): boolean {
    return row.alive && mayTouch(rules, claims, table, row.cells, "see");
  }

  /** Whether a device wrote to a row, or could see it when only some of its edits had come. */
  everSeen(claims: Claims, client: string, table: string, rowId: string): boolean {
    const edits = this.#rows.get(`${table}/${rowId}`) ?? [];
    if (edits.some((edit) => edit.client === client)) return true;
    return edits.some((_, at) => {
      const row = rowOf(edits.slice(0, at + 1));
      return this.rules.some((rules) => rules && this.sees(rules, claims, table, row));
    });
  }

  /** "table/row" to its cells, NULLs left out, of every row that these claims see. */
  expected(claims: Claims): Map<string, Cells> {
    const rows = new Map<string, Cells>();
    for (const [key, edits] of this.#rows) {
      const row = rowOf(edits);
      const table = (edits[0] as Accepted).table;
      if (this.sees(this.newestRules, claims, table, row)) rows.set(key, cellsOf(row));
    }
    return rows;
  }
}

export const cellsOf = (row: OracleRow): Cells =>
  Object.fromEntries(Object.entries(row.cells).flatMap(([name, { value }]) => (value === null ? [] : [[name, value]])));

/** How two sets of rows differ, in a few words; undefined when they do not. */
export function difference(
  expected: ReadonlyMap<string, Cells>,
  found: ReadonlyMap<string, Cells>,
): string | undefined {
  const text = (cells: Cells | undefined) =>
    cells ? JSON.stringify(Object.fromEntries(Object.entries(cells).sort(([a], [b]) => (a < b ? -1 : 1)))) : "no row";
  const keys = [...new Set([...expected.keys(), ...found.keys()])].sort();
  const wrong = keys.filter((key) => text(expected.get(key)) !== text(found.get(key)));
  if (wrong.length === 0) return undefined;
  const shown = wrong
    .slice(0, 3)
    .map((key) => `${key} is ${text(found.get(key))}, has to be ${text(expected.get(key))}`);
  return `${shown.join("; ")}${wrong.length > 3 ? `; and ${wrong.length - 3} more` : ""}`;
}

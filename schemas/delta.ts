/**
 * Deltas: one edit of one row by one device.
 *
 *   Delta       one, for APIs and tests
 *   DeltaBatch  many edits of one table, in columns: what travels, is logged, checkpointed and flushed. Entry i is
 *               (ops[i], rowIds[i], hlcs[i], client of i, columns[*].values[i]); order is the order of the edits.
 */
import type { HlcText } from "./hlc.ts";
import type { ClientId } from "./ids.ts";
import type { Scalar } from "./value.ts";

export const OPS = ["INSERT", "UPDATE", "DELETE"] as const;
export type Op = (typeof OPS)[number];

/** `R` appears only in pages: the row is not for this device any more. */
export type OpLetter = "I" | "U" | "D" | "R";

export const letterOf = (op: Op): "I" | "U" | "D" => op[0] as "I" | "U" | "D";
export const opOf = (letter: string): Op | undefined =>
  letter === "I" ? "INSERT" : letter === "U" ? "UPDATE" : letter === "D" ? "DELETE" : undefined;

export interface Delta {
  readonly op: Op;
  readonly table: string;
  readonly rowId: string;
  readonly hlc: HlcText;
  readonly clientId: ClientId;
  /** Cells that the edit names, in canonical form; a column that it does not name is not touched (M5). */
  readonly columns: Readonly<Record<string, Scalar>>;
}

/** Stands where an edit does not name a column: an empty array, since no canonical value is one. */
export type Absent = readonly never[];
export const ABSENT: Absent = Object.freeze([]);
export const isAbsent = (value: unknown): value is Absent => typeof value === "object" && value !== null;

export interface ColumnData {
  readonly name: string;
  readonly values: readonly (Scalar | Absent)[];
}

export interface DeltaBatch {
  readonly table: string;
  /** One `OpLetter` an entry. */
  readonly ops: string;
  readonly rowIds: readonly string[];
  readonly hlcs: readonly HlcText[];
  /** One for all entries, or one an entry. */
  readonly clients: readonly ClientId[];
  readonly columns: readonly ColumnData[];
}

export const clientOf = (batch: DeltaBatch, at: number): ClientId =>
  (batch.clients.length === 1 ? batch.clients[0] : batch.clients[at]) as ClientId;

/** Collects edits of one table into a batch; columns appear in the order in which they are first named. */
export class DeltaBatchBuilder {
  readonly table: string;
  #ops = "";
  readonly #rowIds: string[] = [];
  readonly #hlcs: HlcText[] = [];
  readonly #clients: ClientId[] = [];
  #oneClient = true;
  readonly #columns = new Map<string, (Scalar | Absent)[]>();

  constructor(table: string) {
    this.table = table;
  }

  get count(): number {
    return this.#rowIds.length;
  }

  add(op: OpLetter, rowId: string, hlc: HlcText, clientId: ClientId, columns: Readonly<Record<string, Scalar>>): void {
    const at = this.#rowIds.length;
    this.#ops += op;
    this.#rowIds.push(rowId);
    this.#hlcs.push(hlc);
    if (at > 0 && this.#clients[0] !== clientId) this.#oneClient = false;
    this.#clients.push(clientId);
    for (const name in columns) {
      const values = this.#columns.get(name) ?? [];
      this.#columns.set(name, values);
      while (values.length < at) values.push(ABSENT);
      values.push(columns[name] as Scalar);
    }
  }

  build(): DeltaBatch {
    const count = this.#rowIds.length;
    const columns: ColumnData[] = [];
    for (const [name, values] of this.#columns) {
      while (values.length < count) values.push(ABSENT);
      columns.push({ name, values });
    }
    return {
      table: this.table,
      ops: this.#ops,
      rowIds: this.#rowIds,
      hlcs: this.#hlcs,
      clients: this.#oneClient ? this.#clients.slice(0, 1) : this.#clients,
      columns,
    };
  }
}

/** One batch a table, each in the order of its edits. */
export function batchDeltas(deltas: Iterable<Delta>): DeltaBatch[] {
  const builders = new Map<string, DeltaBatchBuilder>();
  for (const d of deltas) {
    const builder = builders.get(d.table) ?? new DeltaBatchBuilder(d.table);
    builders.set(d.table, builder);
    builder.add(letterOf(d.op), d.rowId, d.hlc, d.clientId, d.columns);
  }
  return [...builders.values()].map((b) => b.build());
}

/** Cells that entry `at` names. */
export function cellsAt(batch: DeltaBatch, at: number): Record<string, Scalar> {
  const cells: Record<string, Scalar> = {};
  for (const { name, values } of batch.columns) {
    const value = values[at] as Scalar | Absent;
    if (!isAbsent(value)) cells[name] = value;
  }
  return cells;
}

/** The edits of a batch one by one; entries with the letter R are not edits and are left out. */
export function* deltasOf(batch: DeltaBatch): Generator<Delta> {
  for (let at = 0; at < batch.rowIds.length; at++) {
    const op = opOf(batch.ops[at] as string);
    if (!op) continue;
    yield {
      op,
      table: batch.table,
      rowId: batch.rowIds[at] as string,
      hlc: batch.hlcs[at] as HlcText,
      clientId: clientOf(batch, at),
      columns: cellsAt(batch, at),
    };
  }
}

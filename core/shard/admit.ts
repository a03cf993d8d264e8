/**
 * A delta at the door: decoded and checked by itself against its table's schema, so that a bad one is refused with a code
 * and a sentence and its neighbours land (PU3). Nothing here looks at stored rows.
 */
import {
  type Absent,
  CELL_BYTES_MAX,
  CLOCK_DRIFT_MS_MAX,
  type Column,
  type ColumnType,
  checkScalar,
  type DeltaBatch,
  type ErrorCode,
  HLC_COUNTER_MAX,
  HLC_ZERO,
  type HlcText,
  hlcMillis,
  isAbsent,
  isHlcText,
  isRowId,
  isScalar,
  type LooseDelta,
  packHlc,
  parseValue,
  ROW_ID_BYTES_MAX,
  type Scalar,
  type TableSchema,
} from "../../schemas/index.ts";
import { driftError } from "../hlc.ts";
import type { IdCells } from "./stored-row.ts";

/** A delta that fits its table; cells in the order of column ids. */
export interface Candidate {
  readonly letter: "I" | "U" | "D";
  readonly rowId: string;
  readonly hlc: HlcText;
  readonly cells: IdCells;
}

export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
}

export type Admitted = Candidate | { readonly refusal: Refusal };

const refuse = (code: ErrorCode, message: string): { refusal: Refusal } => ({ refusal: { code, message } });
const quote = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);

/** Clocks after this one are too far ahead. */
const latestAt = (nowMs: number): HlcText => packHlc(nowMs + CLOCK_DRIFT_MS_MAX, HLC_COUNTER_MAX);

/** Checks that need no table. */
function headProblem(letter: string, rowId: unknown, hlc: unknown, latest: HlcText): { refusal: Refusal } | undefined {
  if (!isRowId(rowId))
    return refuse(
      "BadRowId",
      `A row id is 1 to ${ROW_ID_BYTES_MAX} bytes of well-formed text without control characters.`,
    );
  if (letter !== "I" && letter !== "U" && letter !== "D")
    return refuse("BadRequest", "A pushed delta is an INSERT, an UPDATE or a DELETE.");
  // The top bit would make the clock negative where 64-bit integers are signed, as in Iceberg and SQL.
  if (!isHlcText(hlc) || hlc === HLC_ZERO || hlc >= "8")
    return refuse(
      "BadHlc",
      "An hlc is a positive 63-bit number: milliseconds since 1970, shifted left by 16, plus a counter.",
    );
  if (hlc <= latest) return undefined;
  return refuse("ClockDrift", driftError(hlcMillis(hlc) - hlcMillis(latest) + CLOCK_DRIFT_MS_MAX).message);
}

/** Checks of a delta's cells as a whole. */
function shapeProblem(
  table: TableSchema,
  letter: string,
  { columns, values }: IdCells,
  count: number,
): { refusal: Refusal } | undefined {
  if (letter === "D") return count > 0 ? refuse("BadRequest", "A DELETE names no columns.") : undefined;
  if (letter === "U" && count === 0) return refuse("BadRequest", "An UPDATE names at least one column.");
  for (const column of table.columns) {
    if (column.nullable) continue;
    const value = values[columns.indexOf(column.id)];
    if (value === null || (letter === "I" && value === undefined))
      return refuse(
        "NotNull",
        `Column ${quote(column.name)} of table ${quote(table.table)} takes no NULL; give it a value.`,
      );
  }
  return undefined;
}

const unknownColumn = (table: TableSchema, name: string) =>
  refuse(
    "UnknownColumn",
    `Table ${quote(table.table)} (version ${table.version}) has no column ${quote(name)}; an admin can add it.`,
  );

const wrongValue = (column: Column, error: { code: ErrorCode; message: string }) =>
  refuse(error.code, `Column ${quote(column.name)}: ${error.message}`);

/** A canonical value that needs no closer look at its size or depth: most are. */
const isPlain = (type: ColumnType, value: Scalar): boolean =>
  (typeof value !== "string" || (type === "string" && value.length * 3 <= CELL_BYTES_MAX)) && isScalar(type, value);

/** Entries of a columnar batch; values have to be canonical. */
export function admitBatch(table: TableSchema, batch: DeltaBatch, nowMs: number): Admitted[] {
  const byName = new Map(table.columns.map((c) => [c.name, c]));
  const named = batch.columns.map(({ name, values }) => ({ name, values, column: byName.get(name) }));
  named.sort((a, b) => (a.column?.id ?? 0) - (b.column?.id ?? 0));
  const admitted: Admitted[] = [];
  const latest = latestAt(nowMs);
  // Filled by place: a list that begins with numbers is made anew when something else comes.
  const blank = named.map((): Scalar => null);
  let shape: readonly number[] = [];
  for (let at = 0; at < batch.rowIds.length; at++) {
    const letter = batch.ops[at] as Candidate["letter"];
    const rowId = batch.rowIds[at] as string;
    const hlc = batch.hlcs[at] as HlcText;
    let problem = headProblem(letter, rowId, hlc, latest);
    const columns: number[] = [];
    const values = blank.slice();
    let count = 0;
    for (const { name, values: all, column } of named) {
      if (problem) break;
      const value = all[at] as Scalar | Absent;
      if (isAbsent(value)) {
        if (!Array.isArray(value) || value.length > 0)
          problem = refuse("WrongType", `Column ${quote(name)}: a batch holds canonical values only.`);
        continue;
      }
      count++;
      if (!column) problem = unknownColumn(table, name);
      else if (isPlain(column.type, value)) {
        values[columns.length] = value;
        columns.push(column.id);
      } else {
        const checked = checkScalar(column.type, value);
        if (!checked.ok) problem = wrongValue(column, checked.error);
        else {
          values[columns.length] = checked.value;
          columns.push(column.id);
        }
      }
    }
    if (values.length > columns.length) values.length = columns.length;
    // Neighbours that name the same columns share one list of them.
    if (columns.length !== shape.length || columns.some((id, k) => id !== shape[k])) shape = columns;
    const cells = { columns: shape, values };
    problem ??= shapeProblem(table, letter, cells, count);
    admitted.push(problem ?? { letter, rowId, hlc, cells });
  }
  return admitted;
}

/** A delta as a person wrote it; values are read by their columns' types. */
export function admitLoose(table: TableSchema, delta: LooseDelta, nowMs: number): Admitted {
  const problem = headProblem(delta.letter, delta.rowId, delta.hlc, latestAt(nowMs));
  if (problem) return problem;
  const found = new Map<number, Scalar>();
  for (const { name, value } of delta.columns) {
    const column = table.columns.find((c) => c.name === name);
    if (!column) return unknownColumn(table, name);
    if (found.has(column.id)) return refuse("BadRequest", `The delta names column ${quote(name)} twice.`);
    const parsed = parseValue(column.type, value);
    if (!parsed.ok) return wrongValue(column, parsed.error);
    found.set(column.id, parsed.value);
  }
  const columns = [...found.keys()].sort((a, b) => a - b);
  const cells = { columns, values: columns.map((id) => found.get(id) as Scalar) };
  return (
    shapeProblem(table, delta.letter, cells, delta.columns.length) ?? {
      letter: delta.letter,
      rowId: delta.rowId,
      hlc: delta.hlc,
      cells,
    }
  );
}

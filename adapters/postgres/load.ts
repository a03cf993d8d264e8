/** Rows on their way into a table that has none of them: by COPY, or as arrays, one parameter a column. */
import type { Buffer } from "node:buffer";
import type { Scalar } from "../../schemas/index.ts";
import type { Load } from "../sql/database.ts";
import type { MergedRow } from "../sql/page.ts";
import { cellsReader, packStamps } from "../sql/row-state.ts";
import type { TableRecord } from "../sql/table.ts";
import { binaryOf } from "./copy.ts";
import { ARRAY_TYPES, arrayText, typed } from "./values.ts";

export interface PostgresLoad extends Load {
  readonly copy?: Buffer;
  readonly arrays?: Arrays;
}

interface Arrays {
  /** What to select of them. */
  readonly list: string;
  readonly types: readonly string[];
  readonly params: readonly string[];
}

/** @param copies whether to send them by COPY */
export const loadOf = (record: TableRecord, rows: readonly MergedRow[], copies: boolean): PostgresLoad =>
  copies ? { record, rows, copy: binaryOf(record.columns, rows) } : { record, rows, arrays: arraysOf(record, rows) };

/** `_id`, the columns, `_stamps`. */
export function arraysOf({ columns }: TableRecord, rows: readonly MergedRow[]): Arrays {
  const cellsOf = cellsReader(columns);
  const values = columns.map(() => new Array<Scalar>(rows.length));
  rows.forEach(({ state }, at) => {
    const cells = cellsOf(state);
    values.forEach((column, place) => {
      column[at] = cells[place] as Scalar;
    });
  });
  const list = ["p0", ...columns.map(({ type }, at) => typed(type, `p${at + 1}`)), `p${columns.length + 1}`];
  const stamps = rows.map(({ state, seq }) => packStamps(state, seq));
  return {
    list: list.join(", "),
    types: ["text", ...columns.map(({ type }) => ARRAY_TYPES[type]), "text"],
    params: [rows.map(({ rowId }) => rowId), ...values, stamps].map(arrayText),
  };
}

/** Parameters from $1 on, arrays of these types, as columns p0, p1, ... */
export function unnest(types: readonly string[]): string {
  const arrays = types.map((type, at) => `$${at + 1}::${type}[]`);
  return `unnest(${arrays.join(", ")}) AS u (${types.map((_, at) => `p${at}`).join(", ")})`;
}

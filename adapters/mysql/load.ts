/** Rows as the text of statements. */
import type { Buffer } from "node:buffer";
import type { ColumnType, Scalar } from "../../schemas/index.ts";
import type { Load } from "../sql/database.ts";
import type { MergedRow } from "../sql/page.ts";
import { cellsReader, packStamps } from "../sql/row-state.ts";
import type { TableRecord } from "../sql/table.ts";
import { toSql } from "./values.ts";

/** Text of one statement, roughly; servers take 16 MB at least, MySQL's client library 1. */
const STATEMENT_CHARS = 1024 * 1024;

type Cell = string | number | boolean | Buffer | null;

const MARKED = /['\\\0]/;

/** Where a backslash escapes, which is looked up for each server (S3); mysql2 would mark each quotation mark of JSON, too. */
function literal(cell: Cell): string {
  if (typeof cell === "string")
    return MARKED.test(cell)
      ? `'${cell.replace(/['\\\0]/g, (mark) => (mark === "\0" ? "\\0" : `\\${mark}`))}'`
      : `'${cell}'`;
  return typeof cell === "object" && cell !== null ? `X'${cell.toString("hex")}'` : String(cell);
}

/** What stands between a row's brackets. */
export function tupleOf(cells: readonly Cell[]): string {
  let tuple = "";
  for (const cell of cells) tuple += tuple === "" ? literal(cell) : `,${literal(cell)}`;
  return tuple;
}

/** What stands after VALUES, in parts of about a megabyte. */
export function partsOf<T>(rows: readonly T[], tuple: (row: T) => string): string[] {
  const parts: string[] = [];
  let part = "";
  for (const row of rows) {
    part += part === "" ? `(${tuple(row)})` : `,(${tuple(row)})`;
    if (part.length < STATEMENT_CHARS) continue;
    parts.push(part);
    part = "";
  }
  return part === "" ? parts : [...parts, part];
}

export interface MysqlLoad extends Load {
  /** `_id`, `_stamps`, the columns. */
  readonly parts: readonly string[];
}

export function loadOf(record: TableRecord, rows: readonly MergedRow[]): MysqlLoad {
  const cellsOf = cellsReader(record.columns);
  const types = record.columns.map(({ type }) => type);
  const parts = partsOf(rows, ({ rowId, state, seq }) => {
    const cells = cellsOf(state);
    let tuple = `${literal(rowId)},${literal(packStamps(state, seq))}`;
    for (let at = 0; at < types.length; at++)
      tuple += `,${literal(toSql(types[at] as ColumnType, cells[at] as Scalar))}`;
    return tuple;
  });
  return { record, rows, parts };
}

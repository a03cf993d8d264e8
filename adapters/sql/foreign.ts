/**
 * What a trigger keeps of an edit by others, as sync has it. A cell is JSON as the database makes it of the column's value, and
 * that as text, so that no digit is lost on the way. Pure.
 *
 *   bigint   12                  timestamptz  "2026-01-31T08:00:00.123456+00:00"
 *   double   1.5 or "NaN"        bytea        "\\x00ff"
 */
import { newestStamp } from "../../core/index.ts";
import {
  bytesToBase64,
  type ColumnType,
  type HlcText,
  parseValue,
  type Scalar,
  stampHlc,
  type TableSchema,
} from "../../schemas/index.ts";
import { unpackStamps, unpackTombstone } from "./row-state.ts";
import type { TableRecord } from "./table.ts";
import { readText } from "./text.ts";

/** What cannot be a value of its column stays text, which the shard refuses with its reason. */
function cellOfJson(type: ColumnType, json: string): Scalar {
  const value = JSON.parse(json) as unknown;
  if (value === null) return null;
  const parsed = parseValue(type, nativeOf(type, json, value));
  return parsed.ok ? parsed.value : String(value);
}

function nativeOf(type: ColumnType, json: string, value: unknown): unknown {
  if (type === "integer") return json;
  if (typeof value !== "string") return value;
  if (type === "string") return readText(value);
  if (type !== "bytes" || !value.startsWith("\\x")) return value;
  const bytes = new Uint8Array((value.length - 2) / 2);
  for (let at = 0; at < bytes.length; at++) bytes[at] = Number.parseInt(value.slice(2 + 2 * at, 4 + 2 * at), 16);
  return bytesToBase64(bytes);
}

/**
 * @param text cells by the names that columns have in the database @param record what stands where there
 * @returns cells by the names that the table's columns have in sync; others are LakeSync's own, or somebody else's
 */
export function cellsOfJson(text: string, record: TableRecord, table: TableSchema): Record<string, Scalar> {
  const cells: Record<string, Scalar> = {};
  for (const [name, json] of Object.entries(JSON.parse(text) as Record<string, string>)) {
    const id = record.columns.find((column) => column.name === name)?.id;
    const column = id === undefined ? undefined : table.columns.find((each) => each.id === id);
    if (column) cells[column.name] = cellOfJson(column.type, json);
  }
  return cells;
}

/** The newest clock in what a row had beside its values when it was edited: its stamps, or the tombstone of one that was dead. */
export function newestSeen(state: string | null, record: TableRecord): HlcText | "" {
  if (state === null) return "";
  const columns = record.columns.map(({ id }) => id);
  const held = state.startsWith("[") ? unpackTombstone(state) : unpackStamps(state, columns);
  const stamp = newestStamp(held.state);
  return stamp === "" ? "" : stampHlc(stamp);
}

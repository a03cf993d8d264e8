/**
 * Synced tables on the device, and the SQL that makes and tracks them.
 *
 *   todos                a STRICT table of the app's columns; the row id is its primary key `id` (`_id` where the app
 *                        has a column `id` of its own)
 *   lakesync_rows_todos  what the gateway is known to hold of each row, see bookkeeping.ts
 *   triggers             write each change into lakesync_outbox, in the statement's own transaction (C1, C8)
 */
import { bytesToHex, type ColumnType, LakeSyncError, parseIdentifier, type Scalar } from "../../schemas/index.ts";
import type { SqlValue } from "./driver.ts";
import { type DeviceType, SQL_TYPES, toStored } from "./values.ts";

export interface DeviceColumn {
  readonly name: string;
  readonly type: DeviceType;
  readonly nullable: boolean;
  /** Value of a column that an insert leaves out, in canonical form. */
  readonly initial?: Scalar;
}

export interface DeviceTable {
  /** Stands for the table in the outbox. */
  readonly id: number;
  readonly name: string;
  /** Primary key column. */
  readonly key: string;
  /** In the order in which they came to this device; never reordered, since outbox entries go by position. */
  readonly columns: readonly DeviceColumn[];
}

/** What an app declares of a column; `defineTable`'s builders make these. */
export interface ColumnSpec {
  readonly type: ColumnType;
  readonly nullable?: boolean;
  /** Value of a column that an insert leaves out, in canonical form. */
  readonly initial?: Scalar | undefined;
}
export type SchemaSpec = Readonly<Record<string, Readonly<Record<string, ColumnSpec>>>>;

export const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;
export const rowsTable = (table: string): string => quote(`lakesync_rows_${table}`);

/** The columns of an app's declaration. @throws LakeSyncError `BadIdentifier` or `BadConfig` */
export function columnsOf(table: string, spec: SchemaSpec[string]): DeviceColumn[] {
  parseIdentifier("table name", table);
  const columns = Object.entries(spec).map(([name, column]): DeviceColumn => {
    parseIdentifier("column name", name);
    const { type, nullable = true, initial } = column;
    return { name, type, nullable, ...(initial === undefined ? {} : { initial }) };
  });
  if (new Set(columns.map((c) => c.name.toLowerCase())).size === columns.length) return columns;
  throw new LakeSyncError("BadConfig", `Two columns of ${table} would be the same to SQL.`);
}

export const keyFor = (columns: readonly DeviceColumn[]): string =>
  columns.some((c) => c.name.toLowerCase() === "id") ? "_id" : "id";

const columnSql = (c: DeviceColumn): string => `${quote(c.name)} ${SQL_TYPES[c.type]}`;
const withDefault = (c: DeviceColumn): string =>
  c.initial === undefined ? "" : ` DEFAULT ${literal(toStored(c.type, c.initial))}`;

function literal(value: SqlValue): string {
  if (value === null) return "NULL";
  if (typeof value === "string") return `'${value.replaceAll("'", "''")}'`;
  if (typeof value !== "object") return String(value);
  return `x'${bytesToHex(value)}'`;
}

/** CREATE TABLE for a synced table and its bookkeeping. */
export function createTableSql(table: DeviceTable): string {
  const columns = [`${quote(table.key)} TEXT PRIMARY KEY NOT NULL DEFAULT (lower(hex(randomblob(16))))`];
  return `
    CREATE TABLE ${quote(table.name)} (${[...columns, ...table.columns.map((c) => columnSql(c) + withDefault(c))].join(", ")}) STRICT;
    CREATE TABLE ${rowsTable(table.name)} (id TEXT PRIMARY KEY NOT NULL, ins TEXT, del TEXT, cells TEXT, base TEXT) WITHOUT ROWID;`;
}

/** Without the default: rows that are there already must not show a value that nobody wrote. */
export const addColumnSql = (table: DeviceTable, column: DeviceColumn): string =>
  `ALTER TABLE ${quote(table.name)} ADD COLUMN ${columnSql(column)};`;

/** A new name for the primary key, for the app has a column of the old one. */
export const renameKeySql = (table: DeviceTable, key: string): string =>
  `ALTER TABLE ${quote(table.name)} RENAME COLUMN ${quote(table.key)} TO ${quote(key)};`;

/** JSON text of a cell, see values.ts. `x` is NEW."column" or OLD."column". */
function cellJson(type: DeviceType, x: string): string {
  const whole = `CASE WHEN ${x} BETWEEN -9007199254740991 AND 9007199254740991 THEN ${x} ELSE '"' || ${x} || '"' END`;
  // json_quote() of older SQLite rounds to 15 digits; this form round-trips in all.
  const real = `printf('%!.17g', ${x})`;
  switch (type) {
    case "integer":
    case "timestamp":
      return `coalesce(${whole}, 'null')`;
    case "boolean":
      return `coalesce(${x}, 'null')`;
    case "number":
      return `CASE WHEN ${x} IS NULL THEN 'null' ELSE ${real} END`;
    case "bytes":
      return `CASE WHEN ${x} IS NULL THEN 'null' ELSE '"' || hex(${x}) || '"' END`;
    case "any":
      return `CASE typeof(${x}) WHEN 'real' THEN ${real} WHEN 'integer' THEN ${whole} ELSE json_quote(${x}) END`;
    default:
      return `json_quote(${x})`;
  }
}

/** Stands where an entry does not name a column, as in a DeltaBatch. */
const ABSENT_JSON = "'[]'";

const jsonArray = (cells: readonly string[]): string =>
  cells.length === 0 ? "'[]'" : `'[' || ${cells.join(" || ',' || ")} || ']'`;

/** What a column's type demands of the app's own writes beyond what STRICT checks; remote rows are not held to it. */
function checkSql(table: string, c: DeviceColumn, update: boolean): string[] {
  const x = `NEW.${quote(c.name)}`;
  const raise = (code: string, sentence: string, when: string) =>
    `SELECT RAISE(ABORT, '${code}: ${table}.${c.name} ${sentence}.') WHERE ${when};`;
  const checks: string[] = [];
  if (!c.nullable)
    checks.push(
      raise("NotNull", "must not be NULL", `${x} IS NULL${update ? ` AND OLD.${quote(c.name)} IS NOT NULL` : ""}`),
    );
  if (c.type === "boolean") checks.push(raise("WrongType", "is a boolean: write 0 or 1", `${x} NOT IN (0, 1)`));
  if (c.type === "json") checks.push(raise("WrongType", "must be JSON text", `json_valid(${x}) = 0`));
  if (c.type === "number" || c.type === "any")
    checks.push(
      raise("WrongType", "must be a finite number", `typeof(${x}) = 'real' AND abs(${x}) > 1.7976931348623157e308`),
    );
  if (c.type === "any") checks.push(raise("WrongType", "takes no bytes; declare its type", `typeof(${x}) = 'blob'`));
  return checks;
}

export const dropInsertTriggerSql = (table: DeviceTable): string =>
  `DROP TRIGGER IF EXISTS ${quote(`lakesync_insert_${table.name}`)};`;

/**
 * The triggers of a table. An insert names every cell that is not NULL, an update the cells that it changed; what a cell
 * or row was before goes into `old`, so that the gateway's row can be recovered (see rows.ts). A change of the row id is a
 * delete and an insert, and so is a REPLACE (recursive_triggers is on).
 */
export function triggersSql(table: DeviceTable): string {
  const { id, columns } = table;
  const key = quote(table.key);
  const cell = (row: "NEW" | "OLD", c: DeviceColumn) => cellJson(c.type, `${row}.${quote(c.name)}`);
  const named = jsonArray(
    columns.map((c) => `CASE WHEN NEW.${quote(c.name)} IS NULL THEN ${ABSENT_JSON} ELSE ${cell("NEW", c)} END`),
  );
  const whole = jsonArray(columns.map((c) => cell("OLD", c)));
  const changed = (row: "NEW" | "OLD") =>
    jsonArray(
      columns.map(
        (c) => `CASE WHEN NEW.${quote(c.name)} IS OLD.${quote(c.name)} THEN ${ABSENT_JSON} ELSE ${cell(row, c)} END`,
      ),
    );
  const differs = columns.map((c) => `NEW.${quote(c.name)} IS NOT OLD.${quote(c.name)}`).join(" OR ") || "0";
  const entry = (op: string, rowId: string, cells: string, old: string) =>
    `INSERT INTO lakesync_outbox (hlc, tbl, op, row_id, cells, old) VALUES (lakesync_hlc(), ${id}, '${op}', ${rowId}, ${cells}, ${old});`;
  const checks = (update: boolean) => columns.flatMap((c) => checkSql(table.name, c, update)).join("\n");
  const trigger = (name: string, event: string, when: string, body: string) => `
    DROP TRIGGER IF EXISTS ${quote(`lakesync_${name}_${table.name}`)};
    CREATE TRIGGER ${quote(`lakesync_${name}_${table.name}`)} AFTER ${event} ON ${quote(table.name)} WHEN ${when}
    BEGIN ${body} END;`;
  return [
    trigger("insert", "INSERT", "lakesync_on()", checks(false) + entry("I", `NEW.${key}`, named, "NULL")),
    trigger("delete", "DELETE", "lakesync_on()", entry("D", `OLD.${key}`, "NULL", whole)),
    trigger(
      "update",
      "UPDATE",
      `NEW.${key} IS OLD.${key} AND (${differs}) AND lakesync_on()`,
      checks(true) + entry("U", `NEW.${key}`, changed("NEW"), changed("OLD")),
    ),
    trigger(
      "rename",
      "UPDATE",
      `NEW.${key} IS NOT OLD.${key} AND lakesync_on()`,
      checks(true) + entry("D", `OLD.${key}`, "NULL", whole) + entry("I", `NEW.${key}`, named, "NULL"),
    ),
  ].join("");
}

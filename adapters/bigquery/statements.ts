/**
 * BigQuery's tables of a synced table, and the statements on them. Columns are known by LakeSync's column ids: they are
 * called c1, c2 ... in the base table, and a view of the table's own name shows them by their names, so that a rename, and a
 * name that goes to another column, cost a new view and nothing else (L4).
 *
 *   <table>                view: _id, _stamp, _seq, the user's columns      <table>__changes   one row an edit
 *   lakesync_rows_<table>  one row a live row, clustered by _id             lakesync_tables, lakesync_watermarks
 *
 * In a statement, {name} stands for a table of the dataset.
 *
 * A flush is loaded into a table of its own (`k` is r for a row, c for an edit), and taken from there in one transaction
 * with its watermark; what the watermark has already is left out (F1).
 */
import { type Column, type ColumnType, isIdentifier, LakeSyncError, type TableSchema } from "../../schemas/index.ts";

const TYPES: Record<ColumnType, string> = {
  string: "STRING",
  integer: "INT64",
  number: "FLOAT64",
  boolean: "BOOL",
  timestamp: "TIMESTAMP",
  json: "STRING",
  bytes: "BYTES",
};

export const columnOf = ({ id }: Pick<Column, "id">): string => `c${id}`;
const rowsTable = (table: string): string => `{lakesync_rows_${table}}`;
const changesTable = (table: string): string => `{${table}__changes}`;

/** Names become SQL: what is no identifier does not get that far (S3). */
export function assertNames({ table, columns }: TableSchema): void {
  for (const name of [table, ...columns.map((column) => column.name)])
    if (!isIdentifier(name))
      throw new LakeSyncError("BadIdentifier", `${JSON.stringify(name.slice(0, 80))} cannot name a table or column.`);
}

/** Identifiers, checked before, within backticks. */
export const inDataset = (dataset: string, sql: string): string =>
  sql.replaceAll(/\{(\w+)\}/g, (_, table: string) => `\`${dataset}.${table}\``);

export const BOOKKEEPING = `
CREATE TABLE IF NOT EXISTS {lakesync_tables} (tbl STRING NOT NULL, version INT64 NOT NULL, columns STRING NOT NULL);
CREATE TABLE IF NOT EXISTS {lakesync_watermarks} (tbl STRING NOT NULL, gateway STRING NOT NULL, shard STRING NOT NULL,
  seq INT64 NOT NULL, digest STRING)`;

export function createTable({ table, columns }: TableSchema): string {
  const list = columns.map((column) => `${columnOf(column)} ${TYPES[column.type]}`).join(", ");
  return `
CREATE TABLE IF NOT EXISTS ${rowsTable(table)} (_id STRING NOT NULL, _stamp STRING NOT NULL, _seq INT64 NOT NULL, ${list})
  CLUSTER BY _id;
CREATE TABLE IF NOT EXISTS ${changesTable(table)} (_gateway STRING NOT NULL, _shard STRING NOT NULL, _seq INT64 NOT NULL,
  _received TIMESTAMP, _hlc STRING NOT NULL, _client_id STRING NOT NULL, _op STRING NOT NULL, _id STRING NOT NULL,
  _cells STRING NOT NULL) CLUSTER BY _shard, _seq`;
}

export const addColumn = (table: string, column: Column): string =>
  `ALTER TABLE ${rowsTable(table)} ADD COLUMN IF NOT EXISTS ${columnOf(column)} ${TYPES[column.type]}`;

export const createView = ({ table, columns }: TableSchema): string =>
  `CREATE OR REPLACE VIEW {${table}} AS SELECT _id, _stamp, _seq, ${columns
    .map((column) => `${columnOf(column)} AS \`${column.name}\``)
    .join(", ")} FROM ${rowsTable(table)}`;

/** Parameters: tbl, version, columns. */
export const REMEMBER = `
MERGE {lakesync_tables} t USING (SELECT @tbl AS tbl, @version AS version, @columns AS columns) s ON t.tbl = s.tbl
  WHEN MATCHED THEN UPDATE SET version = s.version, columns = s.columns
  WHEN NOT MATCHED THEN INSERT (tbl, version, columns) VALUES (s.tbl, s.version, s.columns)`;

export const STAGE_FIELDS = [
  { name: "k", type: "STRING" },
  { name: "seq", type: "INTEGER" },
  { name: "id", type: "STRING" },
  { name: "stamp", type: "STRING" },
  { name: "dead", type: "BOOLEAN" },
  { name: "received", type: "INTEGER" },
  { name: "op", type: "STRING" },
  { name: "client", type: "STRING" },
  { name: "body", type: "STRING" },
] as const;

/** A value of a column, out of the text that the stage has of it. */
function valueFrom(column: Column): string {
  const text = `JSON_VALUE(body, '$.${columnOf(column)}')`;
  if (column.type === "bytes") return `FROM_BASE64(${text})`;
  return column.type === "string" || column.type === "json" ? text : `CAST(${text} AS ${TYPES[column.type]})`;
}

/**
 * Takes what was loaded, with the watermark, or nothing. Whose it is, and up to where, stands in the stage too (`k` is m),
 * so that no value becomes SQL.
 */
export function takeStage({ table, columns }: TableSchema, stage: string): string {
  const names = columns.map(columnOf);
  const source = columns.map((column) => `${valueFrom(column)} AS ${columnOf(column)}`).join(", ");
  const meta = (field: string) => `(SELECT ${field} FROM {${stage}} WHERE k = 'm')`;
  return `
DECLARE of_gateway STRING DEFAULT ${meta("id")};
DECLARE of_shard STRING DEFAULT ${meta("stamp")};
DECLARE to_seq INT64 DEFAULT ${meta("seq")};
DECLARE of_digest STRING DEFAULT ${meta("body")};
DECLARE held INT64 DEFAULT 0;
BEGIN TRANSACTION;
SET held = (SELECT IFNULL(MAX(seq), 0) FROM {lakesync_watermarks}
  WHERE tbl = '${table}' AND gateway = of_gateway AND shard = of_shard);
INSERT INTO ${changesTable(table)} (_gateway, _shard, _seq, _received, _hlc, _client_id, _op, _id, _cells)
  SELECT of_gateway, of_shard, seq, TIMESTAMP_MILLIS(received), stamp, client, op, id, body
  FROM {${stage}} WHERE k = 'c' AND seq > held AND held < to_seq;
MERGE ${rowsTable(table)} t
  USING (SELECT id, stamp, seq, dead, ${source} FROM {${stage}} WHERE k = 'r' AND seq > held AND held < to_seq) s
  ON t._id = s.id
  WHEN MATCHED AND s.dead THEN DELETE
  WHEN MATCHED THEN UPDATE SET _stamp = s.stamp, _seq = s.seq, ${names.map((name) => `${name} = s.${name}`).join(", ")}
  WHEN NOT MATCHED AND NOT s.dead THEN
    INSERT (_id, _stamp, _seq, ${names.join(", ")}) VALUES (s.id, s.stamp, s.seq, ${names.map((name) => `s.${name}`).join(", ")});
DELETE FROM {lakesync_watermarks} WHERE tbl = '${table}' AND gateway = of_gateway AND shard = of_shard AND seq < to_seq;
INSERT INTO {lakesync_watermarks} (tbl, gateway, shard, seq, digest)
  SELECT '${table}', of_gateway, of_shard, to_seq, of_digest FROM (SELECT 1) WHERE held < to_seq;
COMMIT TRANSACTION`;
}

export const dropStage = (stage: string): string => `DROP TABLE IF EXISTS {${stage}}`;

export const PROGRESS = "SELECT gateway, shard, seq, digest FROM {lakesync_watermarks} WHERE tbl = @tbl";
export const KNOWN = "SELECT version, columns FROM {lakesync_tables} WHERE tbl = @tbl";

/** Parameters: after, limit; ids. */
export function selectRows({ table }: TableSchema, columns: readonly Column[], byId: boolean): string {
  const list = columns.map((column) =>
    column.type === "timestamp"
      ? `UNIX_MICROS(${columnOf(column)}) AS ${columnOf(column)}`
      : column.type === "bytes"
        ? `TO_BASE64(${columnOf(column)}) AS ${columnOf(column)}`
        : columnOf(column),
  );
  return `SELECT ${["_id", "_stamp", "_seq", ...list].join(", ")} FROM ${rowsTable(table)}
    WHERE _id > @after ${byId ? "AND _id IN UNNEST(@ids)" : ""} ORDER BY _id LIMIT @limit`;
}

/** Parameters: shard, gateway ("" for any), after, limit. */
export const selectChanges = ({ table }: TableSchema): string =>
  `SELECT _seq, UNIX_MILLIS(_received) AS received, _hlc, _client_id, _op, _id, _cells FROM ${changesTable(table)}
    WHERE _shard = @shard AND (@gateway = '' OR _gateway = @gateway) AND _seq > @after ORDER BY _seq LIMIT @limit`;

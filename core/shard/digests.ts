/**
 * The digests of a shard's tables (V1), kept without a row written for them:
 *
 *   log    each entry carries its table's digest after it
 *   meta   { seq, tables: { t: digest } }: written when the log is trimmed, and when rows move
 *
 * What meta says, and the newest log entries after that seq, are the digests now.
 */
import type { TableSchema } from "../../schemas/index.ts";
import { rowDigest, TableDigest } from "../digest.ts";
import type { SqlStore } from "../ports/index.ts";
import { type PackedRow, readMeta, rowsAfter, writeMeta } from "./store.ts";
import { unpackRow } from "./stored-row.ts";

const KEY = "digests";
const ROWS_AT_ONCE = 1000;

export type Digests = Map<number, TableDigest>;

/** Names of a table's columns by id, as stored rows have it. */
export function columnNames(table: TableSchema | undefined): (column: number) => string | undefined {
  const names = new Map(table?.columns.map((c) => [c.id, c.name]));
  return (column) => names.get(column);
}

/** @param schemaOf by number; undefined for a table that is gone */
export function readDigests(sql: SqlStore, schemaOf: (t: number) => TableSchema | undefined): Digests {
  const digests: Digests = new Map();
  const stored = readMeta(sql, KEY);
  const { seq, tables } = JSON.parse(stored ?? '{ "seq": 0, "tables": {} }') as Stored;
  for (const [t, text] of Object.entries(tables)) put(digests, Number(t), text);
  const later = sql.exec<{ t: number; digest: string }>(
    "SELECT t, digest FROM log WHERE first > ? AND digest IS NOT NULL ORDER BY first",
    seq,
  );
  for (const { t, digest } of later) put(digests, t, digest);
  if (stored === undefined) countOthers(sql, schemaOf, digests);
  return digests;
}

interface Stored {
  readonly seq: number;
  readonly tables: Readonly<Record<string, string>>;
}

function put(digests: Digests, t: number, text: string): void {
  const digest = TableDigest.parse(text);
  if (digest) digests.set(t, digest);
}

/** Of a shard from before there were digests: tables that no edit has changed since. */
function countOthers(sql: SqlStore, schemaOf: (t: number) => TableSchema | undefined, digests: Digests): void {
  for (const { t } of sql.exec<{ t: number }>("SELECT t FROM names"))
    if (!digests.has(t)) digests.set(t, countRows(sql, t, schemaOf(t)));
}

/** Reads every row of a table: what its digest has to be. */
export function countRows(sql: SqlStore, t: number, table: TableSchema | undefined): TableDigest {
  const digest = new TableDigest();
  const nameOf = columnNames(table);
  for (let after = ""; ; ) {
    const rows = rowsAfter(sql, t, after, ROWS_AT_ONCE);
    addRows(digest, rows, nameOf);
    if (rows.length < ROWS_AT_ONCE) return digest;
    after = (rows.at(-1) as PackedRow).id;
  }
}

export function addRows(
  digest: TableDigest,
  rows: readonly PackedRow[],
  nameOf: ReturnType<typeof columnNames>,
  sign: "add" | "remove" = "add",
): void {
  for (const { id, seq, state } of rows) digest[sign](rowDigest(id, unpackRow(seq, state).state, nameOf));
}

/** @param seq everything up to here is in these digests, and nothing after it */
export function writeDigests(sql: SqlStore, digests: Digests, seq: number): void {
  const tables = Object.fromEntries([...digests].map(([t, digest]) => [t, String(digest)]));
  writeMeta(sql, KEY, JSON.stringify({ seq, tables }));
}

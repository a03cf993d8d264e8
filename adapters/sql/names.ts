/** Names in a database. */
import { IDENTIFIER_CHARS_MAX, LakeSyncError, parseIdentifier } from "../../schemas/index.ts";

/** The name of a table's change log; Postgres cuts names at 63 bytes, MySQL refuses past 64, so a long one is cut here. */
export const changesView = (table: string): string =>
  table.length + 9 <= IDENTIFIER_CHARS_MAX ? `${table}__changes` : `${table.slice(0, 45)}_${fnv(table)}__changes`;

/** FNV-1a, 32 bits, in hex: names that are cut alike stay apart. */
function fnv(text: string): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}

/** Throws `BadIdentifier` for a schema whose names nobody may have (S3). */
export function checkNames(table: {
  readonly table: string;
  readonly columns: readonly { readonly name: string }[];
}): void {
  parseIdentifier("table name", table.table);
  for (const { name } of table.columns) parseIdentifier("column name", name);
}

/** Refuses the names of a database's own that it gives to no column. */
export function refuseNames(
  database: string,
  taken: ReadonlySet<string>,
  table: string,
  columns: readonly string[],
): void {
  const column = columns.find((name) => taken.has(name.toLowerCase()));
  if (column === undefined) return;
  throw new LakeSyncError(
    "DestinationRefused",
    `${database} keeps the column name ${column} for itself; rename the column of ${table}.`,
    { table, column },
  );
}

/** A table of that name which LakeSync did not make is left alone. */
export const foreignTable = (database: string, table: string): LakeSyncError =>
  new LakeSyncError(
    "DestinationRefused",
    `${database} has a table ${table} that LakeSync did not make; rename it, or let LakeSync use a schema of its own (option "schema").`,
    { table },
  );

export const closedAdapter = (database: string): LakeSyncError =>
  new LakeSyncError("Closed", `The adapter of ${database} was closed.`);

/**
 * Names in a catalogue. Namespace levels and table names become SQL text and parts of object keys, so they match one
 * pattern (S3): letters, digits, "_" and "-", not starting with "-". Levels of a namespace are joined by the unit
 * separator, in the REST protocol ("namespace" parameter) and in SQLite alike.
 */
import type { TableIdent } from "../../core/index.ts";
import type { LakeSyncError, Result } from "../../schemas/index.ts";
import { attempt, catalogueError, refuse } from "./errors.ts";

export type Namespace = readonly string[];

/** U+001F, "%1F" in a URL. */
export const SEPARATOR = "\u001f";

/** Characters; with eight levels an object key stays below R2's 1,024 bytes. */
const NAME_CHARS_MAX = 96;
const LEVELS_MAX = 8;
const NAME = new RegExp(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,${NAME_CHARS_MAX - 1}}$`);

function checkName(name: string, what: string): void {
  if (typeof name === "string" && NAME.test(name)) return;
  refuse(
    `${JSON.stringify(String(name).slice(0, 80))} cannot name a ${what}: use up to ${NAME_CHARS_MAX} letters, digits, "_" and "-".`,
  );
}

/** Succeeds for a namespace of one to eight proper levels; BadRequest otherwise. */
export function checkNamespace(namespace: Namespace): Result<void, LakeSyncError> {
  return attempt(() => {
    if (namespace.length === 0 || namespace.length > LEVELS_MAX) refuse(`A namespace has 1 to ${LEVELS_MAX} levels.`);
    for (const level of namespace) checkName(level, "namespace");
  });
}

/** Succeeds for a table name in a proper namespace; BadRequest otherwise. */
export function checkIdent(ident: TableIdent): Result<void, LakeSyncError> {
  const namespace = checkNamespace(ident.namespace);
  return namespace.ok ? attempt(() => checkName(ident.name, "table")) : namespace;
}

export const namespaceKey = (namespace: Namespace): string => namespace.join(SEPARATOR);
export const namespaceOf = (key: string): Namespace => key.split(SEPARATOR);

/** How messages name a table or namespace. */
export const dotted = (name: Namespace | TableIdent): string =>
  "name" in name ? [...name.namespace, name.name].join(".") : name.join(".");

export const noSuchTable = (ident: TableIdent): LakeSyncError =>
  catalogueError("NoSuchTableException", `There is no table ${dotted(ident)}.`);
export const noSuchNamespace = (namespace: Namespace): LakeSyncError =>
  catalogueError("NoSuchNamespaceException", `There is no namespace ${dotted(namespace)}. Create it first.`);
export const tableExists = (ident: TableIdent): LakeSyncError =>
  catalogueError("AlreadyExistsException", `Table ${dotted(ident)} exists already.`);

/**
 * What the embedded catalogue keeps in SQLite: namespaces, and for each table the pointer to its current metadata file.
 *
 *   namespaces (name, properties)                                        name = levels joined by U+001F
 *   tables     (namespace, name, location, metadata_location, version)   one row a table, no index beside the key
 *
 * A pointer moves only from the value that the mover saw (`swap`): the compare-and-swap that table spec, "Metastore Tables",
 * asks for. All methods are synchronous; several of them are atomic inside `transaction`.
 */
import type { SqlStore, TableIdent } from "../../core/index.ts";
import { type Namespace, namespaceKey, namespaceOf, SEPARATOR } from "./names.ts";

export interface Pointer {
  readonly location: string;
  readonly metadataLocation: string;
  /** Of the metadata file; grows by one with each commit. */
  readonly version: number;
}

export interface Page {
  /** Names after this one; "" for the first page. */
  readonly after: string;
  readonly size: number;
}

type PointerRow = { namespace: string; name: string; location: string; metadata_location: string; version: number };

/** The character after U+001F: what follows every name that has a given namespace as parent. */
const AFTER_SEPARATOR = " ";

export class Pointers {
  readonly #sql: SqlStore;

  constructor(sql: SqlStore) {
    this.#sql = sql;
    sql.exec(
      "CREATE TABLE IF NOT EXISTS namespaces (name TEXT PRIMARY KEY, properties TEXT NOT NULL) STRICT, WITHOUT ROWID",
    );
    sql.exec(
      `CREATE TABLE IF NOT EXISTS tables (
        namespace TEXT NOT NULL, name TEXT NOT NULL, location TEXT NOT NULL, metadata_location TEXT NOT NULL,
        version INTEGER NOT NULL, PRIMARY KEY (namespace, name)
      ) STRICT, WITHOUT ROWID`,
    );
  }

  transaction<T>(body: () => T): T {
    return this.#sql.transaction(body);
  }

  /** The namespace's properties; undefined where there is no such namespace. */
  namespace(namespace: Namespace): Readonly<Record<string, string>> | undefined {
    const row = this.#sql.exec<{ properties: string }>(
      "SELECT properties FROM namespaces WHERE name = ?",
      namespaceKey(namespace),
    )[0];
    return row === undefined ? undefined : JSON.parse(row.properties);
  }

  /** Direct children of a namespace, or the top level, in order of name. */
  childNamespaces(parent: Namespace | null, page: Page): Namespace[] {
    const prefix = parent === null ? "" : `${namespaceKey(parent)}${SEPARATOR}`;
    const end = parent === null ? "\u{10ffff}" : `${namespaceKey(parent)}${AFTER_SEPARATOR}`;
    return this.#sql
      .exec<{ name: string }>(
        `SELECT name FROM namespaces
         WHERE name > ?1 AND name > ?2 AND name < ?3 AND instr(substr(name, length(?1) + 1), ?4) = 0
         ORDER BY name LIMIT ?5`,
        prefix,
        page.after,
        end,
        SEPARATOR,
        page.size,
      )
      .map((row) => namespaceOf(row.name));
  }

  putNamespace(namespace: Namespace, properties: Readonly<Record<string, string>>): void {
    this.#sql.exec(
      "INSERT INTO namespaces (name, properties) VALUES (?, ?) ON CONFLICT DO UPDATE SET properties = excluded.properties",
      namespaceKey(namespace),
      JSON.stringify(properties),
    );
  }

  deleteNamespace(namespace: Namespace): void {
    this.#sql.exec("DELETE FROM namespaces WHERE name = ?", namespaceKey(namespace));
  }

  find(ident: TableIdent): Pointer | undefined {
    const row = this.#sql.exec<PointerRow>(
      "SELECT location, metadata_location, version FROM tables WHERE namespace = ? AND name = ?",
      namespaceKey(ident.namespace),
      ident.name,
    )[0];
    if (row === undefined) return undefined;
    return { location: row.location, metadataLocation: row.metadata_location, version: row.version };
  }

  tables(namespace: Namespace, page: Page): TableIdent[] {
    return this.#sql
      .exec<{ name: string }>(
        "SELECT name FROM tables WHERE namespace = ? AND name > ? ORDER BY name LIMIT ?",
        namespaceKey(namespace),
        page.after,
        page.size,
      )
      .map((row) => ({ namespace, name: row.name }));
  }

  /** Every table with its location: what a new location must not overlap. */
  locations(): { readonly ident: TableIdent; readonly location: string }[] {
    return this.#sql
      .exec<PointerRow>("SELECT namespace, name, location FROM tables")
      .map((row) => ({ ident: { namespace: namespaceOf(row.namespace), name: row.name }, location: row.location }));
  }

  insert(ident: TableIdent, pointer: Pointer): void {
    this.#sql.exec(
      "INSERT INTO tables (namespace, name, location, metadata_location, version) VALUES (?, ?, ?, ?, ?)",
      namespaceKey(ident.namespace),
      ident.name,
      pointer.location,
      pointer.metadataLocation,
      pointer.version,
    );
  }

  /** Moves the pointer if it still is what `seen` says; tells whether it did. */
  swap(ident: TableIdent, seen: Pointer, next: Pointer): boolean {
    const moved = this.#sql.exec(
      `UPDATE tables SET location = ?, metadata_location = ?, version = ?
       WHERE namespace = ? AND name = ? AND metadata_location = ? RETURNING 1 AS moved`,
      next.location,
      next.metadataLocation,
      next.version,
      namespaceKey(ident.namespace),
      ident.name,
      seen.metadataLocation,
    );
    return moved.length === 1;
  }

  delete(ident: TableIdent): void {
    this.#sql.exec("DELETE FROM tables WHERE namespace = ? AND name = ?", namespaceKey(ident.namespace), ident.name);
  }

  rename(from: TableIdent, to: TableIdent): void {
    this.#sql.exec(
      "UPDATE tables SET namespace = ?, name = ? WHERE namespace = ? AND name = ?",
      namespaceKey(to.namespace),
      to.name,
      namespaceKey(from.namespace),
      from.name,
    );
  }
}

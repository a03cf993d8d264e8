/**
 * What a catalogue answers to the REST protocol, one method an endpoint: implemented by EmbeddedCatalogue in process and by
 * the stub of a Durable Object. `catalogueOf` makes the `Catalogue` port of it, for LakeSync's own use.
 */
import type {
  Catalogue,
  CommitOutcome,
  CreateTable,
  LoadedTable,
  TableIdent,
  TableMetadata,
  TableRequirement,
  TableUpdate,
} from "../../core/index.ts";
import { type LakeSyncError, ok, type Result } from "../../schemas/index.ts";
import { icebergTypeOf } from "./errors.ts";
import type { Namespace } from "./names.ts";

export type Answer<T> = Promise<Result<T, LakeSyncError>>;
export type Properties = Readonly<Record<string, string>>;

export interface PageRequest {
  /** What the last page gave as `next`; "" for the first. Left out: everything in one answer. */
  readonly token?: string;
  readonly size?: number;
}
export interface Paged<T> {
  readonly items: readonly T[];
  readonly next: string | null;
}

export interface TableChange {
  readonly ident: TableIdent;
  readonly requirements: readonly TableRequirement[];
  readonly updates: readonly TableUpdate[];
}

/** Fails as the REST specification says for each endpoint; `details.type` of the error has the Iceberg name (errors.ts). */
export interface CatalogueServer {
  listNamespaces(parent: Namespace | null, page: PageRequest): Answer<Paged<Namespace>>;
  /** Missing parents come into being with it. Gives the properties that it keeps. */
  createNamespace(namespace: Namespace, properties: Properties): Answer<Properties>;
  loadNamespace(namespace: Namespace): Answer<Properties>;
  dropNamespace(namespace: Namespace): Answer<void>;
  updateNamespace(
    namespace: Namespace,
    change: { readonly removals: readonly string[]; readonly updates: Properties },
  ): Answer<{
    readonly updated: readonly string[];
    readonly removed: readonly string[];
    readonly missing: readonly string[];
  }>;

  listTables(namespace: Namespace, page: PageRequest): Answer<Paged<TableIdent>>;
  tableExists(ident: TableIdent): Answer<void>;
  loadTable(ident: TableIdent): Answer<LoadedTable>;
  createTable(ident: TableIdent, definition: CreateTable): Answer<LoadedTable>;
  /** Metadata of a table that a commit with assert-create will bring into being; nothing is kept. */
  stageTable(ident: TableIdent, definition: CreateTable): Answer<TableMetadata>;
  registerTable(ident: TableIdent, metadataLocation: string, overwrite: boolean): Answer<LoadedTable>;
  /** All changes land, or none; the tables in the order of the changes. CommitConflict when another commit was faster. */
  commit(changes: readonly TableChange[]): Answer<readonly LoadedTable[]>;
  dropTable(ident: TableIdent, purge: boolean): Answer<void>;
  renameTable(from: TableIdent, to: TableIdent): Answer<void>;
}

/** The Catalogue port over a server. */
export function catalogueOf(server: CatalogueServer): Catalogue {
  return {
    async ensureNamespace(namespace) {
      const made = await server.createNamespace(namespace, {});
      if (made.ok || icebergTypeOf(made.error) === "AlreadyExistsException") return ok(undefined);
      return made;
    },
    async listTables(namespace) {
      const page = await server.listTables(namespace, {});
      return page.ok ? ok(page.value.items) : page;
    },
    load: (table) => server.loadTable(table),
    create: (table, definition) => server.createTable(table, definition),
    async commit(ident, requirements, updates) {
      const answer = await server.commit([{ ident, requirements, updates }]);
      if (answer.ok) {
        const [table] = answer.value;
        return ok<CommitOutcome>(
          table === undefined ? { outcome: "unknown", reason: "no table came back" } : { outcome: "landed", table },
        );
      }
      const { error } = answer;
      if (error.code === "CommitConflict") return ok<CommitOutcome>({ outcome: "conflict", reason: error.message });
      if (error.code === "CommitUnknown") return ok<CommitOutcome>({ outcome: "unknown", reason: error.message });
      return answer;
    },
    drop: (table, options) => server.dropTable(table, options?.purge ?? false),
  };
}

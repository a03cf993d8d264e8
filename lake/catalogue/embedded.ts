/**
 * The embedded catalogue: pointers in SQLite, metadata files in the object store beside the data.
 *
 *   commit   read pointer and base metadata -> requirements, updates (pure)
 *            -> write <version>-<new uuid>.metadata.json, only where nothing is      nobody sees it yet
 *            -> one SQLite transaction swaps every pointer, if each is what it was   the commit point (L2)
 *            -> somebody was faster: take the own files back, begin again from the new base
 *
 * A commit whose requirements still hold on the new base lands then; one whose requirements do not is a conflict. A crash
 * before the swap leaves files that nothing names, for orphan removal to find; after it, a commit that its client has to
 * look up. No file is ever written twice.
 */
import type {
  Clock,
  CreateTable,
  LakeAdapter,
  LoadedTable,
  SqlStore,
  TableIdent,
  TableMetadata,
} from "../../core/index.ts";
import { err, LakeSyncError, ok, type Result } from "../../schemas/index.ts";
import { droppedMetadataFiles } from "./draft.ts";
import { attempt, catalogueError, refuse } from "./errors.ts";
import { keyWithin, metadataFile, newLocation, overlap, type Root, rootOf, versionOf } from "./locations.ts";
import { checkRequirements, newTableMetadata } from "./metadata.ts";
import { MetadataFiles } from "./metadata-files.ts";
import {
  checkIdent,
  checkNamespace,
  dotted,
  type Namespace,
  namespaceKey,
  noSuchNamespace,
  noSuchTable,
  tableExists,
} from "./names.ts";
import { type Pointer, Pointers } from "./pointers.ts";
import type { Answer, CatalogueServer, Paged, PageRequest, Properties, TableChange } from "./server.ts";
import { applyUpdates } from "./updates.ts";

export type FaultPoint =
  | "catalogue: after metadata files, before pointers"
  | "catalogue: after pointers, before answer";

export interface EmbeddedCatalogueOptions {
  readonly sql: SqlStore;
  readonly store: LakeAdapter;
  /** From the verified token; every location is below it (S1). */
  readonly gatewayId: string;
  readonly clock: Clock;
  /** A new random UUID at each call. */
  readonly newId: () => string;
  /** Called with the name of each point between two steps; a test stops or kills the catalogue there. */
  readonly fault?: (point: FaultPoint) => Promise<void>;
}

/** How often a commit that was overtaken begins again before it gives up with a conflict. */
const COMMIT_ATTEMPTS = 5;
/** Tables of one multi-table commit; each is a metadata file read and written. */
const COMMIT_TABLES_MAX = 100;
const PAGE_SIZE = 1000;
/** Bound of a list that is asked for whole; a gateway has at most some hundred tables. */
const LIST_MAX = 100_000;

/** A table's next version, written but not yet pointed at. */
interface Staged {
  readonly ident: TableIdent;
  readonly seen: Pointer | undefined;
  readonly base: TableMetadata | null;
  readonly next: Pointer;
  readonly metadata: TableMetadata;
}

/** Thrown inside the pointers' transaction to undo it: another commit was faster. */
class Overtaken extends Error {}

export class EmbeddedCatalogue implements CatalogueServer {
  readonly #pointers: Pointers;
  readonly #files: MetadataFiles;
  readonly #root: Root;
  readonly #options: EmbeddedCatalogueOptions;

  constructor(options: EmbeddedCatalogueOptions) {
    this.#options = options;
    this.#root = rootOf(options.store.location, options.gatewayId);
    this.#pointers = new Pointers(options.sql);
    this.#files = new MetadataFiles(options.store, this.#root);
  }

  // Namespaces

  async listNamespaces(parent: Namespace | null, page: PageRequest): Answer<Paged<Namespace>> {
    if (parent !== null && this.#pointers.namespace(parent) === undefined) return err(noSuchNamespace(parent));
    return ok(paged(page, namespaceKey, (after, size) => this.#pointers.childNamespaces(parent, { after, size })));
  }

  async createNamespace(namespace: Namespace, properties: Properties): Answer<Properties> {
    const checked = checkNamespace(namespace);
    if (!checked.ok) return checked;
    return this.#pointers.transaction((): Result<Properties, LakeSyncError> => {
      if (this.#pointers.namespace(namespace) !== undefined) {
        return err(catalogueError("AlreadyExistsException", `Namespace ${dotted(namespace)} exists already.`));
      }
      for (let levels = 1; levels < namespace.length; levels += 1) {
        const parent = namespace.slice(0, levels);
        if (this.#pointers.namespace(parent) === undefined) this.#pointers.putNamespace(parent, {});
      }
      this.#pointers.putNamespace(namespace, properties);
      return ok(properties);
    });
  }

  async loadNamespace(namespace: Namespace): Answer<Properties> {
    const properties = this.#pointers.namespace(namespace);
    return properties === undefined ? err(noSuchNamespace(namespace)) : ok(properties);
  }

  async dropNamespace(namespace: Namespace): Answer<void> {
    return this.#pointers.transaction((): Result<void, LakeSyncError> => {
      if (this.#pointers.namespace(namespace) === undefined) return err(noSuchNamespace(namespace));
      const first = { after: "", size: 1 };
      const used =
        this.#pointers.tables(namespace, first).length + this.#pointers.childNamespaces(namespace, first).length;
      if (used > 0) {
        return err(catalogueError("NamespaceNotEmptyException", `Namespace ${dotted(namespace)} is not empty.`));
      }
      this.#pointers.deleteNamespace(namespace);
      return ok(undefined);
    });
  }

  async updateNamespace(
    namespace: Namespace,
    { removals, updates }: { readonly removals: readonly string[]; readonly updates: Properties },
  ) {
    const both = removals.find((key) => Object.hasOwn(updates, key));
    if (both !== undefined) {
      return err(catalogueError("UnprocessableEntityException", `Property "${both}" is both removed and updated.`));
    }
    return this.#pointers.transaction(() => {
      const before = this.#pointers.namespace(namespace);
      if (before === undefined) return err(noSuchNamespace(namespace));
      const removed = removals.filter((key) => Object.hasOwn(before, key));
      const kept = Object.entries(before).filter(([key]) => !removed.includes(key));
      this.#pointers.putNamespace(namespace, { ...Object.fromEntries(kept), ...updates });
      const missing = removals.filter((key) => !removed.includes(key));
      return ok({ updated: Object.keys(updates), removed, missing });
    });
  }

  // Tables

  async listTables(namespace: Namespace, page: PageRequest): Answer<Paged<TableIdent>> {
    if (this.#pointers.namespace(namespace) === undefined) return err(noSuchNamespace(namespace));
    const token = (ident: TableIdent) => ident.name;
    return ok(paged(page, token, (after, size) => this.#pointers.tables(namespace, { after, size })));
  }

  async tableExists(ident: TableIdent): Answer<void> {
    return this.#pointers.find(ident) === undefined ? err(noSuchTable(ident)) : ok(undefined);
  }

  async loadTable(ident: TableIdent): Answer<LoadedTable> {
    const pointer = this.#pointers.find(ident);
    if (pointer === undefined) return err(noSuchTable(ident));
    return this.#load(pointer);
  }

  async createTable(ident: TableIdent, definition: CreateTable): Answer<LoadedTable> {
    const metadata = await this.stageTable(ident, definition);
    if (!metadata.ok) return metadata;
    return this.#introduce(ident, metadata.value);
  }

  async stageTable(ident: TableIdent, definition: CreateTable): Answer<TableMetadata> {
    const free = this.#mayCreate(ident);
    if (!free.ok) return free;
    const uuid = this.#options.newId();
    const location = definition.location?.replace(/\/+$/, "") || newLocation(this.#root, ident, uuid);
    const fits = this.#checkLocation(ident, location);
    if (!fits.ok) return fits;
    return newTableMetadata(definition, { uuid, location, nowMs: this.#options.clock.now() });
  }

  async registerTable(ident: TableIdent, metadataLocation: string, overwrite: boolean): Answer<LoadedTable> {
    const seen = this.#pointers.find(ident);
    const free = overwrite && seen !== undefined ? ok(undefined) : this.#mayCreate(ident);
    if (!free.ok) return free;
    const inside = attempt(() => keyWithin(this.#root, metadataLocation, "A metadata file"));
    if (!inside.ok) return inside;
    const metadata = await this.#files.read(metadataLocation);
    if (!metadata.ok) return unreadable(metadata.error, metadataLocation);
    const { location } = metadata.value;
    const next: Pointer = { location, metadataLocation, version: versionOf(metadataLocation) };
    return this.#pointers.transaction((): Result<LoadedTable, LakeSyncError> => {
      const now = this.#pointers.find(ident);
      const allowed = overwrite && now !== undefined ? ok(undefined) : this.#mayCreate(ident);
      if (!allowed.ok) return allowed;
      const fits = this.#checkLocation(ident, location);
      if (!fits.ok) return fits;
      if (now === undefined) this.#pointers.insert(ident, next);
      else this.#pointers.swap(ident, now, next);
      return ok({ metadata: metadata.value, metadataLocation });
    });
  }

  async dropTable(ident: TableIdent, purge: boolean): Answer<void> {
    const pointer = this.#pointers.find(ident);
    if (pointer === undefined) return err(noSuchTable(ident));
    this.#pointers.delete(ident);
    return purge ? this.#purge(pointer.location) : ok(undefined);
  }

  async renameTable(from: TableIdent, to: TableIdent): Answer<void> {
    if (this.#pointers.find(from) === undefined) return err(noSuchTable(from));
    const free = this.#mayCreate(to);
    if (!free.ok) return free;
    this.#pointers.rename(from, to);
    return ok(undefined);
  }

  async commit(changes: readonly TableChange[]): Answer<readonly LoadedTable[]> {
    const names = new Set(changes.map(({ ident }) => dotted(ident)));
    if (names.size !== changes.length || changes.length > COMMIT_TABLES_MAX) {
      return attempt(() => refuse(`A commit names each table once, and at most ${COMMIT_TABLES_MAX} of them.`));
    }
    for (let attempts = 0; attempts < COMMIT_ATTEMPTS; attempts += 1) {
      const staged = await this.#stage(changes);
      if (!staged.ok) return staged;
      const changed = staged.value.filter(({ metadata, base }) => metadata !== base);
      const written = await this.#write(changed);
      if (!written.ok) return written;
      await this.#options.fault?.("catalogue: after metadata files, before pointers");
      if (this.#point(staged.value)) {
        await this.#options.fault?.("catalogue: after pointers, before answer");
        await this.#files.remove(
          changed.flatMap(({ base, metadata }) => (base ? droppedMetadataFiles(base, metadata) : [])),
        );
        return ok(staged.value.map(({ metadata, next }) => ({ metadata, metadataLocation: next.metadataLocation })));
      }
      await this.#files.remove(changed.map(({ next }) => next.metadataLocation));
    }
    return err(catalogueError("CommitFailedException", "Other commits were faster every time: reload and try again."));
  }

  // Steps

  async #load({ metadataLocation }: Pointer): Answer<LoadedTable> {
    const metadata = await this.#files.read(metadataLocation);
    if (!metadata.ok) return lost(metadata.error, metadataLocation);
    return ok({ metadata: metadata.value, metadataLocation });
  }

  /** Decides each table's next version from what is there now; writes nothing. */
  async #stage(changes: readonly TableChange[]): Answer<readonly Staged[]> {
    const staged: Staged[] = [];
    for (const { ident, requirements, updates } of changes) {
      const seen = this.#pointers.find(ident);
      const creating = requirements.some(({ type }) => type === "assert-create");
      if (seen === undefined && !creating) return err(noSuchTable(ident));
      const loaded = seen === undefined ? undefined : await this.#load(seen);
      if (loaded !== undefined && !loaded.ok) return loaded;
      const base = loaded?.value.metadata ?? null;
      const holds = checkRequirements(base, requirements);
      if (!holds.ok) return holds;
      if (base !== null && seen !== undefined && updates.length === 0) {
        staged.push({ ident, seen, base, next: seen, metadata: base });
        continue;
      }
      const free = seen === undefined ? this.#mayCreate(ident) : ok(undefined);
      if (!free.ok) return free;
      const context = {
        nowMs: this.#options.clock.now(),
        ...(seen === undefined ? {} : { baseLocation: seen.metadataLocation }),
      };
      const metadata = applyUpdates(base, updates, context);
      if (!metadata.ok) return metadata;
      const { location } = metadata.value;
      const fits = location === seen?.location ? ok(undefined) : this.#checkLocation(ident, location);
      if (!fits.ok) return fits;
      const version = seen === undefined ? 0 : seen.version + 1;
      const metadataLocation = metadataFile(location, version, this.#options.newId());
      staged.push({ ident, seen, base, next: { location, metadataLocation, version }, metadata: metadata.value });
    }
    return ok(staged);
  }

  async #write(staged: readonly Staged[]): Answer<void> {
    const puts = await Promise.all(
      staged.map(({ next, metadata }) => this.#files.write(next.metadataLocation, metadata)),
    );
    const failed = puts.find((put) => !put.ok);
    if (failed === undefined || failed.ok) return ok(undefined);
    // Only what this commit surely wrote: a file that was there before is somebody's.
    await this.#files.remove(staged.filter((_, i) => puts[i]?.ok).map(({ next }) => next.metadataLocation));
    return failed;
  }

  /** The commit point: every pointer moves, or none. False when one is no longer what was seen. */
  #point(staged: readonly Staged[]): boolean {
    try {
      this.#pointers.transaction(() => {
        for (const { ident, seen, next } of staged) {
          if (seen === undefined) {
            if (this.#pointers.find(ident) !== undefined) throw new Overtaken();
            if (!this.#mayCreate(ident).ok || !this.#checkLocation(ident, next.location).ok) throw new Overtaken();
            this.#pointers.insert(ident, next);
          } else if (!this.#pointers.swap(ident, seen, next)) throw new Overtaken();
        }
      });
      return true;
    } catch (error) {
      if (error instanceof Overtaken) return false;
      throw error;
    }
  }

  /** Writes version 0 of a table and points at it. */
  async #introduce(ident: TableIdent, metadata: TableMetadata): Answer<LoadedTable> {
    const metadataLocation = metadataFile(metadata.location, 0, this.#options.newId());
    const next: Pointer = { location: metadata.location, metadataLocation, version: 0 };
    const staged: Staged = { ident, seen: undefined, base: null, next, metadata };
    const written = await this.#write([staged]);
    if (!written.ok) return written;
    await this.#options.fault?.("catalogue: after metadata files, before pointers");
    if (this.#point([staged])) {
      await this.#options.fault?.("catalogue: after pointers, before answer");
      return ok({ metadata, metadataLocation });
    }
    await this.#files.remove([metadataLocation]);
    const free = this.#mayCreate(ident);
    return err(
      free.ok ? catalogueError("AlreadyExistsException", `Location ${metadata.location} is taken.`) : free.error,
    );
  }

  /** Whether a table may come into being under this name. */
  #mayCreate(ident: TableIdent): Result<void, LakeSyncError> {
    const checked = checkIdent(ident);
    if (!checked.ok) return checked;
    if (this.#pointers.namespace(ident.namespace) === undefined) return err(noSuchNamespace(ident.namespace));
    return this.#pointers.find(ident) === undefined ? ok(undefined) : err(tableExists(ident));
  }

  /** A location is below the gateway's root and shares nothing with another table: dropping one must not purge the other. */
  #checkLocation(ident: TableIdent, location: string): Result<void, LakeSyncError> {
    const inside = attempt(() => keyWithin(this.#root, location, "A table's location"));
    if (!inside.ok) return inside;
    for (const other of this.#pointers.locations()) {
      if (dotted(other.ident) === dotted(ident) || !overlap(other.location, location)) continue;
      const message = `Location ${location} overlaps that of table ${dotted(other.ident)}.`;
      return err(catalogueError("AlreadyExistsException", message));
    }
    return ok(undefined);
  }

  async #purge(location: string): Answer<void> {
    const prefix = `${keyWithin(this.#root, location, "A table's location")}/`;
    for (;;) {
      // From the start each time: what was deleted is gone from the list.
      const page = await this.#options.store.list(prefix);
      if (!page.ok) return page;
      if (page.value.objects.length === 0) return ok(undefined);
      const deleted = await this.#options.store.delete(page.value.objects.map(({ key }) => key));
      if (!deleted.ok) return deleted;
    }
  }
}

function paged<T>(page: PageRequest, token: (item: T) => string, list: (after: string, size: number) => T[]): Paged<T> {
  if (page.token === undefined) return { items: list("", LIST_MAX), next: null };
  const size = Math.max(1, Math.min(page.size ?? PAGE_SIZE, PAGE_SIZE));
  const found = list(page.token, size + 1);
  const items = found.slice(0, size);
  const last = items.at(-1);
  return { items, next: found.length > size && last !== undefined ? token(last) : null };
}

/** A pointer whose file cannot be read: not the client's fault. */
function lost(error: LakeSyncError, location: string): Result<never, LakeSyncError> {
  if (error.retryable) return err(error);
  return err(new LakeSyncError("Corrupt", `The current metadata file ${location} cannot be read: ${error.message}`));
}

/** A file that a client named and that cannot be registered: the client's fault, unless it may pass. */
function unreadable(error: LakeSyncError, location: string): Result<never, LakeSyncError> {
  if (error.retryable) return err(error);
  return err(catalogueError("BadRequestException", `${location} cannot be registered: ${error.message}`));
}

/**
 * A catalogue in memory over the real rules of table metadata, with the weather of a real one: a test says which commits
 * meet a conflict, and which end in silence, landed or lost.
 */
import type {
  Catalogue,
  Clock,
  CommitOutcome,
  CreateTable,
  LakeAdapter,
  LoadedTable,
  TableIdent,
  TableMetadata,
  TableRequirement,
  TableUpdate,
} from "../../core/index.ts";
import { err, LakeSyncError, ok, type Result, unwrap } from "../../schemas/index.ts";
import { applyUpdates, checkRequirements, newTableMetadata, stringifyJson } from "../catalogue/index.ts";
import { keyOf } from "../iceberg/index.ts";

export type Weather = "fine" | "conflict" | "landed in silence" | "lost in silence";

interface Options {
  readonly store: LakeAdapter;
  readonly clock: Clock;
  /** Asked once a commit. */
  readonly weather?: (ident: TableIdent) => Weather;
}

export class MemoryCatalogue implements Catalogue {
  readonly #tables = new Map<string, LoadedTable>();
  readonly #options: Options;
  /** Runs before the next commit's requirements are checked: somebody else's commit, for instance. */
  beforeCommit: ((ident: TableIdent) => Promise<void>) | undefined;
  commits = 0;

  constructor(options: Options) {
    this.#options = options;
  }

  async ensureNamespace(): Promise<Result<void, LakeSyncError>> {
    return ok(undefined);
  }

  async listTables(namespace: readonly string[]): Promise<Result<readonly TableIdent[], LakeSyncError>> {
    const prefix = `${namespace.join(".")}.`;
    const names = [...this.#tables.keys()].filter((key) => key.startsWith(prefix));
    return ok(names.map((key) => ({ namespace, name: key.slice(prefix.length) })));
  }

  async load(ident: TableIdent): Promise<Result<LoadedTable, LakeSyncError>> {
    const table = this.#tables.get(keyOfIdent(ident));
    return table ? ok(table) : err(new LakeSyncError("NotFound", `There is no table ${ident.name}.`));
  }

  async create(ident: TableIdent, definition: CreateTable): Promise<Result<LoadedTable, LakeSyncError>> {
    if (this.#tables.has(keyOfIdent(ident)))
      return err(new LakeSyncError("Conflict", `Table ${ident.name} exists already.`));
    const uuid = `00000000-0000-4000-8000-${String(this.#tables.size + 1).padStart(12, "0")}`;
    const location =
      definition.location ?? `${this.#options.store.location}/${[...ident.namespace, ident.name].join("/")}`;
    const metadata = newTableMetadata(definition, { uuid, location, nowMs: this.#options.clock.now() });
    return metadata.ok ? ok(await this.#publish(ident, metadata.value, 0)) : metadata;
  }

  async commit(
    ident: TableIdent,
    requirements: readonly TableRequirement[],
    updates: readonly TableUpdate[],
  ): Promise<Result<CommitOutcome, LakeSyncError>> {
    const weather = this.#options.weather?.(ident) ?? "fine";
    const before = this.beforeCommit;
    this.beforeCommit = undefined;
    await before?.(ident);
    const base = this.#tables.get(keyOfIdent(ident));
    const checked = checkRequirements(base?.metadata ?? null, requirements);
    if (!checked.ok || weather === "conflict")
      return ok({ outcome: "conflict", reason: checked.ok ? "weather" : checked.error.message });
    if (weather === "lost in silence") return ok({ outcome: "unknown", reason: "weather" });
    const context = { nowMs: this.#options.clock.now(), ...(base ? { baseLocation: base.metadataLocation } : {}) };
    const metadata = unwrap(applyUpdates(base?.metadata ?? null, updates, context));
    const table = await this.#publish(ident, metadata, (metadata["metadata-log"] ?? []).length);
    this.commits++;
    return ok(
      weather === "landed in silence" ? { outcome: "unknown", reason: "weather" } : { outcome: "landed", table },
    );
  }

  async drop(ident: TableIdent): Promise<Result<void, LakeSyncError>> {
    this.#tables.delete(keyOfIdent(ident));
    return ok(undefined);
  }

  /** Metadata files lie in the store, where other engines find them. */
  async #publish(ident: TableIdent, metadata: TableMetadata, version: number): Promise<LoadedTable> {
    const name = `${String(version).padStart(5, "0")}-${this.commits}.metadata.json`;
    const metadataLocation = `${metadata.location}/metadata/${name}`;
    const body = new TextEncoder().encode(stringifyJson(metadata));
    unwrap(await this.#options.store.put(keyOf(this.#options.store, metadataLocation), body));
    const table = { metadata, metadataLocation };
    this.#tables.set(keyOfIdent(ident), table);
    return table;
  }
}

const keyOfIdent = (ident: TableIdent): string => [...ident.namespace, ident.name].join(".");

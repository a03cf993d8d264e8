/**
 * Backends of a gateway: the lake, and databases that the Worker reaches through Hyperdrive bindings. A table's schema names
 * one by its binding's name; addresses and passwords stay in the binding.
 *
 *   table.backend   absent or "lake"   the gateway's Iceberg tables
 *                   "HYPERDRIVE"       a database, in a schema that is called as the gateway: tenants never share a table
 */
import { MySQLAdapter, PostgresAdapter } from "../adapters/index.ts";
import type {
  DatabaseAdapter,
  DeltasSinceQuery,
  FlushBatch,
  LatestStateQuery,
  RowVersions,
  ShardStatus,
} from "../core/index.ts";
import type { Env } from "../durable-objects/index.ts";
import { err, LakeSyncError, type TableSchema } from "../schemas/index.ts";

export const LAKE = "lake";

export interface Backend {
  readonly name: string;
  readonly kind: "iceberg" | "postgres" | "mysql" | "unknown";
}

/** The lake, and every Hyperdrive binding. */
export function backendsOf(env: Env): Backend[] {
  const bindings = Object.entries(env).flatMap(([name, value]): Backend[] => {
    const url = connectionStringOf(value);
    return url === undefined ? [] : [{ name, kind: kindOf(url) }];
  });
  return [{ name: LAKE, kind: "iceberg" }, ...bindings.sort((a, b) => (a.name < b.name ? -1 : 1))];
}

const kindOf = (url: string): Backend["kind"] =>
  /^postgres(ql)?:/.test(url) ? "postgres" : /^(mysql|mariadb):/.test(url) ? "mysql" : "unknown";

const connectionStringOf = (binding: unknown): string | undefined =>
  typeof binding === "object" && binding !== null && "connectionString" in binding
    ? String(binding.connectionString)
    : undefined;

export const backendOf = ({ backend = LAKE }: Pick<TableSchema, "backend">): string => backend;

/** Throws `BadConfig` for a name that no binding has, before anything is stored under it. */
export function checkBackend(env: Env, name: string): void {
  const backends = backendsOf(env);
  const found = backends.find((each) => each.name === name);
  if (found && found.kind !== "unknown") return;
  const names = backends.filter(({ kind }) => kind !== "unknown").map((each) => each.name);
  throw new LakeSyncError(
    "BadConfig",
    found
      ? `The binding ${name} is of no database that LakeSync knows; use one whose address begins with postgres:// or mysql://.`
      : `There is no backend ${JSON.stringify(name.slice(0, 100))}; this gateway has ${names.join(", ")}. A Hyperdrive binding in wrangler.toml adds one.`,
    { backend: name.slice(0, 100) },
  );
}

/** Each table in the backend that its schema names. */
export class TableBackends implements DatabaseAdapter {
  readonly #env: Env;
  readonly #gatewayId: string;
  readonly #lake: DatabaseAdapter;
  readonly #databases = new Map<string, DatabaseAdapter>();

  constructor(env: Env, gatewayId: string, lake: DatabaseAdapter) {
    this.#env = env;
    this.#gatewayId = gatewayId;
    this.#lake = lake;
  }

  /** Throws `BadConfig` where the binding is gone. */
  #of(table: TableSchema): DatabaseAdapter {
    const name = backendOf(table);
    if (name === LAKE) return this.#lake;
    const open = this.#databases.get(name);
    if (open) return open;
    checkBackend(this.#env, name);
    const connectionString = connectionStringOf(this.#env[name as keyof Env]) as string;
    // Connections are kept from page to page: this adapter lives as long as one invocation does.
    const options = { connectionString, name, schema: this.#gatewayId };
    const adapter =
      kindOf(connectionString) === "mysql"
        ? new MySQLAdapter(options)
        : new PostgresAdapter({ ...options, copy: this.#env.POSTGRES_COPY === "on" });
    this.#databases.set(name, adapter);
    return adapter;
  }

  /** A binding that is gone may come back: nothing is set aside for it. */
  async #ask<T>(table: TableSchema, question: (adapter: DatabaseAdapter) => Promise<T>) {
    try {
      return await question(this.#of(table));
    } catch (error) {
      if (!(error instanceof LakeSyncError && error.code === "BadConfig")) throw error;
      return err(new LakeSyncError("DestinationUnavailable", error.message, { ...error.details, needs: "operator" }));
    }
  }

  ensureSchema(table: TableSchema) {
    return this.#ask(table, (adapter) => adapter.ensureSchema(table));
  }

  insertDeltas(batch: FlushBatch) {
    return this.#ask(batch.table, (adapter) => adapter.insertDeltas(batch));
  }

  queryDeltasSince(query: DeltasSinceQuery) {
    return this.#ask(query.table, (adapter) => adapter.queryDeltasSince(query));
  }

  getLatestState(query: LatestStateQuery) {
    return this.#ask(query.table, (adapter) => adapter.getLatestState(query));
  }

  progress(table: TableSchema) {
    return this.#ask(table, (adapter) => adapter.progress(table));
  }

  evictRows(rows: RowVersions) {
    return this.#ask(rows.table, async (adapter) =>
      adapter.evictRows
        ? adapter.evictRows(rows)
        : err(new LakeSyncError("BadConfig", `The backend of ${rows.table.table} cannot be a hot tier.`)),
    );
  }

  async close(): Promise<void> {
    for (const adapter of [this.#lake, ...this.#databases.values()]) await adapter.close();
    this.#databases.clear();
  }
}

/** How far each backend is behind: what waits in the shards that hold its tables. A shard's tables are flushed together. */
export function lagOf(
  env: Env,
  tables: readonly TableSchema[],
  layout: (table: string) => readonly string[],
  shards: readonly Pick<ShardStatus, "shard" | "unflushedDeltas" | "oldestMs" | "lastError">[],
) {
  const names = new Map(backendsOf(env).map(({ name, kind }) => [name, kind]));
  for (const table of tables) if (!names.has(backendOf(table))) names.set(backendOf(table), "unknown");
  return [...names].map(([name, kind]) => {
    const own = tables.filter((table) => backendOf(table) === name).map(({ table }) => table);
    const holding = shards.filter(({ shard }) => own.some((table) => layout(table).includes(shard)));
    const waiting = holding.map(({ oldestMs }) => oldestMs).filter((ms) => ms !== null);
    const failed = holding.find(
      ({ lastError }) => lastError !== null && own.some((t) => lastError.startsWith(`${t}: `)),
    );
    return {
      name,
      kind,
      tables: own,
      unflushedDeltas: holding.reduce((sum, { unflushedDeltas }) => sum + unflushedDeltas, 0),
      oldestMs: waiting.length > 0 ? Math.min(...waiting) : null,
      lastError: failed?.lastError ?? null,
    };
  });
}

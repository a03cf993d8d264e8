/**
 * Backends of a gateway: the lake, and databases that the Worker reaches through Hyperdrive bindings. A table's schema names
 * one by its binding's name; addresses and passwords stay in the binding.
 *
 *   table.backend   absent or "lake"   the gateway's Iceberg tables
 *                   "HYPERDRIVE"       a database, in a schema that is called as the gateway: tenants never share a table
 */
import { CompositeAdapter, MySQLAdapter, PostgresAdapter } from "../adapters/index.ts";
import type { DatabaseAdapter, ShardStatus } from "../core/index.ts";
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

/** Each table in the backend that its schema names; the lake where it names none. Connections are kept until it is closed. */
export function tableBackends(env: Env, gatewayId: string, lake: DatabaseAdapter): DatabaseAdapter {
  const open = new Map([[LAKE, lake]]);
  const named = (name: string): DatabaseAdapter => {
    const adapter = open.get(name) ?? databaseOf(env, gatewayId, name);
    open.set(name, adapter);
    return adapter;
  };
  return new CompositeAdapter({ routes: [], defaultAdapter: lake, named });
}

function databaseOf(env: Env, schema: string, name: string): DatabaseAdapter {
  try {
    checkBackend(env, name);
  } catch (error) {
    if (error instanceof LakeSyncError && error.code === "BadConfig") return absent(error);
    throw error;
  }
  const connectionString = connectionStringOf(env[name as keyof Env]) as string;
  const options = { connectionString, name, schema };
  return kindOf(connectionString) === "mysql"
    ? new MySQLAdapter(options)
    : new PostgresAdapter({ ...options, copy: env.POSTGRES_COPY === "on" });
}

/** A binding that is gone may come back: nothing is set aside for it. */
function absent({ message, details }: LakeSyncError): DatabaseAdapter {
  const answer = async () =>
    err(new LakeSyncError("DestinationUnavailable", message, { ...details, needs: "operator" }));
  return {
    ensureSchema: answer,
    insertDeltas: answer,
    queryDeltasSince: answer,
    getLatestState: answer,
    progress: answer,
    async close() {},
  };
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

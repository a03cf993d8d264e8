/**
 * Backends of a gateway: the lake, what `lakesync.config.ts` declares, and databases that the Worker reaches through Hyperdrive
 * bindings. A table is kept in one by its name; addresses and passwords stay in bindings and secrets.
 *
 *   iceberg          the gateway's Iceberg tables
 *   postgres, mysql  a schema that is called as the gateway: tenants never share a table
 *   bigquery         a dataset that is called as the gateway, with the configured one before it
 *   adapter          an object in the process that runs workerd, one gateway's alone
 */
import {
  BigQueryAdapter,
  buildBackend,
  MySQLAdapter,
  PostgresAdapter,
  type PostgresOptions,
  RemoteAdapter,
  type RemoteMessage,
  type RemoteReply,
} from "../adapters/index.ts";
import type { DatabaseAdapter, ShardStatus } from "../core/index.ts";
import type { Env } from "../durable-objects/index.ts";
import {
  type BackendConfig,
  err,
  LAKE,
  LakeSyncError,
  type LeafConfig,
  leavesOf,
  ok,
  type ParsedConfig,
  partsOfBackend,
  type Result,
  type TableSchema,
} from "../schemas/index.ts";
import { backendOf, configOf } from "./config.ts";

interface Backend {
  readonly name: string;
  readonly kind: BackendConfig["type"] | "unknown";
  /** Names of those that it is made of. */
  readonly parts?: readonly string[];
}

/** What the file declares, and every Hyperdrive binding by its own name. @throws `Misconfigured` */
export function backendsIn(env: Env): ParsedConfig {
  const config = configOf(env);
  const bindings = Object.entries(env).flatMap(([binding, value]) => {
    const type = kindOf(connectionStringOf(value) ?? "");
    return type === undefined ? [] : [[binding, { type, binding }] as const];
  });
  return { ...config, backends: { ...Object.fromEntries(bindings), ...config.backends } };
}

function listOf({ backends }: ParsedConfig): Backend[] {
  const list = Object.entries(backends).map(([name, backend]): Backend => {
    const parts = partsOfBackend(backend);
    return { name, kind: backend.type, ...(parts.length > 0 && { parts }) };
  });
  const place = ({ name }: Backend) => (name === LAKE ? "" : name);
  return list.sort((a, b) => (place(a) < place(b) ? -1 : 1));
}

/** The lake, and all others in order of their names. */
export const backendsOf = (env: Env): Backend[] => listOf(backendsIn(env));

const kindOf = (url: string): "postgres" | "mysql" | undefined =>
  /^postgres(ql)?:/.test(url) ? "postgres" : /^(mysql|mariadb):/.test(url) ? "mysql" : undefined;

const connectionStringOf = (binding: unknown): string | undefined =>
  typeof binding === "object" && binding !== null && "connectionString" in binding
    ? String(binding.connectionString)
    : undefined;

/** Throws `BadConfig` for a name that no backend has, or whose secrets are not there, before anything is stored under it. */
export function checkBackend(env: Env, name: string): void {
  const config = backendsIn(env);
  const problem = Object.hasOwn(config.backends, name)
    ? leavesOf(config, name).map(([of, leaf]) => secretOf(env, of, leaf))
    : [err(missing(env, name))];
  for (const found of problem)
    if (!found.ok) throw new LakeSyncError("BadConfig", found.error.message, { backend: name.slice(0, 100) });
}

function missing(env: Env, name: string): LakeSyncError {
  const shown = JSON.stringify(name.slice(0, 100));
  const message =
    connectionStringOf(env[name as keyof Env]) !== undefined
      ? `The binding ${name} is of no database that LakeSync knows; use one whose address begins with postgres:// or mysql://.`
      : `There is no backend ${shown}; this gateway has ${backendsOf(env)
          .map((each) => each.name)
          .join(", ")}. A Hyperdrive binding in wrangler.toml adds one, or a line in lakesync.config.ts.`;
  return unavailable(name, message);
}

/** It may come back, or somebody may put it right: nothing is set aside for it. */
const unavailable = (backend: string, message: string) =>
  new LakeSyncError("DestinationUnavailable", message, { backend: backend.slice(0, 100), needs: "operator" });

/** What opens a leaf: an address with its password, or a key. The lake's is its binding. */
function secretOf(env: Env, name: string, leaf: LeafConfig): Result<string, LakeSyncError> {
  const lacks = (why: string) => err(unavailable(name, `Backend ${name}: ${why}`));
  if (leaf.type === "iceberg") return ok("");
  if (leaf.type === "adapter")
    return env.ADAPTER ? ok("") : lacks("there is no adapter object; GatewayServer takes one as `adapter`.");
  const key = (leaf.type === "bigquery" ? leaf.env : (leaf.binding ?? leaf.env)) as keyof Env;
  const named = leaf.type !== "bigquery" && leaf.binding !== undefined;
  const secret = named ? connectionStringOf(env[key]) : env[key];
  if (typeof secret !== "string" || secret === "")
    return lacks(
      named
        ? `there is no Hyperdrive binding ${key}; declare it in wrangler.toml.`
        : `the secret ${key} is not set; run "wrangler secret put ${key}", or give it to the server's environment.`,
    );
  if (leaf.type === "bigquery" || kindOf(secret) === leaf.type) return ok(secret);
  return lacks(
    `${key} is no address of ${leaf.type}; it would begin with ${leaf.type === "mysql" ? "mysql" : "postgres"}://.`,
  );
}

/** Each table in its backend. Connections are kept until it is closed. */
export function tableBackends(env: Env, gatewayId: string, lake: DatabaseAdapter): DatabaseAdapter {
  try {
    return buildBackend(
      backendsIn(env),
      (name, leaf) => leafOf(env, gatewayId, lake, name, leaf),
      (name) => absent(missing(env, name)),
    );
  } catch (error) {
    if (error instanceof LakeSyncError && error.code === "Misconfigured") return absent(error);
    throw error;
  }
}

/** A SQL database and the schema of it that is the gateway's; undefined for a backend that is none. */
export function databaseOf(
  env: Env,
  gatewayId: string,
  name: string,
): Result<{ readonly type: "postgres" | "mysql"; readonly options: PostgresOptions } | undefined, LakeSyncError> {
  const leaf = backendsIn(env).backends[name];
  if (leaf?.type !== "postgres" && leaf?.type !== "mysql") return leaf ? ok(undefined) : err(missing(env, name));
  const secret = secretOf(env, name, leaf);
  if (!secret.ok) return secret;
  return ok({ type: leaf.type, options: { connectionString: secret.value, name, schema: gatewayId } });
}

function leafOf(env: Env, gatewayId: string, lake: DatabaseAdapter, name: string, leaf: LeafConfig): DatabaseAdapter {
  if (leaf.type === "iceberg") return lake;
  const secret = secretOf(env, name, leaf);
  if (!secret.ok) return absent(secret.error);
  if (leaf.type === "adapter") return hosted(env.ADAPTER as Fetcher, gatewayId);
  if (leaf.type === "bigquery") return bigQuery(gatewayId, secret.value, leaf);
  const options = { connectionString: secret.value, name, schema: gatewayId };
  return leaf.type === "mysql"
    ? new MySQLAdapter(options)
    : new PostgresAdapter({ ...options, copy: env.POSTGRES_COPY === "on" });
}

function bigQuery(gatewayId: string, credentials: string, leaf: LeafConfig & { type: "bigquery" }): DatabaseAdapter {
  const { dataset, location, endpoint } = leaf;
  try {
    return new BigQueryAdapter({
      credentials,
      dataset: datasetOf(dataset, gatewayId),
      makeDataset: true,
      ...(location !== undefined && { location }),
      ...(endpoint !== undefined && { endpoint }),
    });
  } catch (error) {
    if (error instanceof LakeSyncError) return absent(error);
    throw error;
  }
}

/** Nobody answers while that process ends. */
function hosted(host: Fetcher, gatewayId: string): DatabaseAdapter {
  const send = async (message: RemoteMessage): Promise<RemoteReply> => {
    const answer = await host
      .fetch("http://adapter/", { method: "POST", body: JSON.stringify(message) })
      .catch(() => undefined);
    if (answer?.ok) return answer.json();
    throw new LakeSyncError(
      "DestinationUnavailable",
      "The process that has the adapter does not answer; it will be tried again.",
    );
  };
  return new RemoteAdapter({ gatewayId, send });
}

/** Gateways' ids have small letters, digits and hyphens: no two become one. */
export const datasetOf = (prefix: string, gatewayId: string): string => `${prefix}_${gatewayId.replaceAll("-", "_")}`;

/** Answers everything with why it is not there. */
function absent(why: LakeSyncError): DatabaseAdapter {
  const error = why.details.needs === "operator" ? why : unavailable(String(why.details.key ?? ""), why.message);
  const answer = async () => err(error);
  return {
    ensureSchema: answer,
    insertDeltas: answer,
    queryDeltasSince: answer,
    getLatestState: answer,
    progress: answer,
    evictRows: answer,
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
  const config = backendsIn(env);
  const known = new Map(listOf(config).map((backend) => [backend.name, backend]));
  for (const table of tables) {
    const name = backendOf(config, table);
    if (!known.has(name)) known.set(name, { name, kind: "unknown" });
  }
  return [...known.values()].map((backend) => {
    const own = tables.filter((table) => backendOf(config, table) === backend.name).map(({ table }) => table);
    const holding = shards.filter(({ shard }) => own.some((table) => layout(table).includes(shard)));
    const waiting = holding.map(({ oldestMs }) => oldestMs).filter((ms) => ms !== null);
    const failed = holding.find(
      ({ lastError }) => lastError !== null && own.some((t) => lastError.startsWith(`${t}: `)),
    );
    return {
      ...backend,
      tables: own,
      unflushedDeltas: holding.reduce((sum, { unflushedDeltas }) => sum + unflushedDeltas, 0),
      oldestMs: waiting.length > 0 ? Math.min(...waiting) : null,
      lastError: failed?.lastError ?? null,
    };
  });
}

/**
 * What others edit in a gateway's databases, on its way into sync (adapters/postgres/feed.ts).
 *
 *   PUT admin/feeds    the tenant notes the tables, their database keeps what others do in them
 *   Cron, each minute  the registry says which gateways have such tables; each is sent for
 *   message            what waits is pushed like a device's, by an admin; then the database forgets it
 *
 * A run may be killed anywhere, and doubled: an edit keeps the clock that it was given, and comes twice as one.
 */
import { create } from "@bufbuild/protobuf";
import { PostgresFeed } from "../adapters/index.ts";
import { type Backlog, type ChangeFeed, type PushEdits, type Taken, takeEdits } from "../core/index.ts";
import { ask, call, type Env, type FeedMessage, REGISTRY, Router } from "../durable-objects/index.ts";
import {
  type ErrorCode,
  encodeBatch,
  type HlcText,
  hlcFromBigInt,
  LakeSyncError,
  leavesOf,
  ok,
  proto,
  type TableSchema,
  unwrap,
} from "../schemas/index.ts";
import { backendsIn, databaseOf } from "./backends.ts";
import { backendOf } from "./config.ts";
import { destinationFor } from "./destination.ts";
import { log } from "./middleware/log.ts";
import { sendAll } from "./send.ts";

/** Who a database's edits are by, as far as client ids go (S6). */
const CLAIMS = { sub: "lakesync:feed", role: "admin" } as const;

const tenantOf = (env: Env, gatewayId: string) => env.TENANT.getByName(gatewayId);

/** Where a table's edits are kept: its backend, the primary of a fan-out, the hot one of two tiers. @throws `BadConfig` for others */
function feedOf(env: Env, gatewayId: string, table: TableSchema): ChangeFeed {
  const config = backendsIn(env);
  const backend = backendOf(config, table);
  const name = leavesOf(config, backend)[0]?.[0] ?? backend;
  const database = unwrap(databaseOf(env, gatewayId, name));
  if (database?.type === "postgres") return new PostgresFeed(database.options);
  throw new LakeSyncError(
    "BadConfig",
    `Edits by others are taken in from Postgres; ${table.table} is in ${name}. Move it by admin/backends first.`,
    { table: table.table, backend: name },
  );
}

async function withFeed<T>(env: Env, gatewayId: string, table: TableSchema, body: (feed: ChangeFeed) => Promise<T>) {
  const feed = feedOf(env, gatewayId, table);
  try {
    return await body(feed);
  } finally {
    await feed.close();
  }
}

async function tablesOf(env: Env, gatewayId: string): Promise<TableSchema[]> {
  const fed = unwrap(await ask<string[]>("tenant", tenantOf(env, gatewayId).feeds(gatewayId)));
  if (fed.length === 0) return [];
  const { tables } = unwrap(await new Router(env).freshState(gatewayId));
  return tables.filter(({ table }) => fed.includes(table));
}

/** From now on these tables' edits by others are taken in, and no other's. Where it breaks off, it is simply called again. */
export async function putFeeds(env: Env, gatewayId: string, names: readonly string[]): Promise<void> {
  const { tables } = unwrap(await new Router(env).freshState(gatewayId));
  const wanted = names.map((name) => {
    const table = tables.find((each) => each.table === name);
    if (!table) throw new LakeSyncError("NotFound", `There is no table ${JSON.stringify(name)}; PUT its schema first.`);
    return table;
  });
  const before = await tablesOf(env, gatewayId);
  for (const table of wanted) await feedOf(env, gatewayId, table).close(); // refused before anything is stored
  const store = async (some: readonly TableSchema[]) => {
    const fed = [...new Set(some.map(({ table }) => table))];
    unwrap(await call("tenant", tenantOf(env, gatewayId).putFeeds(gatewayId, fed)));
  };
  await store([...before, ...wanted]);
  const destination = destinationFor(env, gatewayId);
  try {
    for (const table of wanted) {
      unwrap(await destination.ensureSchema(table));
      unwrap(await withFeed(env, gatewayId, table, (feed) => feed.follow(table)));
    }
  } finally {
    await destination.close();
  }
  for (const table of before.filter(({ table }) => !names.includes(table))) await letGo(env, gatewayId, table);
  await store(wanted);
}

/** A table that has moved meanwhile left its trigger where it was: nobody reads what that keeps. */
async function letGo(env: Env, gatewayId: string, table: TableSchema): Promise<void> {
  try {
    unwrap(await withFeed(env, gatewayId, table, (feed) => feed.unfollow(table)));
  } catch (error) {
    if (!(error instanceof LakeSyncError && error.code === "BadConfig")) throw error;
  }
}

type Failed = { readonly error: { readonly code: ErrorCode; readonly message: string } };
type Told<T> = ({ readonly table: string } & (T | Failed))[];

async function eachTable<T extends object>(
  env: Env,
  gatewayId: string,
  body: (feed: ChangeFeed, table: TableSchema) => Promise<T>,
): Promise<Told<T>> {
  const told: Told<T> = [];
  for (const table of await tablesOf(env, gatewayId)) {
    try {
      told.push({ table: table.table, ...(await withFeed(env, gatewayId, table, (feed) => body(feed, table))) });
    } catch (cause) {
      if (!(cause instanceof LakeSyncError)) throw cause;
      told.push({ table: table.table, error: { code: cause.code, message: cause.message } });
    }
  }
  return told;
}

/** What waits in each table's database, and what was set aside there. */
export const feedsOf = (env: Env, gatewayId: string): Promise<Told<Partial<Backlog>>> =>
  eachTable(env, gatewayId, async (feed, table) => unwrap(await feed.backlog(table)) ?? {});

/** Takes in what waits. */
export const takeFeeds = (env: Env, gatewayId: string): Promise<Told<Taken>> =>
  eachTable(env, gatewayId, async (feed, table) =>
    unwrap(await takeEdits(feed, table, pushTo(new Router(env), gatewayId), () => Date.now())),
  );

const pushTo =
  (router: Router, gatewayId: string): PushEdits =>
  async (clientId, batch) => {
    const request = create(proto.PushRequestSchema, { clientId, batches: [encodeBatch(batch)] });
    const pushed = await router.push(gatewayId, CLAIMS, request);
    if (!pushed.ok) return pushed;
    return ok(
      pushed.value.rejected.map(({ rowId, hlc, code, message }) => ({
        rowId,
        hlc: hlcFromBigInt(hlc) as HlcText,
        code: code as ErrorCode,
        message,
      })),
    );
  };

/** Sends for every gateway that has tables of which databases keep edits. */
export async function planFeeds(env: Env): Promise<void> {
  const gateways = unwrap(await ask<string[]>("registry", tenantOf(env, REGISTRY).fedGateways()));
  await sendAll(
    env.FLUSH_QUEUE,
    gateways.map((gatewayId): FeedMessage => ({ gatewayId, feeds: true })),
  );
}

/** What goes wrong waits in the database, for the next minute. */
export async function takeAll(messages: readonly FeedMessage[], env: Env): Promise<void> {
  for (const gatewayId of new Set(messages.map((message) => message.gatewayId)))
    for (const told of await takeFeeds(env, gatewayId)) {
      if ("error" in told) log("error", { event: "feed", gatewayId, ...told });
      else if (told.taken + told.refused > 0 && env.LOG_LEVEL !== "error")
        log("info", { event: "feed", gatewayId, ...told });
    }
}

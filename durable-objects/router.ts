/**
 * From a request to the shards and back: which shard a delta goes to (PU4), and one page out of many shards' pages. Worker
 * routes and the hub's sockets share it.
 */
import { create } from "@bufbuild/protobuf";
import { COMMON_SHARD, type PushOutcome, rowHash, shardsOf, type TenantState } from "../core/index.ts";
import {
  type Claims,
  type ClientId,
  decodeBatch,
  decodeDelta,
  encodeBatch,
  err,
  type HlcText,
  hlcToBigInt,
  LakeSyncError,
  type LooseDelta,
  ok,
  PAGE_BYTES_DEFAULT,
  PAGE_BYTES_MAX,
  type PackedBatch,
  PUSH_DELTAS_MAX,
  packBatch,
  packHlc,
  parseClientId,
  proto,
  type Result,
  splitBatch,
} from "../schemas/index.ts";
import { type Cursor, type CursorPart, decodeCursor, encodeCursor } from "./cursor.ts";
import type { Env } from "./env.ts";
import { call } from "./rpc.ts";
import type { ShardPage } from "./shard/index.ts";

/** How long a caller trusts what it knows of a tenant. A shard that knows more says so; this bounds what it cannot see. */
const STATE_MS = 2000;

interface Work {
  batches: PackedBatch[];
  deltas: LooseDelta[];
}

export class Router {
  readonly #env: Env;
  readonly #states = new Map<string, { state: TenantState; until: number }>();

  constructor(env: Env) {
    this.#env = env;
  }

  async state(gatewayId: string, fresh = false): Promise<Result<TenantState, LakeSyncError>> {
    const known = this.#states.get(gatewayId);
    if (known && !fresh && known.until > Date.now()) return ok(known.state);
    const state = await call("tenant", this.#env.TENANT.getByName(gatewayId).state(gatewayId));
    if (state.ok) this.#states.set(gatewayId, { state: state.value, until: Date.now() + STATE_MS });
    return state;
  }

  shard(gatewayId: string, shard: string) {
    return this.#env.SHARD.getByName(`${gatewayId}/${shard}`);
  }

  async push(
    gatewayId: string,
    claims: Claims,
    request: proto.PushRequest,
  ): Promise<Result<proto.PushResponse, LakeSyncError>> {
    const decoded = decodePush(request);
    if (!decoded.ok) return decoded;
    const first = await this.#pushOnce(gatewayId, claims, decoded.value, false);
    if (first.ok || first.error.code !== "ShardMoved") return first;
    return this.#pushOnce(gatewayId, claims, decoded.value, true);
  }

  async #pushOnce(
    gatewayId: string,
    claims: Claims,
    push: DecodedPush,
    fresh: boolean,
  ): Promise<Result<proto.PushResponse, LakeSyncError>> {
    let state = await this.state(gatewayId, fresh);
    const unknown = (s: TenantState) => [...push.batches, ...push.deltas].some((d) => !s.map.tables[d.table]);
    if (state.ok && !fresh && unknown(state.value)) state = await this.state(gatewayId, true);
    if (!state.ok) return state;
    const { version, map } = state.value;
    const works = splitWork(push, map.tables);
    if (!works.ok) return works;
    const answers = await Promise.all(
      [...works.value].map(async ([shard, work]) => {
        const input = { clientId: push.clientId, claims, ...work };
        return {
          shard,
          answer: await call("shard", this.shard(gatewayId, shard).push({ gatewayId, shard, version }, input)),
        };
      }),
    );
    const failed = answers.find(({ answer }) => !answer.ok);
    if (failed && !failed.answer.ok) return failed.answer;
    const outcomes = answers.flatMap(({ shard, answer }) => (answer.ok ? [{ shard, ...answer.value }] : []));
    return ok(pushResponse(outcomes));
  }

  async pull(
    gatewayId: string,
    claims: Claims,
    request: proto.PullRequest,
  ): Promise<Result<proto.PullResponse, LakeSyncError>> {
    const state = await this.state(gatewayId);
    if (!state.ok) return state;
    if (request.source !== "")
      return err(new LakeSyncError("NotFound", `There is no source ${JSON.stringify(request.source.slice(0, 80))}.`));
    if (request.tables.length > PUSH_DELTAS_MAX)
      return err(new LakeSyncError("TooLarge", "The request names too many tables."));
    const tables = [...new Set(request.tables)].sort().join(",");
    let cursor: Cursor | undefined;
    if (request.cursor !== "") {
      const decoded = decodeCursor(request.cursor);
      if (!decoded.ok) return decoded;
      cursor = decoded.value;
    }
    // Rows changed place, or other tables are asked for: positions mean nothing any more.
    const displaced = cursor !== undefined && (cursor.map !== state.value.map.version || cursor.tables !== tables);
    const shards = shardsOf({
      ...state.value,
      map: { ...state.value.map, tables: pickTables(state.value.map.tables, request.tables) },
    });
    const maxBytes = Math.min(request.maxBytes || PAGE_BYTES_DEFAULT, PAGE_BYTES_MAX);
    const one = {
      gatewayId,
      claims,
      version: state.value.version,
      tables: request.tables,
      maxBytes: Math.ceil(maxBytes / Math.max(1, shards.length)),
    };
    const parts = displaced ? new Map<string, CursorPart>() : (cursor?.shards ?? new Map<string, CursorPart>());
    let pages = await this.#pullShards(shards, parts, one);
    if (!pages.ok) return pages;
    const resynced = [...pages.value.values()].some((p) => p.resync);
    const behind = [...pages.value].filter(([shard, page]) => parts.has(shard) && !page.resync);
    // Where one shard starts over the device drops everything: then all start over.
    if (resynced && behind.length > 0) pages = await this.#pullShards(shards, new Map(), one);
    if (!pages.ok) return pages;
    return ok(pullResponse(pages.value, { map: state.value.map.version, tables }, displaced || resynced));
  }

  async #pullShards(
    shards: readonly string[],
    parts: ReadonlyMap<string, CursorPart>,
    one: { gatewayId: string; claims: Claims; version: number; tables: readonly string[]; maxBytes: number },
  ): Promise<Result<Map<string, ShardPage>, LakeSyncError>> {
    const { gatewayId, claims, version, tables, maxBytes } = one;
    const pages = await Promise.all(
      shards.map(async (shard) => {
        const part = parts.get(shard);
        const input = {
          claims,
          tables,
          maxBytes,
          fingerprint: part?.fingerprint ?? "",
          ...(part && { position: part.position }),
        };
        return {
          shard,
          page: await call("shard", this.shard(gatewayId, shard).pull({ gatewayId, shard, version }, input)),
        };
      }),
    );
    const byShard = new Map<string, ShardPage>();
    for (const { shard, page } of pages) {
      if (!page.ok) return page;
      byShard.set(shard, page.value);
    }
    return ok(byShard);
  }
}

interface DecodedPush extends Work {
  readonly clientId: ClientId;
}

function decodePush(request: proto.PushRequest): Result<DecodedPush, LakeSyncError> {
  let clientId: ClientId;
  try {
    clientId = parseClientId(request.clientId);
  } catch (error) {
    return err(error as LakeSyncError);
  }
  const count = request.batches.reduce((sum, b) => sum + b.count, request.deltas.length);
  if (request.batches.some((b) => b.clients.length > 1 || (b.clients[0] ?? clientId) !== clientId))
    return err(new LakeSyncError("BadRequest", "A device pushes its own edits only: leave `clients` of a batch out."));
  if (count > PUSH_DELTAS_MAX)
    return err(
      new LakeSyncError(
        "TooLarge",
        `The push holds ${count} deltas; the limit is ${PUSH_DELTAS_MAX}. Send smaller pushes.`,
        { limit: PUSH_DELTAS_MAX },
      ),
    );
  const deltas: LooseDelta[] = [];
  for (const message of request.deltas) {
    const delta = decodeDelta(message);
    if (!delta.ok) return delta;
    deltas.push(delta.value);
  }
  return ok({ clientId, batches: request.batches.map(packBatch), deltas });
}

/** Deltas of a push by shard; those of tables that nobody knows go to the common one, which refuses them. */
function splitWork(
  push: DecodedPush,
  tables: Readonly<Record<string, readonly string[]>>,
): Result<Map<string, Work>, LakeSyncError> {
  const works = new Map<string, Work>();
  const workOf = (shard: string): Work => {
    const work = works.get(shard) ?? { batches: [], deltas: [] };
    works.set(shard, work);
    return work;
  };
  const layoutOf = (table: string): readonly string[] =>
    (Object.hasOwn(tables, table) && tables[table]) || [COMMON_SHARD];
  const shardOf = (layout: readonly string[], rowId: string): string =>
    layout[layout.length === 1 ? 0 : rowHash(rowId) % layout.length] as string;
  for (const batch of push.batches) {
    const layout = layoutOf(batch.table);
    if (layout.length === 1) {
      workOf(layout[0] as string).batches.push(batch); // unread: the shard reads it
      continue;
    }
    const decoded = decodeBatch(batch, push.clientId);
    if (!decoded.ok) return decoded;
    for (const [shard, part] of splitBatch(decoded.value, (rowId) => shardOf(layout, rowId)))
      workOf(shard).batches.push(packBatch(encodeBatch(part)));
  }
  for (const delta of push.deltas) workOf(shardOf(layoutOf(delta.table), delta.rowId)).deltas.push(delta);
  return ok(works);
}

function pickTables<T>(tables: Readonly<Record<string, T>>, names: readonly string[]): Record<string, T> {
  return Object.fromEntries(Object.entries(tables).filter(([name]) => names.length === 0 || names.includes(name)));
}

function pushResponse(outcomes: readonly (PushOutcome & { shard: string; head: number })[]): proto.PushResponse {
  const now = packHlc(Date.now(), 0);
  const highest = outcomes.reduce<HlcText>((a, { highest: b }) => (b !== "" && b > a ? b : a), now);
  return create(proto.PushResponseSchema, {
    accepted: outcomes.flatMap((o) => o.accepted),
    acceptedCount: outcomes.reduce((sum, o) => sum + o.acceptedCount, 0),
    rejected: outcomes.flatMap((o) => o.rejected.map((r) => ({ ...r, hlc: hlcToBigInt(r.hlc) }))),
    serverHlc: hlcToBigInt(highest),
    cursorHint: outcomes
      .map((o) => `${o.shard}:${o.head}`)
      .sort()
      .join(","),
  });
}

function pullResponse(
  pages: ReadonlyMap<string, ShardPage>,
  bound: { map: number; tables: string },
  resync: boolean,
): proto.PullResponse {
  const shards = new Map<string, CursorPart>();
  for (const [shard, { fingerprint, position }] of pages) shards.set(shard, { fingerprint, position });
  return create(proto.PullResponseSchema, {
    batches: [...pages.values()].flatMap((p) =>
      p.batches.map((b) => create(proto.DeltaBatchSchema, { ...b, columns: [...b.columns] })),
    ),
    cursor: encodeCursor({ ...bound, shards }),
    hasMore: [...pages.values()].some((p) => p.hasMore),
    resync,
    serverHlc: hlcToBigInt(packHlc(Date.now(), 0)),
  });
}

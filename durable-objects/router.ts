/**
 * From a request to the shards and back: which shard a delta goes to (PU4), and one page out of many shards' pages. Worker
 * routes and the hub's sockets share it.
 *
 * What it knows of a tenant may be old. A shard that does not own a row answers `ShardMoved`, and a page says by which version
 * of the tenant it was made; every shard is told of a change before the change is answered. So whoever asks after a change
 * sees it.
 */
import { create } from "@bufbuild/protobuf";
import {
  layoutOf,
  type PushOutcome,
  rowHash,
  type ShardMap,
  shardsOf,
  TableDigest,
  type TenantState,
} from "../core/index.ts";
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
  parseIdentifier,
  proto,
  type Result,
  splitBatch,
  TABLES_MAX,
} from "../schemas/index.ts";
import { type Cursor, type CursorPart, decodeCursor, encodeCursor } from "./cursor.ts";
import type { Env } from "./env.ts";
import type { Moved, Onlooker, Standing } from "./followers.ts";
import { call, type Plain } from "./rpc.ts";
import type { Shard, ShardPage } from "./shard/index.ts";

/** How long a tenant that nobody asks for is remembered, and how many are. */
const STATE_MS = 60_000;
const STATES_MAX = 1000;

/** Who hears of a push from the one that carries it, rather than from the shards. */
export interface Audience {
  /** For whom a shard makes pages. */
  of(shard: string): readonly Onlooker[];
  /** A shard has answered. @param moved absent where nobody knows what has changed */
  hear(shard: string, moved?: Moved): void;
}

interface Work {
  batches: PackedBatch[];
  deltas: LooseDelta[];
}

export class Router {
  readonly #env: Env;
  readonly #stubs: Map<string, DurableObjectStub<Shard>> | undefined;
  readonly #states = new Map<string, { state: TenantState; until: number }>();

  /** @param keepStubs where one object makes all the calls: a stub belongs to whoever made it */
  constructor(env: Env, keepStubs = false) {
    this.#env = env;
    if (keepStubs) this.#stubs = new Map();
  }

  /** @param newerThan a version that is known to be old */
  async state(gatewayId: string, newerThan = -1): Promise<Result<TenantState, LakeSyncError>> {
    const known = this.#states.get(gatewayId);
    if (known && known.state.version > newerThan && known.until > Date.now()) return ok(known.state);
    const state = await call("tenant", this.#env.TENANT.getByName(gatewayId).state(gatewayId));
    if (!state.ok) return state;
    this.#states.delete(gatewayId); // a Map keeps the order of insertion: the first is the oldest
    this.#states.set(gatewayId, { state: state.value, until: Date.now() + STATE_MS });
    if (this.#states.size > STATES_MAX) this.#states.delete(this.#states.keys().next().value as string);
    return state;
  }

  /** The tenant's state as it is now. */
  freshState(gatewayId: string): Promise<Result<TenantState, LakeSyncError>> {
    return this.state(gatewayId, Number.POSITIVE_INFINITY);
  }

  shard(gatewayId: string, shard: string): DurableObjectStub<Shard> {
    const name = `${gatewayId}/${shard}`;
    const stub = this.#stubs?.get(name) ?? this.#env.SHARD.getByName(name);
    this.#stubs?.set(name, stub);
    return stub;
  }

  /** `call`; a stub whose call broke off may be of no more use. */
  async #call<T>(gatewayId: string, shard: string, answer: Promise<Plain<T>>): Promise<Result<T, LakeSyncError>> {
    const result = await call("shard", answer);
    if (!result.ok && result.error.cause !== undefined) this.#stubs?.delete(`${gatewayId}/${shard}`);
    return result;
  }

  async push(
    gatewayId: string,
    claims: Claims,
    request: proto.PushRequest,
    audience?: Audience,
  ): Promise<Result<proto.PushResponse, LakeSyncError>> {
    const decoded = decodePush(request);
    if (!decoded.ok) return decoded;
    const first = await this.#pushOnce(gatewayId, claims, decoded.value, -1, audience);
    if (first.ok || first.error.code !== "ShardMoved") return first;
    return this.#pushOnce(gatewayId, claims, decoded.value, Number.POSITIVE_INFINITY, audience);
  }

  async #pushOnce(
    gatewayId: string,
    claims: Claims,
    push: DecodedPush,
    newerThan: number,
    audience: Audience | undefined,
  ): Promise<Result<proto.PushResponse, LakeSyncError>> {
    let state = await this.state(gatewayId, newerThan);
    const unknown = ({ map }: TenantState) =>
      [...push.batches, ...push.deltas].some((d) => !Object.hasOwn(map.tables, d.table));
    if (state.ok && newerThan < 0 && unknown(state.value)) state = await this.freshState(gatewayId);
    if (!state.ok) return state;
    const { version, map } = state.value;
    const works = splitWork(push, map);
    if (!works.ok) return works;
    const { clientId } = push;
    const send = async (shard: string, work: Work) => {
      const push = { clientId, claims, ...work };
      const stub = this.shard(gatewayId, shard);
      const answer = await this.#call(
        gatewayId,
        shard,
        stub.push({ gatewayId, shard, version }, push, audience?.of(shard)),
      );
      if (answer.ok && answer.value.moved) audience?.hear(shard, answer.value.moved);
      else if (!answer.ok && answer.error.cause !== undefined) audience?.hear(shard); // the answer was lost
      return answer;
    };
    // Where several shards take part, each is first asked with nothing in hand: one whose log is full, or that knows the
    // client id as another's, refuses the push before anything is written (PU5, S6).
    if (works.value.size > 1) {
      const asked = await Promise.all([...works.value.keys()].map((shard) => send(shard, { batches: [], deltas: [] })));
      const refused = asked.find((answer) => !answer.ok);
      if (refused && !refused.ok) return refused;
    }
    const answers = await Promise.all(
      [...works.value].map(async ([shard, work]) => ({ shard, answer: await send(shard, work) })),
    );
    const outcomes: (PushOutcome & { shard: string; head: number })[] = [];
    const errors: LakeSyncError[] = [];
    for (const { shard, answer } of answers) {
      if (answer.ok) outcomes.push({ shard, ...answer.value });
      else errors.push(answer.error);
    }
    // What landed elsewhere lands again when the device repeats the push, without effect (PU2).
    const error = errors.find((e) => e.code === "ShardMoved") ?? errors[0];
    return error ? err(error) : ok(pushResponse(outcomes));
  }

  async pull(
    gatewayId: string,
    claims: Claims,
    request: proto.PullRequest,
  ): Promise<Result<proto.PullResponse, LakeSyncError>> {
    const page = await this.page(gatewayId, claims, request);
    return page.ok ? ok(page.value.response) : page;
  }

  /** One page, and where the device stands with it. */
  async page(gatewayId: string, claims: Claims, request: proto.PullRequest): Promise<Result<Paged, LakeSyncError>> {
    const decoded = decodePull(request);
    if (!decoded.ok) return decoded;
    for (let newerThan = -1; ; ) {
      const state = await this.state(gatewayId, newerThan);
      if (!state.ok) return state;
      const shards = shardsOf(state.value, decoded.value.tables);
      if (shards.length === 0 && newerThan < 0) {
        newerThan = Number.POSITIVE_INFINITY; // nobody to say that there is something newer
        continue;
      }
      const pull = { ...decoded.value, gatewayId, claims, shards, version: state.value.version };
      const page = await this.#pullOnce(pull, state.value.map.version);
      if (!page.ok) return page;
      const { version } = page.value.standing;
      if (version <= state.value.version || newerThan >= version) return page;
      newerThan = state.value.version;
      const newer = await this.state(gatewayId, newerThan);
      if (!newer.ok) return newer;
      const same = newer.value.map.version === state.value.map.version;
      if (same && shardsOf(newer.value, decoded.value.tables).length === shards.length) return page;
    }
  }

  async #pullOnce(pull: Pull, map: number): Promise<Result<Paged, LakeSyncError>> {
    const { cursor, tables, claims, clientId } = pull;
    const asked = tables.join(",");
    // Rows changed place, or other tables are asked for: positions mean nothing any more.
    const displaced = cursor !== undefined && (cursor.map !== map || cursor.tables !== asked);
    const parts = displaced ? new Map<string, CursorPart>() : (cursor?.shards ?? new Map<string, CursorPart>());
    let pages = await this.#pullShards(pull, parts);
    if (!pages.ok) return pages;
    const resync = [...pages.value.values()].some((p) => p.resync);
    const others = [...pages.value].some(([shard, page]) => parts.has(shard) && !page.resync);
    // Where one shard starts over the device drops everything: then all start over.
    if (resync && others) pages = await this.#pullShards(pull, new Map());
    if (!pages.ok) return pages;
    const version = Math.max(0, ...[...pages.value.values()].map((p) => p.version));
    const reached = { map, tables: asked, shards: new Map<string, CursorPart>() };
    for (const [shard, { fingerprint, position }] of pages.value) reached.shards.set(shard, { fingerprint, position });
    const response = pullResponse(pages.value, reached, displaced || resync);
    return ok({ response, standing: { claims, clientId, cursor: reached, version } });
  }

  async #pullShards(
    { gatewayId, claims, clientId, shards, version, tables, maxBytes }: Pull,
    parts: ReadonlyMap<string, CursorPart>,
  ): Promise<Result<Map<string, ShardPage>, LakeSyncError>> {
    const share = Math.ceil(maxBytes / Math.max(1, shards.length));
    const pages = await Promise.all(
      shards.map(async (shard) => {
        const part = parts.get(shard);
        const position = part && { position: part.position };
        const input = { claims, tables, maxBytes: share, fingerprint: part?.fingerprint ?? "", ...position };
        const stub = this.shard(gatewayId, shard);
        return {
          shard,
          page: await this.#call(gatewayId, shard, stub.pull({ gatewayId, shard, version }, input, clientId)),
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

interface Paged {
  readonly response: proto.PullResponse;
  readonly standing: Standing;
}

interface DecodedPull {
  readonly clientId: string;
  readonly cursor: Cursor | undefined;
  /** Sorted; empty for all. */
  readonly tables: readonly string[];
  readonly maxBytes: number;
}

interface Pull extends DecodedPull {
  readonly gatewayId: string;
  readonly claims: Claims;
  readonly shards: readonly string[];
  readonly version: number;
}

function decodePull(request: proto.PullRequest): Result<DecodedPull, LakeSyncError> {
  const { clientId, source } = request;
  if (source !== "")
    return err(new LakeSyncError("BadRequest", 'Sources are pulled by POST or GET /pull; leave "source" out.'));
  if (request.tables.length > TABLES_MAX)
    return err(
      new LakeSyncError("TooLarge", `The request names more than ${TABLES_MAX} tables.`, { limit: TABLES_MAX }),
    );
  try {
    if (clientId !== "") parseClientId(clientId);
    for (const name of request.tables) parseIdentifier("table name", name);
  } catch (error) {
    return err(error as LakeSyncError);
  }
  const cursor = request.cursor === "" ? ok(undefined) : decodeCursor(request.cursor);
  if (!cursor.ok) return cursor;
  const tables = [...new Set(request.tables)].sort();
  const maxBytes = Math.min(request.maxBytes || PAGE_BYTES_DEFAULT, PAGE_BYTES_MAX);
  return ok({ clientId, cursor: cursor.value, tables, maxBytes });
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
function splitWork(push: DecodedPush, map: ShardMap): Result<Map<string, Work>, LakeSyncError> {
  const works = new Map<string, Work>();
  const workOf = (shard: string): Work => {
    const work = works.get(shard) ?? { batches: [], deltas: [] };
    works.set(shard, work);
    return work;
  };
  const shardOf = (layout: readonly string[], rowId: string): string =>
    layout[layout.length === 1 ? 0 : rowHash(rowId) % layout.length] as string;
  // A malformed batch refuses the push before any shard has seen it, where more than one will.
  const scattered = new Set([...push.batches, ...push.deltas].flatMap((d) => layoutOf(map, d.table))).size > 1;
  for (const batch of push.batches) {
    const layout = layoutOf(map, batch.table);
    if (layout.length === 1 && !scattered) {
      workOf(layout[0] as string).batches.push(batch); // unread: the shard reads it
      continue;
    }
    const decoded = decodeBatch(batch, push.clientId);
    if (!decoded.ok) return decoded;
    if (layout.length === 1) {
      workOf(layout[0] as string).batches.push(batch);
      continue;
    }
    for (const [shard, part] of splitBatch(decoded.value, (rowId) => shardOf(layout, rowId)))
      workOf(shard).batches.push(packBatch(encodeBatch(part)));
  }
  for (const delta of push.deltas) workOf(shardOf(layoutOf(map, delta.table), delta.rowId)).deltas.push(delta);
  return ok(works);
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

function pullResponse(pages: ReadonlyMap<string, ShardPage>, cursor: Cursor, resync: boolean): proto.PullResponse {
  return create(proto.PullResponseSchema, {
    batches: [...pages.values()].flatMap((p) =>
      p.batches.map((b) => create(proto.DeltaBatchSchema, { ...b, columns: [...b.columns] })),
    ),
    cursor: encodeCursor(cursor),
    hasMore: [...pages.values()].some((p) => p.hasMore),
    digests: digestsOf([...pages.values()]),
    resync,
    serverHlc: hlcToBigInt(packHlc(Date.now(), 0)),
  });
}

/**
 * Of tables that the token sees whole, where the device is now current in every shard: their rows add up (V1). While a change
 * of the rules is on its way, some shards may know what others do not, and would be missing in the sum.
 */
function digestsOf(pages: readonly ShardPage[]): Record<string, string> {
  if (pages.some((page) => page.hasMore || page.version !== pages[0]?.version)) return {};
  const parts = Map.groupBy(
    pages.flatMap(({ digests = {} }) => Object.entries(digests)),
    ([table]) => table,
  );
  const sumOf = (shards: readonly (readonly [string, string])[]) => TableDigest.sum(shards.map(([, text]) => text));
  return Object.fromEntries([...parts].map(([table, shards]) => [table, String(sumOf(shards))]));
}

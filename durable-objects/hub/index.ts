/**
 * The Hub: hibernating WebSockets of one tenant. A shard that moved pokes the hub, the hub pokes its sockets, a client pulls
 * over its socket. What a socket may do is on disk, since a hub forgets its memory while it sleeps.
 *
 *   client --push--> hub --RPC--> shard          shard --poke--> hub --poke--> every socket
 *   client --pull--> hub --RPC--> shard
 *
 * Of a push that came over the hub itself, the shard's answer is enough: followers get their pages at once (followers.ts).
 */
import { DurableObject } from "cloudflare:workers";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  BODY_BYTES_MAX,
  base64ToBytes,
  bytesToBase64,
  FOLLOWED_EDITS_MAX,
  isLakeSyncError,
  LakeSyncError,
  ok,
  POKE_MERGE_MS,
  proto,
  type Result,
  SOCKETS_PER_HUB_MAX,
} from "../../schemas/index.ts";
import { forGateway, type Grant, verifyToken } from "../auth.ts";
import type { Env } from "../env.ts";
import { Followers, type Onlooker } from "../followers.ts";
import { type Audience, Router } from "../router.ts";

/** Subprotocol of the frames; a browser hands its token over as a second one, since it cannot set headers. */
export const SUBPROTOCOL = "lakesync.v1";
/** WebSocket close codes of our own (RFC 6455, section 7.4.2: 4000 to 4999 are private). */
const CLOSE_TOKEN_EXPIRED = 4001;
const CLOSE_BAD_FRAME = 4002;
/** Grants whose socket is gone are looked for at least this often: not every close is heard of. Milliseconds. */
const SWEEP_MS = 24 * 3600 * 1000;

interface SocketGrant {
  readonly id: string;
  readonly exp: number;
}

export class Hub extends DurableObject<Env> {
  readonly #router: Router;
  readonly #followers = new Followers();
  /** As they are on disk, of sockets that were heard of since the hub woke. */
  readonly #grants = new Map<string, Grant>();
  #pokeTimer: ReturnType<typeof setTimeout> | undefined;
  #pokedAt = 0;
  #hint = "";
  /** Seqs that sockets are to be poked for, by shard. */
  readonly #heads = new Map<string, number>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#router = new Router(env, true);
    // Answered by the runtime, without waking the hub.
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS grants (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID");
  }

  /** The Worker has verified the token and upgrades the connection here. */
  async #accept(request: Request, grant: Grant): Promise<Response> {
    if (this.ctx.getWebSockets().length >= SOCKETS_PER_HUB_MAX)
      throw new LakeSyncError(
        "RateLimited",
        `The gateway holds ${SOCKETS_PER_HUB_MAX} sockets, as many as it can; use HTTP, or try again later.`,
        { limit: SOCKETS_PER_HUB_MAX },
      );
    const { 0: client, 1: server } = new WebSocketPair();
    const id = crypto.randomUUID();
    this.#storeGrant(id, grant);
    this.ctx.acceptWebSocket(server);
    server.serializeAttachment({ id, exp: grant.exp } satisfies SocketGrant);
    await this.#wakeAt(grant.exp);
    const offered =
      request.headers
        .get("sec-websocket-protocol")
        ?.split(",")
        .map((p) => p.trim()) ?? [];
    const headers = offered.includes(SUBPROTOCOL) ? { "sec-websocket-protocol": SUBPROTOCOL } : undefined;
    return new Response(null, { status: 101, webSocket: client, ...(headers && { headers }) });
  }

  override async fetch(request: Request): Promise<Response> {
    try {
      return await this.#accept(request, unpackGrant(request.headers.get(GRANT_HEADER) ?? ""));
    } catch (error) {
      if (isLakeSyncError(error)) return Response.json({ error: error.toJSON() }, { status: error.status });
      throw error;
    }
  }

  #storeGrant(id: string, grant: Grant): void {
    this.#grants.set(id, grant);
    this.ctx.storage.sql.exec(
      "INSERT INTO grants (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
      id,
      JSON.stringify(grant),
    );
  }

  #grant(id: string): Grant | undefined {
    const known = this.#grants.get(id);
    if (known) return known;
    const [row] = this.ctx.storage.sql.exec<{ body: string }>("SELECT body FROM grants WHERE id = ?", id).toArray();
    if (!row) return undefined;
    const grant = JSON.parse(row.body) as Grant;
    this.#grants.set(id, grant);
    return grant;
  }

  /** @param exp seconds since 1970 */
  async #wakeAt(exp: number): Promise<void> {
    const at = Math.min(exp * 1000, Date.now() + SWEEP_MS);
    const alarm = await this.ctx.storage.getAlarm();
    if (alarm === null || alarm > at) await this.ctx.storage.setAlarm(at);
  }

  /** Closes sockets whose token has expired (S5), and forgets grants whose socket is gone. */
  override async alarm(): Promise<void> {
    const now = Date.now();
    const live = new Set<string>();
    let next = now + SWEEP_MS;
    for (const socket of this.ctx.getWebSockets()) {
      const { id, exp } = socket.deserializeAttachment() as SocketGrant;
      if (exp * 1000 <= now) {
        this.#expire(socket);
        continue;
      }
      live.add(id);
      next = Math.min(next, exp * 1000);
    }
    for (const { id } of this.ctx.storage.sql.exec<{ id: string }>("SELECT id FROM grants").toArray())
      if (!live.has(id)) this.#forget(id);
    if (live.size > 0) await this.ctx.storage.setAlarm(next);
  }

  #expire(socket: WebSocket): undefined {
    this.#forget((socket.deserializeAttachment() as SocketGrant).id);
    socket.close(CLOSE_TOKEN_EXPIRED, "The token has expired; connect again with a new one.");
  }

  #forget(id: string): void {
    this.#followers.forget(id);
    this.#grants.delete(id);
    this.ctx.storage.sql.exec("DELETE FROM grants WHERE id = ?", id);
  }

  override async webSocketClose(socket: WebSocket): Promise<void> {
    this.#forget((socket.deserializeAttachment() as SocketGrant).id);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    this.#forget((socket.deserializeAttachment() as SocketGrant).id);
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const { id, exp } = socket.deserializeAttachment() as SocketGrant;
    const grant = this.#grant(id);
    if (exp * 1000 <= Date.now() || !grant) return this.#expire(socket);
    const frame = decodeFrame(message);
    if (isLakeSyncError(frame)) {
      socket.send(encodeFrame(0, errorBody(frame)));
      return socket.close(CLOSE_BAD_FRAME, frame.code);
    }
    socket.send(encodeFrame(frame.id, await this.#answerSafely(socket, id, grant, frame)));
  }

  /** A failure that nobody foresaw is answered too, and costs the socket nothing. */
  async #answerSafely(socket: WebSocket, id: string, grant: Grant, frame: proto.Frame): Promise<FrameBody> {
    try {
      return await this.#answer(socket, id, grant, frame);
    } catch (thrown) {
      const { gatewayId } = grant;
      const error = thrown instanceof Error ? thrown.stack : String(thrown);
      console.error(JSON.stringify({ level: "error", event: "frame", gatewayId, frame: frame.body.case, error }));
      return errorBody(new LakeSyncError("Internal", "Something went wrong in the gateway; try again in a moment."));
    }
  }

  async #answer(socket: WebSocket, id: string, grant: Grant, frame: proto.Frame): Promise<FrameBody> {
    switch (frame.body.case) {
      case "push":
        return asBody("pushed", await this.#push(id, grant, frame.body.value));
      case "pull":
        return asBody("page", await this.#pull(id, grant, frame.body.value));
      case "token":
        return this.#renew(socket, id, grant, frame.body.value);
      default:
        return errorBody(new LakeSyncError("BadRequest", "A client sends push, pull and token frames."));
    }
  }

  #push(id: string, { gatewayId, claims }: Grant, push: proto.PushRequest) {
    const edits = push.batches.reduce((sum, batch) => sum + batch.count, push.deltas.length);
    const groups = new Map<string, ReadonlyMap<string, Onlooker>>();
    const audience: Audience = {
      of: (shard) => {
        const onlookers = edits > FOLLOWED_EDITS_MAX ? new Map<string, Onlooker>() : this.#followers.of(shard, id);
        groups.set(shard, onlookers);
        return [...onlookers.values()];
      },
      hear: (shard, moved) => {
        if (moved) this.#send(this.#followers.frames(shard, id, groups.get(shard)?.keys() ?? [], moved));
        this.#poke(shard, moved?.head ?? Number.POSITIVE_INFINITY);
      },
    };
    return this.#router.push(gatewayId, claims, push, audience);
  }

  async #pull(id: string, { gatewayId, claims }: Grant, pull: proto.PullRequest) {
    const page = await this.#router.page(gatewayId, claims, pull);
    if (!page.ok) return page;
    const { response, standing } = page.value;
    if (pull.follow && !response.hasMore) this.#followers.stand(id, standing);
    return ok(response);
  }

  /** A new token for the same gateway and user keeps the socket open; rules see its claims from now on. */
  async #renew(socket: WebSocket, id: string, old: Grant, token: string): Promise<FrameBody> {
    const verified = await verifyToken(this.env, token);
    const grant = verified.ok ? forGateway(verified.value, old.gatewayId) : verified;
    if (!grant.ok) return errorBody(grant.error);
    if (grant.value.claims.sub !== old.claims.sub)
      return errorBody(new LakeSyncError("Forbidden", "A socket stays with its user; open another for another user."));
    this.#storeGrant(id, grant.value);
    this.#followers.forget(id);
    socket.serializeAttachment({ id, exp: grant.value.exp } satisfies SocketGrant);
    await this.#wakeAt(grant.value.exp);
    return { case: "poke", value: create(proto.PokeSchema, { cursorHint: this.#hint }) };
  }

  /** A shard moved. Pokes that come close together are merged into one. @returns how many sockets are open */
  poke(_gatewayId: string, shard: string, head: number): number {
    this.#poke(shard, head);
    return this.sockets();
  }

  #poke(shard: string, head: number): void {
    this.#hint = `${shard}:${head}`;
    this.#heads.set(shard, Math.max(head, this.#heads.get(shard) ?? 0));
    const wait = this.#pokedAt + POKE_MERGE_MS - Date.now();
    if (this.#pokeTimer === undefined && wait > 0) this.#pokeTimer = setTimeout(() => this.#pokeAll(), wait);
    else if (this.#pokeTimer === undefined) this.#pokeAll();
  }

  /** Whoever has not been sent what changed is told that something did. */
  #pokeAll(): void {
    this.#pokeTimer = undefined;
    const heads = [...this.#heads];
    this.#heads.clear();
    const frame = encodeFrame(0, { case: "poke", value: create(proto.PokeSchema, { cursorHint: this.#hint }) });
    const current = (id: string) => heads.every(([shard, head]) => this.#followers.has(id, shard, head));
    if (this.#send((id) => (current(id) ? undefined : frame))) this.#pokedAt = Date.now();
  }

  /** To each socket its frame. @returns whether there were any */
  #send(frameFor: (id: string) => Uint8Array | undefined): boolean {
    const now = Date.now();
    let sent = false;
    for (const socket of this.ctx.getWebSockets()) {
      const { id, exp } = socket.deserializeAttachment() as SocketGrant;
      const frame = exp * 1000 <= now ? this.#expire(socket) : frameFor(id);
      if (!frame) continue;
      sent = true;
      sendQuietly(socket, frame);
    }
    return sent;
  }

  /** How many sockets are open. */
  sockets(): number {
    return this.ctx.getWebSockets().length;
  }
}

/** Carries the verified grant from the Worker to the hub; never taken from outside, since the Worker sets it. */
export const GRANT_HEADER = "x-lakesync-grant";

/** As a header's value: claims may hold any characters, headers may not. */
export const packGrant = (grant: Grant): string => bytesToBase64(new TextEncoder().encode(JSON.stringify(grant)));
const unpackGrant = (text: string): Grant => JSON.parse(new TextDecoder().decode(base64ToBytes(text))) as Grant;

type FrameBody = Exclude<proto.Frame["body"], { case: undefined }>;

function decodeFrame(message: string | ArrayBuffer): proto.Frame | LakeSyncError {
  if (typeof message === "string")
    return new LakeSyncError(
      "BadRequest",
      'Frames are binary: protobuf messages of type lakesync.v1.Frame. The only text is "ping".',
    );
  if (message.byteLength > BODY_BYTES_MAX)
    return new LakeSyncError("TooLarge", `A frame has at most ${BODY_BYTES_MAX} bytes; send smaller pushes.`, {
      limit: BODY_BYTES_MAX,
    });
  try {
    return fromBinary(proto.FrameSchema, new Uint8Array(message));
  } catch {
    return new LakeSyncError("BadRequest", "The frame is not a protobuf message of type lakesync.v1.Frame.");
  }
}

/** To a socket that may be closing. */
function sendQuietly(socket: WebSocket, frame: Uint8Array): void {
  try {
    socket.send(frame);
  } catch {
    // Its close event comes by itself.
  }
}

const encodeFrame = (id: number, body: FrameBody): Uint8Array =>
  toBinary(proto.FrameSchema, create(proto.FrameSchema, { id, body }));

function asBody<Case extends "pushed" | "page">(
  name: Case,
  result: Result<Extract<FrameBody, { case: Case }>["value"], LakeSyncError>,
): FrameBody {
  return result.ok ? ({ case: name, value: result.value } as FrameBody) : errorBody(result.error);
}

function errorBody(error: LakeSyncError): FrameBody {
  const { code, message, details } = error.toJSON();
  const retryAfterSeconds = Number(details.retryAfterSeconds ?? 0);
  return {
    case: "error",
    value: create(proto.ErrorBodySchema, { code, message, details: { ...details }, retryAfterSeconds }),
  };
}

/**
 * Requests and pokes over one WebSocket of binary frames; over HTTP whenever the socket is not open, so that a proxy that
 * blocks WebSockets costs latency and nothing else.
 *
 *   closed      --listen-->          connecting
 *   connecting  --open-->            open          live, and one poke: something may have been missed
 *   connecting  --close, timeout-->  resting       connects again after a backoff
 *   open        --close, silence-->  resting       requests under way fail as `Network`; the coordinator repeats them
 *   resting     --timer-->           connecting
 *   any         --stop-->            closed
 *
 * A half-open connection is found by silence: a ping after `pingMs` without a message, the end after `pongMs` more. The
 * token goes as a second subprotocol, `bearer.<token>`, since browsers cannot set headers on a WebSocket; a new one is
 * sent over the socket before the old one expires (C7).
 */
import { LakeSyncError } from "../../schemas/index.ts";
import { defaultPlatform, type Platform, type SocketLike } from "../platform.ts";
import { backoffMs } from "../sync/machine.ts";
import { FRAME, gatewayError, pageOf, pullMessage, pushAnswer, pushMessage } from "./codec.ts";
import { HttpTransport, type HttpTransportOptions } from "./http.ts";
import { getToken, type Page, type PullCall, type PushAnswer, type PushCall, type TransportEvents } from "./port.ts";
import { decode, encode, type Shape } from "./protobuf.ts";

export interface WebSocketTransportOptions extends Omit<HttpTransportOptions, "platform"> {
  /** Silence after which a ping is sent, and further silence after which the socket is given up. Default 25 s, 10 s. */
  readonly pingMs?: number;
  readonly pongMs?: number;
  readonly platform?: Platform;
}

const SUBPROTOCOL = "lakesync.v1";
/** Of the gateway: the token has expired. */
const CLOSE_TOKEN_EXPIRED = 4001;
const CONNECT_MS = 15_000;
/** A token is renewed this long before it expires. */
const RENEW_AHEAD_MS = 60_000;
/** A device whose clock is ahead takes every token for expired, the one that it has just got too. */
const RENEWALS_APART_MS = 30_000;
const RECONNECT = { firstMs: 300, maxMs: 30_000 };

type Frame = Shape<typeof FRAME>;

interface Waiting {
  readonly resolve: (frame: Frame) => void;
  readonly reject: (error: unknown) => void;
}

export class WebSocketTransport extends HttpTransport {
  readonly #options: WebSocketTransportOptions;
  readonly #platform: Platform;
  readonly #url: string;
  #events: TransportEvents | undefined;
  #socket: SocketLike | undefined;
  #open = false;
  #stale = false;
  #failures = 0;
  #nextId = 1;
  readonly #waiting = new Map<number, Waiting>();
  /** One timer for connecting, resting and silence: they exclude each other. */
  #timer: unknown;
  #renewal: unknown;

  constructor(options: WebSocketTransportOptions) {
    const platform = options.platform ?? defaultPlatform();
    super({ ...options, platform });
    this.#options = options;
    this.#platform = platform;
    const base = options.baseUrl.replace(/\/+$/, "").replace(/^http/, "ws");
    this.#url = `${base}/v1/${options.gatewayId}/ws`;
  }

  /** Whether requests go over the socket just now. */
  get connected(): boolean {
    return this.#open;
  }

  override async push(call: PushCall, signal?: AbortSignal): Promise<PushAnswer> {
    if (!this.#open) return super.push(call, signal);
    return pushAnswer(await this.#request("pushed", { push: pushMessage(call) }, signal));
  }

  override async pull(call: PullCall, signal?: AbortSignal): Promise<Page> {
    if (!this.#open) return super.pull(call, signal);
    return pageOf(await this.#request("page", { pull: pullMessage(call) }, signal));
  }

  listen(events: TransportEvents): () => void {
    this.#events = events;
    void this.#connect();
    return () => {
      this.#events = undefined;
      this.#drop();
    };
  }

  async #connect(): Promise<void> {
    const events = this.#events;
    if (!events) return;
    let token: string;
    try {
      token = await getToken(this.#options.token, this.#stale);
    } catch {
      return this.#rest();
    }
    if (this.#events !== events || this.#socket) return;
    const socket = this.#platform.openSocket(this.#url, [SUBPROTOCOL, `bearer.${token}`]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    // A socket that was given up may still speak; only the current one is listened to.
    const current = (handle: () => void) => () => {
      if (this.#socket === socket) handle();
    };
    socket.addEventListener(
      "open",
      current(() => this.#opened(token)),
    );
    socket.addEventListener("message", (event) => {
      if (this.#socket === socket) this.#message(event.data);
    });
    socket.addEventListener("close", (event) => {
      if (this.#socket !== socket) return;
      // Before it opened, a refused token looks like any other failure: ask for a fresh one to be safe.
      this.#stale = event?.code === CLOSE_TOKEN_EXPIRED || !this.#open;
      this.#lost();
    });
    socket.addEventListener(
      "error",
      current(() => this.#lost()),
    );
    this.#after(CONNECT_MS, () => this.#lost());
  }

  #opened(token: string): void {
    this.#open = true;
    this.#stale = false;
    this.#failures = 0;
    this.#heard();
    this.#renewBefore(token, 1000);
    this.#events?.live(true);
    this.#events?.poke("");
  }

  #message(data: unknown): void {
    this.#heard();
    if (!(data instanceof ArrayBuffer)) return; // a pong
    let frame: Frame;
    let page: Page | undefined;
    try {
      frame = decode(FRAME, new Uint8Array(data));
      if (frame.page?.follows) page = pageOf(frame.page);
    } catch {
      this.#lost();
      return;
    }
    const { id, poke } = frame;
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (waiting) waiting.resolve(frame);
    else if (page) this.#events?.page?.(page);
    else if (poke) this.#events?.poke(poke.cursorHint);
  }

  /** @param wanted the answer's case */
  async #request<Case extends "pushed" | "page">(
    wanted: Case,
    body: Partial<Frame>,
    signal: AbortSignal | undefined,
  ): Promise<NonNullable<Frame[Case]>> {
    const id = this.#nextId++;
    const answer = new Promise<Frame>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    // Whoever gives up on an answer has found a connection that does not work.
    const abort = () => {
      if (this.#waiting.has(id)) this.#lost();
    };
    signal?.addEventListener("abort", abort);
    try {
      this.#socket?.send(encode(FRAME, { id, ...body }));
      const { error, [wanted]: answered } = await answer;
      if (answered) return answered;
      throw gatewayError(0, error);
    } finally {
      this.#waiting.delete(id);
      signal?.removeEventListener("abort", abort);
    }
  }

  #heard(): void {
    const { pingMs = 25_000, pongMs = 10_000 } = this.#options;
    this.#after(pingMs, () => {
      this.#socket?.send("ping");
      this.#after(pongMs, () => this.#lost());
    });
  }

  /** The socket is of no use any more. */
  #lost(): void {
    this.#drop();
    this.#rest();
  }

  #drop(): void {
    const socket = this.#socket;
    const wasOpen = this.#open;
    this.#socket = undefined;
    this.#open = false;
    this.#platform.timers.clear(this.#timer);
    this.#platform.timers.clear(this.#renewal);
    socket?.close();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new LakeSyncError("Network", "The socket closed before the answer came."));
    if (wasOpen) this.#events?.live(false);
  }

  #rest(): void {
    if (!this.#events) return;
    this.#failures++;
    const wait = backoffMs(this.#failures, 0, this.#platform.random, RECONNECT);
    this.#after(wait, () => void this.#connect());
  }

  #after(ms: number, run: () => void): void {
    this.#platform.timers.clear(this.#timer);
    this.#timer = this.#platform.timers.set(run, ms);
  }

  #renewBefore(token: string, soonestMs: number): void {
    const expires = expiryMs(token);
    if (expires === undefined || typeof this.#options.token === "string") return;
    const wait = Math.max(soonestMs, expires - RENEW_AHEAD_MS - this.#platform.clock.now());
    this.#renewal = this.#platform.timers.set(() => void this.#renew(), Math.min(wait, 2 ** 31 - 1));
  }

  async #renew(): Promise<void> {
    const socket = this.#socket;
    try {
      const token = await getToken(this.#options.token, true);
      if (this.#socket !== socket || !this.#open) return;
      socket?.send(encode(FRAME, { token }));
      this.#renewBefore(token, RENEWALS_APART_MS);
    } catch {
      // The gateway will close the socket when the token expires, and connecting asks again.
    }
  }
}

/** When a JWT expires; undefined when it does not say. */
function expiryMs(token: string): number | undefined {
  try {
    const payload = (token.split(".")[1] as string).replaceAll("-", "+").replaceAll("_", "/");
    const { exp } = JSON.parse(atob(payload));
    return typeof exp === "number" ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}

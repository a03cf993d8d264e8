/**
 * WebSockets between devices and a hub. Frames arrive in order, after a while, or not at all: a connection may end with a
 * word to both ends, or to one, or to none (half-open).
 */
import type { Process } from "../kernel/process.ts";
import type { Network } from "./network.ts";

type Handler = Record<string, (...args: unknown[]) => unknown>;
type Inside = (run: (object: Handler) => unknown) => Promise<unknown>;
type Listener = (event: { readonly data?: unknown; readonly code?: number }) => void;

const FRAME_MS = 8;

/** One end of a connection. */
export class End {
  peer: End | undefined;
  open = true;
  /** Nothing that is sent arrives any more, and nobody is told. */
  silent = false;
  attachment: unknown;
  receive: (data: unknown) => void = () => undefined;
  closed: (code: number) => void = () => undefined;
  readonly #network: Network;
  #lastArrival = 0;

  constructor(network: Network) {
    this.#network = network;
  }

  #later(run: () => void): void {
    const { scheduler } = this.#network;
    const at = Math.max(this.#lastArrival, scheduler.now + this.#network.delay(FRAME_MS));
    this.#lastArrival = at;
    scheduler.after(at - scheduler.now, run);
  }

  send(data: unknown): void {
    const { peer } = this;
    if (!this.open || !peer) throw new Error("The socket is closed.");
    if (this.#network.strikes("socketDies")) {
      if (this.#network.random.chance(0.5)) this.silent = peer.silent = true;
      else this.drop();
    }
    const copy = typeof data === "string" ? data : new Uint8Array(data as Uint8Array).buffer;
    this.#later(() => {
      if (!this.silent && peer.open) peer.receive(copy);
    });
  }

  /** Ends the connection; the other end hears of it when its turn comes. */
  close(code = 1000): void {
    if (!this.open) return;
    this.open = false;
    const { peer } = this;
    this.#later(() => {
      if (!peer?.open || this.silent) return;
      peer.open = false;
      peer.closed(code);
    });
  }

  /** The connection breaks, and both ends are told. */
  drop(): void {
    for (const end of [this, this.peer]) {
      if (!end?.open) continue;
      end.open = false;
      this.#later(() => end.closed(1006));
    }
  }

  serializeAttachment(value: unknown): void {
    this.attachment = structuredClone(value);
  }

  deserializeAttachment(): unknown {
    return structuredClone(this.attachment);
  }
}

/** A fresh connection. */
function socketPair(network: Network): [client: End, server: End] {
  const ends: [End, End] = [new End(network), new End(network)];
  ends[0].peer = ends[1];
  ends[1].peer = ends[0];
  return ends;
}

/** The sockets of a Durable Object: they outlive its instance, but not its death. */
export class Sockets {
  readonly #inside: Inside;
  readonly #held = new Set<End>();

  constructor(inside: Inside) {
    this.#inside = inside;
  }

  dropAll(): void {
    for (const end of this.#held) end.drop();
    this.#held.clear();
  }

  context(process: Process): object {
    return {
      acceptWebSocket: (end: End) => this.#accept(end),
      getWebSockets: () => (process.alive ? [...this.#held].filter((end) => end.open) : []),
      setWebSocketAutoResponse: () => undefined,
    };
  }

  #accept(end: End): void {
    this.#held.add(end);
    const tell = (run: (object: Handler) => unknown) => void this.#inside(run).catch(() => undefined);
    end.receive = (data) => {
      if (data === "ping")
        end.send("pong"); // by the runtime, without waking the object
      else tell((object) => object.webSocketMessage?.(end, data));
    };
    end.closed = () => {
      this.#held.delete(end);
      tell((object) => object.webSocketClose?.(end));
    };
  }
}

/** What a browser gives its device. */
export class DeviceSocket {
  binaryType = "blob";
  readonly #listeners = new Map<string, Listener[]>();
  readonly #process: Process;
  #end: End | undefined;
  #over = false;

  constructor(process: Process) {
    this.#process = process;
    process.onDeath(() => this.#end?.drop());
  }

  get readyState(): number {
    return this.#over ? 3 : this.#end ? 1 : 0;
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  #emit(type: string, event: { data?: unknown; code?: number } = {}): void {
    if (!this.#process.alive) return;
    for (const listener of this.#listeners.get(type) ?? []) listener(event);
  }

  opened(end: End): void {
    if (this.#over || !this.#process.alive) {
      end.close();
      return;
    }
    this.#end = end;
    end.receive = (data) => this.#emit("message", { data });
    end.closed = (code) => this.failed(code);
    this.#emit("open");
  }

  failed(code: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#emit("close", { code });
  }

  send(data: Uint8Array | string): void {
    if (this.#end?.open) this.#end.send(data);
  }

  close(): void {
    this.#over = true;
    this.#end?.close();
  }

  get end(): End | undefined {
    return this.#end;
  }
}

/** `WebSocketPair` and a `Response` that may carry one end of it, as Workers have them. */
export function socketGlobals(network: Network): { WebSocketPair: unknown; Response: unknown } {
  class WebSocketPair {
    readonly 0: End;
    readonly 1: End;
    constructor() {
      [this[0], this[1]] = socketPair(network);
    }
  }
  const upgradable = new Proxy(Response, {
    construct(real, [body, init]: [BodyInit | null, (ResponseInit & { webSocket?: End })?]) {
      if (init?.status !== 101) return new real(body, init as ResponseInit);
      return Object.defineProperties(new real(null), {
        status: { value: 101 },
        webSocket: { value: init.webSocket },
      });
    },
  });
  return { WebSocketPair, Response: upgradable };
}

export class RequestResponsePair {}

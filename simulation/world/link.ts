/** The road between one device and the gateway, over the open internet: HTTP requests and sockets, cut off at times. */
import type { Platform } from "../../client/index.ts";
import { never, type Process } from "../kernel/process.ts";
import type { Gateway } from "./gateway.ts";
import type { Network } from "./network.ts";
import { DeviceSocket, type End } from "./sockets.ts";

const REQUEST_MS = 40;

type SocketLike = ReturnType<Platform["openSocket"]>;

export class Link {
  readonly #network: Network;
  readonly #gateway: Gateway;
  readonly #sockets = new Set<DeviceSocket>();
  /** "cut": everything fails at once. "silent": nothing is ever answered. */
  state: "up" | "cut" | "silent" = "up";

  constructor(network: Network, gateway: Gateway) {
    this.#network = network;
    this.#gateway = gateway;
  }

  cut(): void {
    this.state = "cut";
    for (const socket of this.#sockets) socket.end?.drop();
    this.#sockets.clear();
  }

  silence(): void {
    this.state = "silent";
    for (const { end } of this.#sockets) {
      for (const each of [end, end?.peer]) if (each) each.silent = true;
    }
    this.#sockets.clear();
  }

  /** What happened to it while it was silent stays: such sockets are dead, and their device does not know. */
  heal(): void {
    this.state = "up";
  }

  fetch(process: Process, url: string, init: RequestInit): Promise<Response> {
    const { scheduler } = this.#network;
    const body = init.body ? (init.body as Uint8Array).slice() : undefined;
    return new Promise<Response>((resolve, reject) => {
      const stop = () => reject(new Error("The request was aborted."));
      if (init.signal?.aborted) return stop();
      init.signal?.addEventListener("abort", stop);
      const later = (run: () => void) => void scheduler.after(this.#network.delay(REQUEST_MS), run, process);
      const lose = () => {
        if (this.#network.random.chance(0.5)) later(() => reject(new TypeError("fetch failed")));
      };
      if (this.state === "cut") return later(() => reject(new TypeError("fetch failed")));
      if (this.state === "silent") return;
      if (this.#network.strikes("requestLost")) return lose();
      const ask = () => this.#gateway.fetch(new Request(url, { ...init, body: body ?? null, signal: null }));
      if (this.#network.strikes("requestTwice"))
        scheduler.after(this.#network.delay(REQUEST_MS * 100), () => void ask().catch(() => undefined));
      scheduler.after(this.#network.delay(REQUEST_MS), () => {
        ask()
          .then(async (response) => {
            const { ok, status, headers } = response;
            const bytes = await response.arrayBuffer();
            if (this.state !== "up" || this.#network.strikes("answerLost")) return lose();
            later(() => resolve({ ok, status, headers, arrayBuffer: async () => bytes } as unknown as Response));
          })
          .catch(() => lose());
      });
    });
  }

  openSocket(process: Process, url: string, protocols: string[]): SocketLike {
    const { scheduler } = this.#network;
    const socket = new DeviceSocket(process);
    const later = (run: () => void) => void scheduler.after(this.#network.delay(REQUEST_MS), run, process);
    if (this.state === "silent") void never();
    else if (this.state === "cut" || this.#network.strikes("requestLost")) later(() => socket.failed(1006));
    else
      later(() => {
        const headers = { upgrade: "websocket", "sec-websocket-protocol": protocols.join(", ") };
        this.#gateway.fetch(new Request(url.replace(/^ws/, "http"), { headers })).then(
          (response) => {
            const end = (response as unknown as { webSocket: End | null }).webSocket;
            later(() => {
              if (!end || this.state !== "up") return socket.failed(1006);
              this.#sockets.add(socket);
              socket.opened(end);
            });
          },
          () => later(() => socket.failed(1006)),
        );
      });
    return socket as unknown as SocketLike;
  }
}

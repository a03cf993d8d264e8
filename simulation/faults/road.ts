/** A TCP proxy between one device and the gateway, and the weather on that road. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class Road {
  readonly #server: Server;
  readonly #upstream: number;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  /** "silent": everything is taken, and nothing passes, either way. */
  #state: "up" | "cut" | "silent" = "up";
  #delayMs = 0;

  private constructor(upstream: number) {
    this.#upstream = upstream;
    this.#server = createServer((near) => this.#pair(near));
  }

  static async start(upstream: number): Promise<Road> {
    const road = new Road(upstream);
    await new Promise<void>((resolve) => road.#server.listen(0, "127.0.0.1", resolve));
    return road;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Every connection is reset, and new ones are. */
  cut(): void {
    this.#state = "cut";
    this.#reset();
  }

  /** Half-open: nobody is told that nothing arrives any more. */
  silence(): void {
    this.#state = "silent";
  }

  /** Each piece of data takes this much longer, either way. Milliseconds. */
  slow(ms: number): void {
    this.#delayMs = ms;
  }

  /** Connections that were silent stay so until they are reset, as after a lost route. */
  heal(): void {
    if (this.#state === "silent") this.#reset();
    this.#state = "up";
    this.#delayMs = 0;
  }

  stop(): void {
    this.#reset();
    this.#server.close();
  }

  #reset(): void {
    for (const pair of this.#pairs) for (const end of pair) end.destroy();
    this.#pairs.clear();
  }

  #pair(near: Socket): void {
    near.on("error", () => undefined);
    if (this.#state === "cut") {
      near.resetAndDestroy();
      return;
    }
    const far = connect(this.#upstream, "127.0.0.1");
    far.on("error", () => undefined);
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    this.#pass(near, far);
    this.#pass(far, near);
    const end = () => {
      if (this.#state === "silent") return;
      this.#pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    near.on("close", end);
    far.on("close", end);
  }

  /** In order, whatever each piece waits. */
  #pass(from: Socket, to: Socket): void {
    let last = Promise.resolve();
    from.on("data", (piece) => {
      const delayMs = this.#delayMs;
      last = last.then(async () => {
        if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
        if (this.#state !== "silent" && to.writable) to.write(piece);
      });
    });
  }
}

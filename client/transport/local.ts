/** A gateway in the same process, for tests and simulations: calls instead of requests. */
import type { Checkpoint, Page, PullCall, PushAnswer, PushCall, Transport, TransportEvents } from "./port.ts";

/** What answers; errors are thrown as `LakeSyncError`. */
export interface LocalGateway {
  push(call: PushCall): Promise<PushAnswer> | PushAnswer;
  pull(call: PullCall): Promise<Page> | Page;
  checkpoint?(tables: readonly string[], older?: boolean): Promise<Checkpoint>;
  chunk?(name: string): Promise<Uint8Array>;
  /** Calls back when there is something new. @returns a function that ends it */
  subscribe?(onPoke: (cursorHint: string) => void): () => void;
}

export class LocalTransport implements Transport {
  readonly #gateway: LocalGateway;

  constructor(gateway: LocalGateway) {
    this.#gateway = gateway;
  }

  async push(call: PushCall): Promise<PushAnswer> {
    return this.#gateway.push(call);
  }

  async pull(call: PullCall): Promise<Page> {
    return this.#gateway.pull(call);
  }

  async checkpoint(tables: readonly string[], _signal?: AbortSignal, older?: boolean): Promise<Checkpoint> {
    return (await this.#gateway.checkpoint?.(tables, older)) ?? { cursor: "", chunks: [], rows: 0 };
  }

  async chunk(name: string): Promise<Uint8Array> {
    return (await this.#gateway.chunk?.(name)) ?? new Uint8Array(0);
  }

  listen(events: TransportEvents): () => void {
    if (!this.#gateway.subscribe) return () => undefined;
    events.live(true);
    return this.#gateway.subscribe((hint) => events.poke(hint));
  }
}

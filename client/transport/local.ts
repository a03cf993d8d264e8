/** A gateway in the same process, for tests and simulations: calls instead of requests. */
import type { Page, PullCall, PushAnswer, PushCall, Transport, TransportEvents } from "./port.ts";

/** What answers; errors are thrown as `LakeSyncError`. */
export interface LocalGateway {
  push(call: PushCall): Promise<PushAnswer> | PushAnswer;
  pull(call: PullCall): Promise<Page> | Page;
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

  listen(events: TransportEvents): () => void {
    if (!this.#gateway.subscribe) return () => undefined;
    events.live(true);
    return this.#gateway.subscribe((hint) => events.poke(hint));
  }
}

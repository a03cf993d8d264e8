/**
 * The whole gateway in one process: the Worker's own app in a few isolates, the Durable Objects, the flush queue and its
 * consumers, the bucket. All of it is product code; what is made up is only the platform under it.
 */
import type { FlushMessage } from "../../durable-objects/index.ts";
import { MemoryStore } from "../../lake/index.ts";
import { Catalogue, createGateway, Hub, Shard, Tenant } from "../../worker/gateway.ts";
import { Process } from "../kernel/process.ts";
import { bucketFor } from "./bucket.ts";
import type { Network } from "./network.ts";
import { type DurableClass, DurableHost } from "./objects.ts";

export const GATEWAY = "demo";
const LAKE_LOCATION = "s3://lakesync-lake";
const ISOLATES = 2;
const QUEUE_MS = 3000;
/** What a consumer that died or failed left undone comes again, if the queue still knows it. */
const REDELIVERY_MS = 5000;
const REDELIVERIES_MAX = 3;

interface Isolate {
  readonly process: Process;
  readonly env: object;
}

type Handlers = ReturnType<typeof createGateway>;

const CLASSES = { TENANT: Tenant, SHARD: Shard, HUB: Hub, CATALOGUE: Catalogue } as unknown as Readonly<
  Record<string, DurableClass>
>;

export class Gateway {
  readonly store: MemoryStore;
  readonly #network: Network;
  readonly #note: (who: string, what: string) => void;
  readonly #flushAgeMs: number;
  readonly #hosts = new Map<string, DurableHost>();
  readonly #isolates: Isolate[] = [];
  readonly #handlers: Handlers = createGateway();
  #births = 0;
  /** Called when a consumer has ended, one way or the other. */
  flushed: () => void = () => undefined;

  constructor(network: Network, flushAgeMs: number, note: (who: string, what: string) => void) {
    this.#network = network;
    this.#note = note;
    this.#flushAgeMs = flushAgeMs;
    this.store = new MemoryStore({ clock: { now: () => Date.now() }, location: LAKE_LOCATION });
    for (let n = 0; n < ISOLATES; n++) this.#isolates.push(this.#isolate());
  }

  #isolate(): Isolate {
    const process = new Process(`worker#${++this.#births}`);
    return { process, env: this.#envFor(process) };
  }

  #envFor(process: Process): object {
    const namespace = (binding: string) => ({ getByName: (name: string) => this.host(binding, name).stub(process) });
    return {
      ...Object.fromEntries(Object.keys(CLASSES).map((binding) => [binding, namespace(binding)])),
      LAKE: bucketFor(this.store, this.#network, process),
      FLUSH_QUEUE: { send: (message: FlushMessage) => this.#send(process, message) },
      JWT_SECRET: "a secret that nobody looks at, as jose is not there",
      LOG_LEVEL: "error",
      LAKE_LOCATION,
      FLUSH_AGE_MS: String(this.#flushAgeMs),
    };
  }

  host(binding: string, name: string): DurableHost {
    const key = `${binding.toLowerCase()}:${name}`;
    let host = this.#hosts.get(key);
    if (!host) {
      const envFor = (process: Process) => this.#envFor(process);
      host = new DurableHost(key, CLASSES[binding] as DurableClass, {
        network: this.#network,
        envFor,
        note: this.#note,
      });
      this.#hosts.set(key, host);
    }
    return host;
  }

  /** Durable Objects that were ever asked, by the order of asking. */
  get hosts(): readonly DurableHost[] {
    return [...this.#hosts.values()];
  }

  crashWorkers(): void {
    this.#note("workers", "are replaced");
    for (const [at, { process }] of this.#isolates.entries()) {
      process.die();
      this.#isolates[at] = this.#isolate();
    }
  }

  /** A request as it arrives at some isolate. Fails when the isolate dies. */
  fetch(request: Request): Promise<Response> {
    const at = this.#network.random.int(0, ISOLATES - 1);
    let isolate = this.#isolates[at] as Isolate;
    if (!isolate.process.alive) isolate = this.#isolates[at] = this.#isolate();
    const { process, env } = isolate;
    return new Promise((resolve, reject) => {
      process.onDeath(() => reject(new Error("The isolate was reset.")));
      const context = { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} };
      const answer = this.#handlers.fetch(request as never, env as never, context as never);
      Promise.resolve(answer).then(resolve as (response: unknown) => void, reject);
    });
  }

  #send(sender: Process, message: FlushMessage): Promise<void> {
    return this.#network.call(sender, 5, async () => {
      if (this.#network.strikes("queueLost")) return;
      this.#deliver(structuredClone(message), 0);
      if (this.#network.strikes("queueTwice")) this.#deliver(structuredClone(message), 0);
    });
  }

  #deliver(message: FlushMessage, tries: number): void {
    const { random, scheduler } = this.#network;
    scheduler.after(random.next() * QUEUE_MS, () => void this.#consume(message, tries));
  }

  async #consume(message: FlushMessage, tries: number): Promise<void> {
    const { random, scheduler } = this.#network;
    const process = new Process(`consumer#${++this.#births}`);
    this.#note(process.name, `flushes ${message.shard}`);
    const died = new Promise<"died">((resolve) => process.onDeath(() => resolve("died")));
    const work = async () => {
      const batch = { queue: "flush", messages: [{ body: message }] };
      await this.#handlers.queue(batch as never, this.#envFor(process) as never, {} as never);
      return "done" as const;
    };
    const end = await Promise.race([died, work()]).catch((error: unknown) => `fails: ${error}`);
    this.#note(process.name, end);
    process.die();
    this.flushed();
    if (end !== "done" && tries < REDELIVERIES_MAX && random.chance(0.5))
      scheduler.after(REDELIVERY_MS, () => this.#deliver(message, tries + 1));
  }
}

/**
 * The whole gateway in one process: the Worker's own app in a few isolates, the Durable Objects, the two queues and their
 * consumers, Cron, the bucket. All of it is product code; what is made up is only the platform under it.
 */
import type { FlushMessage, MaintenanceMessage } from "../../durable-objects/index.ts";
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
/** Cron comes by this often; a world's days are minutes (scaled.ts). */
const CRON_MS = 10_000;
/** Consumers are ended after this long, and live no longer than this over a sleep of the world. */
const CONSUMER_MS = 3 * 60_000;
/** What a consumer that died or failed left undone comes again, if the queue still knows it. */
const REDELIVERY_MS = 5000;
const REDELIVERIES_MAX = 3;

type Message = FlushMessage | MaintenanceMessage;

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
  readonly #consumers = new Set<Process>();
  #births = 0;

  constructor(network: Network, flushAgeMs: number, note: (who: string, what: string) => void) {
    this.#network = network;
    this.#note = note;
    this.#flushAgeMs = flushAgeMs;
    this.store = new MemoryStore({ clock: { now: () => Date.now() }, location: LAKE_LOCATION });
    for (let n = 0; n < ISOLATES; n++) this.#isolates.push(this.#isolate());
    this.#network.scheduler.after(CRON_MS, () => this.#cron());
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
      FLUSH_QUEUE: { send: (message: Message) => this.#send(process, [message]) },
      MAINTENANCE_QUEUE: {
        sendBatch: (messages: readonly { readonly body: Message }[]) =>
          this.#send(
            process,
            messages.map(({ body }) => body),
          ),
      },
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
    if (request.url.includes("/checkpoint")) this.#network.tally.add("checkpoint requests");
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

  /** Time passes for everybody: what runs in Workers does not live that long. */
  leap(ms: number): void {
    if (ms < CONSUMER_MS) return;
    for (const process of [...this.#consumers]) process.die();
    this.crashWorkers();
  }

  /** Maintenance of a table, asked for beside what the ledger says. */
  maintain(table: string): void {
    this.#deliver({ gatewayId: GATEWAY, duty: table }, 0);
  }

  #send(sender: Process, messages: readonly Message[]): Promise<void> {
    return this.#network.call(sender, 5, async () => {
      for (const message of messages) {
        if (this.#network.strikes("queueLost")) continue;
        this.#deliver(structuredClone(message), 0);
        if (this.#network.strikes("queueTwice")) this.#deliver(structuredClone(message), 0);
      }
    });
  }

  #deliver(message: Message, tries: number): void {
    const { random, scheduler } = this.#network;
    scheduler.after(random.next() * QUEUE_MS, () => void this.#consume(message, tries));
  }

  async #consume(message: Message, tries: number): Promise<void> {
    const { random, scheduler } = this.#network;
    const what = "shard" in message ? `flushes ${message.shard}` : `maintains ${message.duty}`;
    const end = await this.#job(what, (env) =>
      this.#handlers.queue({ queue: "", messages: [{ body: message }] } as never, env as never, {} as never),
    );
    if (end !== "done" && tries < REDELIVERIES_MAX && random.chance(0.5))
      scheduler.after(REDELIVERY_MS, () => this.#deliver(message, tries + 1));
  }

  #cron(): void {
    this.#network.scheduler.after(CRON_MS, () => this.#cron());
    void this.#job("is Cron", (env) => this.#handlers.scheduled({} as never, env as never, {} as never));
  }

  /** Runs in a process of its own, which has its time. @returns "done", or how it ended otherwise */
  async #job(what: string, run: (env: object) => unknown): Promise<string> {
    const process = new Process(`consumer#${++this.#births}`);
    this.#consumers.add(process);
    this.#note(process.name, what);
    this.#network.scheduler.after(CONSUMER_MS, () => process.die(), process);
    const died = new Promise<string>((resolve) => process.onDeath(() => resolve("died")));
    const work = (async () => run(this.#envFor(process)))().then(() => "done");
    const end = await Promise.race([died, work]).catch((error: unknown) => `fails: ${error}`);
    this.#note(process.name, end);
    this.#consumers.delete(process);
    process.die();
    return end;
  }
}

/**
 * What the tabs of one device share, in virtual time: Web Locks, BroadcastChannels and the file; and the dedicated workers of
 * its pages. A page that dies takes its worker along, and what they held becomes free.
 */
import { type Locks, type Port, runTab, type WorkerLike } from "../../client/testing.ts";
import type { Clock } from "../../core/index.ts";
import type { Process } from "../kernel/process.ts";
import { Process as Processes } from "../kernel/process.ts";
import type { Disk } from "./disk.ts";
import type { Network } from "./network.ts";

/** Messages between a page and its worker are quick, unless somebody is busy. Milliseconds. */
const BUSY_MS = 25;
const BUSY = 0.06;
/** Between processes of the browser. Milliseconds. */
const BROADCAST_MS = 8;
const GRANT_MS = 2;
/** How often, and how long between, a file is tried that another tab has. */
const TRIES = 50;
const TRY_MS = 20;

type Listener = (event: { readonly data: unknown }) => void;

/** One who asks for a lock; the first of a queue has it. */
interface Asking {
  readonly grant: () => void;
}

/** One end of a BroadcastChannel. */
interface Member {
  readonly owner: Process;
  readonly hear: Listener[];
  open: boolean;
  /** When the last message of each other member arrives: none overtakes another. */
  readonly lastArrival: Map<Member, number>;
}

export class Origin {
  readonly #network: Network;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #queues = new Map<string, Asking[]>();
  readonly #channels = new Map<string, Set<Member>>();
  #workers = 0;

  constructor(network: Network, disk: Disk, clock: Clock) {
    this.#network = network;
    this.#disk = disk;
    this.#clock = clock;
  }

  /** https://w3c.github.io/web-locks/ */
  locks(owner: Process): Locks {
    const request = (name: string, _options: object, held: () => Promise<unknown>): Promise<unknown> =>
      new Promise((resolve, reject) => {
        if (!owner.alive) return;
        const queue = this.#queues.get(name) ?? [];
        this.#queues.set(name, queue);
        const leave = () => {
          const at = queue.indexOf(asking);
          if (at < 0) return;
          queue.splice(at, 1);
          if (at === 0) queue[0]?.grant();
          if (queue.length === 0 && this.#queues.get(name) === queue) this.#queues.delete(name);
        };
        const run = () => void held().then(resolve, reject).finally(leave);
        const grant = () => void this.#network.scheduler.after(this.#network.delay(GRANT_MS), run, owner);
        const asking: Asking = { grant };
        queue.push(asking);
        owner.onDeath(leave);
        if (queue[0] === asking) grant();
      });
    return { request };
  }

  /** https://html.spec.whatwg.org/multipage/web-messaging.html#broadcasting-to-other-browsing-contexts */
  channel(owner: Process, name: string): Port & { close(): void } {
    const { scheduler } = this.#network;
    const members = this.#channels.get(name) ?? new Set<Member>();
    this.#channels.set(name, members);
    const self: Member = { owner, hear: [], open: true, lastArrival: new Map() };
    const close = () => {
      self.open = false;
      members.delete(self);
    };
    members.add(self);
    owner.onDeath(close);
    return {
      close,
      addEventListener: (_type, listener) => void self.hear.push(listener),
      postMessage: (message) => {
        if (!owner.alive || !self.open) return;
        const data = structuredClone(message);
        for (const member of members) {
          if (member === self) continue;
          const soon = scheduler.now + this.#network.delay(BROADCAST_MS);
          const at = Math.max(member.lastArrival.get(self) ?? 0, soon);
          member.lastArrival.set(self, at);
          const arrive = () => {
            if (member.open) for (const listener of member.hear) listener({ data });
          };
          scheduler.after(at - scheduler.now, arrive, member.owner);
        }
      },
    };
  }

  /** A page's dedicated worker. */
  startWorker(page: Process): WorkerLike {
    const { scheduler, random } = this.#network;
    const worker = new Processes(`${page.name}/worker${++this.#workers}`);
    page.onDeath(() => worker.die());
    if (!page.alive) worker.die(); // what a dead page still does, nobody sees
    const lane = (to: Process, hear: readonly Listener[]) => {
      let lastArrival = 0;
      return (message: unknown) => {
        const data = structuredClone(message);
        lastArrival = Math.max(lastArrival, scheduler.now + (random.chance(BUSY) ? random.next() * BUSY_MS : 0));
        const arrive = () => {
          for (const listener of hear) listener({ data });
        };
        scheduler.after(lastArrival - scheduler.now, arrive, to);
      };
    };
    const [inPage, inWorker]: Listener[][] = [[], []] as const;
    const toPage = lane(page, inPage as Listener[]);
    const toWorker = lane(worker, inWorker as Listener[]);
    runTab({
      page: {
        postMessage: (message) => worker.alive && toPage(message),
        addEventListener: (_type, listener) => void inWorker?.push(listener),
        close: () => worker.die(),
      },
      session: worker.name,
      locks: this.locks(worker),
      channel: (name) => this.channel(worker, name),
      openDatabase: (_name, backend) => this.#openFile(page, worker, backend === "opfs"),
      now: () => this.#clock.now(),
      rest: () => scheduler.sleep(0, worker),
    });
    return {
      postMessage: toWorker,
      addEventListener: (type: string, listener: Listener) => void (type === "message" && inPage?.push(listener)),
      terminate: () => worker.die(),
    };
  }

  /** @param alone nobody else may have it open, as in the origin-private file system */
  async #openFile(page: Process, worker: Process, alone: boolean): ReturnType<Disk["open"]> {
    const { scheduler } = this.#network;
    for (let tries = 0; alone && this.#disk.held && tries < TRIES; tries++) await scheduler.sleep(TRY_MS, worker);
    if (alone && this.#disk.held) throw new Error("The file is another tab's.");
    return this.#disk.open(worker, this.#network, page);
  }
}

/**
 * A device: the real SDK over a database that outlives it, with a clock that may be wrong, a token that expires, and a link
 * that breaks. It dies and starts again at any moment.
 */
import {
  HttpTransport,
  isLakeSyncError,
  LocalDB,
  type Page,
  type Platform,
  type SchemaSpec,
  SyncCoordinator,
  type Transport,
  WebSocketTransport,
} from "../../client/index.ts";
import { Process } from "../kernel/process.ts";
import type { Random } from "../kernel/random.ts";
import { cancel, type Event } from "../kernel/scheduler.ts";
import { type Disk, Disk as Disks } from "./disk.ts";
import { GATEWAY, type Gateway } from "./gateway.ts";
import { Link } from "./link.ts";
import type { Network } from "./network.ts";

export interface DeviceSpec {
  readonly name: string;
  readonly user: string;
  readonly transport: "http" | "socket";
  /** How far its clock is ahead at first. Milliseconds. */
  readonly skewMs: number;
  readonly batchDeltas: number;
  readonly pageBytes: number;
}

export interface DeviceDeps {
  readonly network: Network;
  readonly gateway: Gateway;
  readonly random: Random;
  /** A fresh token of a user, with the claims that it has now. */
  tokenFor(user: string): string;
  note(who: string, what: string): void;
  /** A request is about to leave. */
  asks(device: Device): void;
  /** A round ended well. */
  synced(device: Device): Promise<void>;
  /** Something was applied or acknowledged. */
  progressed(device: Device): Promise<void>;
  /** It holds something else than the gateway, by its digest. */
  diverged(device: Device, tables: readonly string[]): void;
  schema(): SchemaSpec;
}

const RESTART_MS = 3000;

export class Device {
  readonly spec: DeviceSpec;
  readonly link: Link;
  readonly disk: Disk;
  skewMs: number;
  token = "";
  /** Client ids that this device ever had. */
  readonly clientIds = new Set<string>();
  db: LocalDB | undefined;
  sync: SyncCoordinator | undefined;
  process: Process;
  readonly #deps: DeviceDeps;
  #births = 0;
  #ended = false;

  private constructor(spec: DeviceSpec, disk: Disk, deps: DeviceDeps) {
    this.spec = spec;
    this.disk = disk;
    this.skewMs = spec.skewMs;
    this.#deps = deps;
    this.link = new Link(deps.network, deps.gateway);
    this.process = new Process(spec.name);
    this.process.die();
  }

  /** @param original whose database it begins with, copied */
  static async make(spec: DeviceSpec, deps: DeviceDeps, original?: Device): Promise<Device> {
    let device: Device | undefined;
    const clock = { now: () => deps.network.scheduler.now + (device?.skewMs ?? spec.skewMs) };
    const disk = original ? await original.disk.copy(spec.name, clock) : await Disks.blank(spec.name, clock);
    device = new Device(spec, disk, deps);
    return device;
  }

  get name(): string {
    return this.spec.name;
  }

  #platform(process: Process): Platform {
    const { scheduler } = this.#deps.network;
    return {
      clock: { now: () => scheduler.now + this.skewMs },
      random: this.#deps.random.next,
      timers: {
        set: (run, ms) => scheduler.after(ms, run, process),
        clear: (event) => event !== undefined && cancel(event as Event),
      },
      fetch: (url, init) => this.link.fetch(process, url, init),
      openSocket: (url, protocols) => this.link.openSocket(process, url, protocols),
      openDriver: () => this.disk.open(process, this.#deps.network),
    };
  }

  /** Starts the app, or starts it again. */
  async start(): Promise<void> {
    if (this.process.alive || this.#ended) return;
    const process = new Process(`${this.name}#${++this.#births}`);
    this.process = process;
    const { network, note } = this.#deps;
    process.onDeath(() => {
      note(this.name, "dies");
      this.db = undefined;
      this.sync = undefined;
      network.scheduler.after(RESTART_MS * network.random.next(), () => void this.start());
    });
    const platform = this.#platform(process);
    const db = await LocalDB.open({ name: this.name, backend: "file", schema: this.#deps.schema(), platform });
    if (!process.alive) return;
    const sync = new SyncCoordinator(db, this.#transport(platform), {
      batchDeltas: this.spec.batchDeltas,
      pageBytes: this.spec.pageBytes,
      verifyMs: 0,
    });
    this.db = db;
    this.sync = sync;
    this.clientIds.add(db.clientId);
    note(this.name, `starts as ${db.clientId}`);
    sync.on("error", (error) => note(this.name, `${error.code}: ${error.message.slice(0, 100)}`));
    sync.on("diverged", ({ tables }) => this.#deps.diverged(this, tables));
    sync.on("progress", () => void this.#deps.progressed(this));
    sync.on("synced", () => void this.#deps.synced(this));
    sync.startAutoSync();
  }

  #transport(platform: Platform): Transport {
    const token = ({ stale }: { stale: boolean }) => {
      if (stale || this.token === "") this.token = this.#deps.tokenFor(this.spec.user);
      return this.token;
    };
    const options = { baseUrl: "http://gateway", gatewayId: GATEWAY, token, gzip: false, platform };
    const real: Transport =
      this.spec.transport === "http" ? new HttpTransport(options) : new WebSocketTransport(options);
    const { asks } = this.#deps;
    const { tally } = this.#deps.network;
    const listen: Transport["listen"] =
      real.listen &&
      ((events) => {
        const page = (came: Page) => {
          tally.add("pages unasked");
          events.page?.(came);
        };
        return real.listen?.({ ...events, page }) ?? (() => undefined);
      });
    const checkpoint = real.checkpoint?.bind(real);
    const chunk = real.chunk?.bind(real);
    return {
      push: (call, signal) => {
        asks(this);
        this.clientIds.add(call.clientId);
        return real.push(call, signal);
      },
      pull: (call, signal) => {
        asks(this);
        return real.pull(call, signal);
      },
      ...(listen && { listen }),
      ...(checkpoint && { checkpoint }),
      ...(chunk && { chunk }),
    };
  }

  /** The world is over. */
  end(): void {
    this.#ended = true;
    this.process.die();
  }

  /** Runs an app's action; what fails in an expected way is the app's to shrug at. @returns undefined if it came to nothing */
  async act<T>(run: (db: LocalDB, sync: SyncCoordinator) => Promise<T>): Promise<T | undefined> {
    if (!this.db || !this.sync) return undefined;
    try {
      return await run(this.db, this.sync);
    } catch (error) {
      if (!isLakeSyncError(error)) throw error;
      this.#deps.note(this.name, `cannot: ${error.code}: ${error.message.slice(0, 100)}`);
      return undefined;
    }
  }
}

/**
 * A device: a database that outlives its apps, with a clock that may be wrong, a token that expires, and a link that breaks.
 * It runs one app, or a browser with several tabs; they die and start again at any moment.
 */
import { isLakeSyncError, type LocalDB, type SchemaSpec, type SyncCoordinator } from "../../client/index.ts";
import type { Random } from "../kernel/random.ts";
import { App } from "./app.ts";
import { type Disk, Disk as Disks } from "./disk.ts";
import type { Gateway } from "./gateway.ts";
import { Link } from "./link.ts";
import type { Network } from "./network.ts";
import { Origin } from "./origin.ts";

export interface DeviceSpec {
  readonly name: string;
  readonly user: string;
  readonly transport: "http" | "socket";
  /** How far its clock is ahead at first. Milliseconds. */
  readonly skewMs: number;
  readonly batchDeltas: number;
  readonly pageBytes: number;
  /** A browser with so many tabs at first; left out, a program of its own. */
  readonly tabs?: number;
  /** What a browser keeps it in. A file of the origin-private file system is one worker's, whoever thinks that it leads. */
  readonly kept?: "opfs" | "idb";
  /** It asks for rows that have left hot windows. */
  readonly older?: boolean;
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
  /** It has a new token. */
  renewed(device: Device): void;
  /** It is about to begin with nothing, as far as its cursor goes. */
  startsOver(device: Device): void;
  /** A round ended well. */
  synced(device: Device): Promise<void>;
  /** Something was applied or acknowledged. */
  progressed(device: Device): Promise<void>;
  /** It holds something else than the gateway, by its digest. */
  diverged(device: Device, tables: readonly string[]): void;
  schema(): SchemaSpec;
  fail(what: string): void;
}

const RESTART_MS = 3000;
const TABS_MAX = 4;

export class Device {
  readonly spec: DeviceSpec;
  readonly link: Link;
  readonly disk: Disk;
  skewMs: number;
  token = "";
  /** Client ids that this device ever had. */
  readonly clientIds = new Set<string>();
  /** Those that live; of several, one leads. */
  readonly apps: App[] = [];
  readonly deps: DeviceDeps;
  /** Where its tabs meet. */
  readonly origin: Origin | undefined;
  #births = 0;
  #ended = false;

  private constructor(spec: DeviceSpec, disk: Disk, deps: DeviceDeps) {
    this.spec = spec;
    this.disk = disk;
    this.skewMs = spec.skewMs;
    this.deps = deps;
    this.link = new Link(deps.network, deps.gateway);
    this.origin = spec.tabs ? new Origin(deps.network, disk, { now: () => this.now() }) : undefined;
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

  now(): number {
    return this.deps.network.scheduler.now + this.skewMs;
  }

  async start(): Promise<void> {
    for (let tabs = this.spec.tabs ?? 1; tabs > 1; tabs--) void this.open();
    await this.open();
  }

  /** Starts an app, or starts it again. */
  async open(): Promise<void> {
    if (this.#ended || this.apps.length >= (this.origin ? TABS_MAX : 1)) return;
    const app = new App(this, ++this.#births);
    this.apps.push(app);
    const { network, note } = this.deps;
    app.process.onDeath(() => {
      note(app.name, "dies");
      this.apps.splice(this.apps.indexOf(app), 1);
      if (!app.leaving) network.scheduler.after(RESTART_MS * network.random.next(), () => void this.open());
    });
    await app.start();
  }

  /** All of it dies. */
  die(): void {
    for (const { process } of [...this.apps]) process.die();
  }

  /** The world is over. */
  end(): void {
    this.#ended = true;
    this.die();
  }

  /** @param tab any number */
  app(tab = 0): App | undefined {
    return this.apps[tab % Math.max(1, this.apps.length)];
  }

  /** Runs an app's action; what fails in an expected way is the app's to shrug at. @returns undefined if it came to nothing */
  async act<T>(run: (db: LocalDB, sync: SyncCoordinator) => Promise<T>, app = this.app()): Promise<T | undefined> {
    const { db, sync, name } = app ?? {};
    return db && sync && this.shrugging(name, () => run(db, sync));
  }

  async shrugging<T>(who = this.name, run: () => Promise<T>): Promise<T | undefined> {
    try {
      return await run();
    } catch (error) {
      if (!isLakeSyncError(error)) throw error;
      this.deps.note(who, `cannot: ${error.code}: ${error.message.slice(0, 100)}`);
      return undefined;
    }
  }
}

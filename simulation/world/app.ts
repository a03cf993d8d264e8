/**
 * An app with the real SDK in it: the only one of its device, over SQLite in its own process, or a page in one of several
 * tabs, over a worker.
 */
import {
  HttpTransport,
  LocalDB,
  type Page,
  type Platform,
  type Row,
  SyncCoordinator,
  type SyncStatus,
  type Transport,
  WebSocketTransport,
} from "../../client/index.ts";
import { openWorkerDriver } from "../../client/testing.ts";
import { Process } from "../kernel/process.ts";
import { cancel, type Event } from "../kernel/scheduler.ts";
import type { Device } from "./device.ts";
import { GATEWAY } from "./gateway.ts";
import type { Origin } from "./origin.ts";

const OPEN = 1;
/** A tab that leads no longer hears of it, and hangs up, within this. Milliseconds. */
const HANDOVER_MS = 2000;

/** What a tab says when it is asked. */
interface Answer {
  readonly rows: ReadonlyMap<string, readonly Row[]>;
  readonly status: SyncStatus;
}

export class App {
  readonly device: Device;
  readonly name: string;
  readonly process: Process;
  db: LocalDB | undefined;
  sync: SyncCoordinator | undefined;
  /** Nobody starts it again. */
  leaving = false;
  /** What its live queries show, by table. Tabs only. */
  readonly shown = new Map<string, readonly Row[]>();
  answer: Answer | undefined;
  #socket: ReturnType<Platform["openSocket"]> | undefined;
  #connectedMs = 0;

  constructor(device: Device, birth: number) {
    this.device = device;
    this.name = device.origin ? `${device.name}.tab${birth}` : device.name;
    this.process = new Process(`${device.name}#${birth}`);
  }

  #platform(): Platform {
    const { device, process } = this;
    const { network, random } = device.deps;
    const { origin } = device;
    return {
      clock: { now: () => device.now() },
      random: random.next,
      timers: {
        set: (run, ms) => network.scheduler.after(ms, run, process),
        clear: (event) => event !== undefined && cancel(event as Event),
      },
      fetch: (url, init) => device.link.fetch(process, url, init),
      openSocket: (url, protocols) => {
        this.#socket = device.link.openSocket(process, url, protocols);
        this.#connectedMs = network.scheduler.now;
        network.scheduler.after(HANDOVER_MS, () => this.#isAlone(), process);
        return this.#socket;
      },
      openDriver: (options) =>
        origin ? openWorkerDriver(options, () => origin.startWorker(process)) : device.disk.open(process, network),
      ...(origin && { tabs: tabsOf(origin, process) }),
    };
  }

  /** [C3] One connection per device. */
  #isAlone(): void {
    const { device } = this;
    const connected = device.apps.filter((app) => app.#socket?.readyState === OPEN);
    const newest = Math.max(...connected.map((app) => app.#connectedMs));
    if (connected.length > 1 && newest + HANDOVER_MS <= device.deps.network.scheduler.now)
      device.deps.fail(`[C3] ${connected.map(({ name }) => name).join(" and ")} are connected`);
  }

  async start(): Promise<void> {
    const { device, process } = this;
    const { deps, spec } = device;
    const platform = this.#platform();
    const backend = spec.kept ?? "file";
    const options = { name: device.name, backend, schema: deps.schema(), platform } as const;
    const db = await device.shrugging(this.name, () => LocalDB.open(options));
    if (!db) process.die(); // its user tries again
    if (!db || !process.alive) return;
    const sync = new SyncCoordinator(db, this.#transport(platform), {
      batchDeltas: spec.batchDeltas,
      pageBytes: spec.pageBytes,
      verifyMs: 0,
      older: spec.older ?? false,
    });
    this.db = db;
    this.sync = sync;
    device.clientIds.add(db.clientId);
    deps.note(this.name, `starts as ${db.clientId}`);
    sync.on("error", (error) => deps.note(this.name, `${error.code}: ${error.message.slice(0, 100)}`));
    sync.on("diverged", ({ tables }) => deps.diverged(device, tables));
    sync.on("progress", () => void deps.progressed(device));
    sync.on("synced", () => void deps.synced(device));
    sync.startAutoSync();
    if (device.origin) this.#show(db);
  }

  #show(db: LocalDB): void {
    const { deps } = this.device;
    for (const table of Object.keys(deps.schema()))
      db.live(queryOf(table), [], (rows) => void this.shown.set(table, rows), {
        onError: (error) => deps.note(this.name, `its query of ${table} fails: ${String(error).slice(0, 100)}`),
      });
  }

  /** Asks it what it holds, over its own road; the answer comes when it comes. */
  ask(): void {
    this.answer = undefined;
    const { db, sync } = this;
    const answer = async () => {
      if (!db || !sync) return;
      const rows = new Map<string, readonly Row[]>();
      for (const table of Object.keys(this.device.deps.schema())) rows.set(table, await db.query(queryOf(table)));
      this.answer = { rows, status: await sync.status() };
    };
    answer().catch((error) => this.device.deps.note(this.name, `does not say: ${String(error).slice(0, 100)}`));
  }

  /** The user closes it, and it has time to clean up. */
  async close(): Promise<void> {
    this.leaving = true;
    this.sync?.stopAutoSync();
    await this.device.act((db) => db.close(), this);
    this.process.die();
  }

  /** It goes without a word. */
  vanish(): void {
    this.leaving = true;
    this.process.die();
  }

  #transport(platform: Platform): Transport {
    const { device } = this;
    const { deps, spec } = device;
    const token = ({ stale }: { stale: boolean }) => {
      if (stale || device.token === "") {
        device.token = deps.tokenFor(spec.user);
        deps.renewed(device);
      }
      return device.token;
    };
    const options = { baseUrl: "http://gateway", gatewayId: GATEWAY, token, gzip: false, platform };
    const real: Transport = spec.transport === "http" ? new HttpTransport(options) : new WebSocketTransport(options);
    const asks = (signal: AbortSignal | undefined) => {
      // Whose worker broke down a moment ago may ask once more, as long as nobody else leads.
      const leader = this.db?.leads ? this : device.apps.find(({ db }) => db?.leads);
      if (leader && leader !== this && !signal?.aborted)
        deps.fail(`[C3] ${this.name} asks the gateway, and ${leader.name} leads`);
      deps.asks(device);
    };
    const listen: Transport["listen"] =
      real.listen &&
      ((events) => {
        const page = (came: Page) => {
          deps.network.tally.add("pages unasked");
          events.page?.(came);
        };
        return real.listen?.({ ...events, page }) ?? (() => undefined);
      });
    return {
      push: (call, signal) => {
        asks(signal);
        device.clientIds.add(call.clientId);
        return real.push(call, signal);
      },
      pull: (call, signal) => {
        asks(signal);
        if (call.cursor === "") deps.startsOver(device);
        return real.pull(call, signal);
      },
      ...(listen && { listen }),
      checkpoint: (...asked) => {
        deps.startsOver(device);
        return real.checkpoint(...asked);
      },
      chunk: real.chunk.bind(real),
    };
  }
}

const queryOf = (table: string): string => `SELECT * FROM ${table}`;

function tabsOf(origin: Origin, process: Process): NonNullable<Platform["tabs"]> {
  const locks = origin.locks(process);
  return {
    exclusively: <T>(name: string, body: () => Promise<T>) => locks.request(name, {}, body) as Promise<T>,
    join: (name, onMessage) => {
      const channel = origin.channel(process, name);
      channel.addEventListener("message", ({ data }) => onMessage(data));
      return { post: (message) => channel.postMessage(message), leave: () => channel.close() };
    },
  };
}

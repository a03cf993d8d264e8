/**
 * A gateway in one process: the edge Worker's own bundle in workerd, with Durable Objects, Queues and R2 emulated by
 * Miniflare and kept on disk. What runs here is what runs on Cloudflare.
 */
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { SignJWT } from "jose";
import { convertV4MiniflareOptions, Miniflare, type Request, Response, type V4WorkerOptions } from "miniflare";
import { unstable_getMiniflareWorkerOptions } from "wrangler";
import { AdapterHost, type RemoteMessage } from "../adapters/index.ts";
import type { DatabaseAdapter } from "../core/index.ts";
import { type LakeSyncConfig, LakeSyncError, parseGatewayConfig } from "../schemas/index.ts";
import { workerBundle } from "./bundle.ts";
import { EditListener } from "./edit-listener.ts";

export interface GatewayServerOptions {
  /** Of HTTP; 0 for any free one. */
  readonly port: number;
  /** Address to listen on; loopback by default. */
  readonly host?: string;
  readonly gatewayId: string;
  /** Secret of HS256 tokens, at least 32 bytes. */
  readonly jwtSecret: string;
  /** "sqlite" keeps everything in `directory`; "memory" forgets at stop. */
  readonly persistence: "sqlite" | "memory";
  /** Where data is kept; `.lakesync` by default. */
  readonly directory?: string;
  /** Directory of static files to serve beside the API, such as a built app; none by default. */
  readonly assets?: string;
  /** How often Cron comes by; every five minutes by default, as in wrangler.toml. Milliseconds. */
  readonly cronMs?: number;
  /**
   * How often databases are asked what others edited in them (`admin/feeds`). By default every two seconds, and every minute while all of
   * them tell it by themselves (docs/backends.md). Milliseconds.
   */
  readonly feedMs?: number;
  /** Entry of a Worker of your own that embeds `lakesync/gateway`; the edge Worker by default. */
  readonly entry?: string;
  /**
   * Databases that tables may name as their backend: `{ WAREHOUSE: "postgres://user:password@host/database" }`. The Worker
   * sees them as Hyperdrive bindings.
   */
  readonly backends?: Readonly<Record<string, string>>;
  /**
   * Backends made of these and of others, and which tables go there (docs/backends.md), instead of `lakesync.config.ts`. Variables
   * that it names are taken from `vars`, or else from this process's environment.
   */
  readonly config?: LakeSyncConfig;
  /**
   * Where all tables go that name no backend: an adapter object, of any kind. It works in this process, and is yours to close. With a
   * `config`, only what that sends to a backend of `{ type: "adapter" }`. It is this gateway's alone.
   */
  readonly adapter?: DatabaseAdapter;
  /** Further variables of the Worker (durable-objects/env.ts). */
  readonly vars?: Readonly<Record<string, string>>;
}

const CRON_MS = 5 * 60_000;
const FEED_MS = 2_000;
/** Where edits are heard of at once, for what was not. */
const WATCH_MS = 60_000;
/** As wrangler.toml has it: what others edited in databases. */
const FEED_CRON = "* * * * *";
const WRANGLER_TOML = join(import.meta.dirname, "..", "wrangler.toml");

/** What a Worker would have as its R2 binding. */
export type LakeBucket = import("@cloudflare/workers-types").R2Bucket;

export class GatewayServer {
  readonly #options: GatewayServerOptions;
  #miniflare: Miniflare | undefined;
  #url: URL | undefined;
  #timers: NodeJS.Timeout[] = [];
  #listeners: EditListener[] = [];

  /** @throws `Misconfigured`, with the key and the remedy, when `config` or `adapter` is wrong */
  constructor(options: GatewayServerOptions) {
    const { adapter, config = adapter && ALL_TO_ADAPTER } = options;
    if (adapter) checkAdapter(adapter);
    if (config) parseGatewayConfig(config);
    this.#options = { ...options, ...(config && { config }) };
  }

  /** Starts workerd and resolves when the gateway answers. @returns its address */
  async start(): Promise<URL> {
    const {
      port,
      host = "127.0.0.1",
      jwtSecret,
      persistence,
      directory = ".lakesync",
      assets,
      vars,
      entry,
      backends,
      config,
      adapter,
    } = this.#options;
    const { modules, root } = await workerBundle(entry);
    const { workerOptions } = unstable_getMiniflareWorkerOptions(
      WRANGLER_TOML,
      undefined,
      assets === undefined ? {} : { overrides: { assets: { directory: resolve(assets) } } },
    );
    const persist = persistence === "sqlite" ? resolve(directory) : undefined;
    if (persist) await mkdir(persist, { recursive: true });
    // wrangler's type of the same options differs from Miniflare's in what may be undefined.
    const { assets: site, ...worker } = workerOptions as unknown as V4WorkerOptions;
    const bindings = {
      ...worker.bindings,
      ...{ JWT_SECRET: jwtSecret, POSTGRES_COPY: "on" },
      ...(config && { LAKESYNC_CONFIG: JSON.stringify(config), ...secretsOf(config) }),
      ...vars,
    };
    const options = convertV4MiniflareOptions({
      workers: [
        {
          ...worker,
          name: "lakesync",
          modules: [...modules],
          modulesRoot: root,
          bindings,
          ...(backends && { hyperdrives: { ...backends } }),
          ...(adapter && { serviceBindings: { ADAPTER: this.#hosting(adapter) } }),
          ...(assets !== undefined && site && { assets: site }),
        },
      ],
      host,
      port,
      ...(persist && { resourcePersistencePath: persist }),
    });
    this.#miniflare = new Miniflare(options);
    this.#url = await this.#miniflare.ready;
    const { cronMs = CRON_MS, feedMs } = this.#options;
    this.#listeners = postgresOf(this.#options).map(([connectionString, name]) => {
      const trouble = ({ code, message }: LakeSyncError) =>
        say("warn", { event: "feed", backend: name, code, message });
      return new EditListener({ name, connectionString, take: (schema) => this.#takeIn(schema), trouble });
    });
    for (const listener of this.#listeners) listener.start();
    let askedMs = 0;
    // A Worker of one's own may know databases that are not known here.
    const watched = feedMs === undefined && entry === undefined && this.#listeners.length > 0;
    const due = () => {
      const rests = watched && this.#listeners.every(({ live }) => live);
      if (rests && Date.now() - askedMs < WATCH_MS) return false;
      askedMs = Date.now();
      return true;
    };
    this.#timers = [this.#every(cronMs, "*/5 * * * *"), this.#every(feedMs ?? FEED_MS, FEED_CRON, due)];
    return this.#url;
  }

  /** What others edited, of one gateway or of all. */
  async #takeIn(gatewayId: string | undefined): Promise<void> {
    if (gatewayId === undefined) return this.#comeBy(FEED_CRON);
    const message = { id: crypto.randomUUID(), timestamp: new Date(), attempts: 1, body: { gatewayId, feeds: true } };
    await this.#tell((worker) => worker.queue("lakesync-flush", [message]));
  }

  /** What the Worker's flushes call, in this process. */
  #hosting(adapter: DatabaseAdapter) {
    const host = new AdapterHost({ adapter, gatewayId: this.#options.gatewayId });
    return async (request: Request) => Response.json(await host.answer((await request.json()) as RemoteMessage));
  }

  /** @param cron as wrangler.toml has it; one visit waits for the one before */
  #every(ms: number, cron: string, due = () => true): NodeJS.Timeout {
    let there = false;
    const visit = async () => {
      if (there || !due()) return;
      there = true;
      await this.#comeBy(cron);
      there = false;
    };
    return setInterval(visit, ms).unref();
  }

  /** Miniflare's Cron fires only when told to. */
  #comeBy(cron: string): Promise<void> {
    return this.#tell((worker) => worker.scheduled({ cron }));
  }

  /** What fails now is tried the next time. */
  async #tell(what: (worker: Awaited<ReturnType<Miniflare["getWorker"]>>) => Promise<unknown>): Promise<void> {
    try {
      if (this.#miniflare) await what(await this.#miniflare.getWorker("lakesync"));
    } catch (error) {
      say("error", { event: "cron", error: String(error) });
    }
  }

  get url(): URL {
    if (!this.#url) throw new Error("The gateway server is not started; await start() first.");
    return this.#url;
  }

  /** A token for this gateway. @param claims at least `sub`; `role: "admin"` for an operator */
  async token(claims: Readonly<Record<string, unknown>>, expires = "1d"): Promise<string> {
    const key = new TextEncoder().encode(this.#options.jwtSecret);
    return new SignJWT({ gw: this.#options.gatewayId, ...claims })
      .setProtectedHeader({ alg: "HS256" })
      .setExpirationTime(expires)
      .sign(key);
  }

  /** Objects of the lake, for tools beside the gateway. */
  async lake(): Promise<LakeBucket> {
    if (!this.#miniflare) throw new Error("The gateway server is not started; await start() first.");
    return (await this.#miniflare.getR2Bucket("LAKE")) as unknown as LakeBucket;
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all(this.#listeners.map((listener) => listener.stop()));
    this.#listeners = [];
    await this.#miniflare?.dispose();
    this.#miniflare = undefined;
  }
}

const ALL_TO_ADAPTER: LakeSyncConfig = { backends: { adapter: { type: "adapter" } }, default: "adapter" };

const METHODS = ["ensureSchema", "insertDeltas", "queryDeltasSince", "getLatestState", "progress", "close"] as const;

/** What has no types may hand anything over. */
function checkAdapter(adapter: Partial<DatabaseAdapter>): void {
  const lacks = METHODS.filter((name) => typeof adapter[name] !== "function");
  if (lacks.length > 0)
    throw new LakeSyncError(
      "Misconfigured",
      `adapter is no DatabaseAdapter, since it has no ${lacks.join(", ")}; make one of lakesync/adapter, or one that has them.`,
      { key: "adapter" },
    );
}

const say = (level: "warn" | "error", told: object): void => console[level](JSON.stringify({ level, ...told }));

/** Addresses of the Postgres databases that the Worker flushes into, once each, with a backend's name. */
function postgresOf({ backends = {}, config, vars }: GatewayServerOptions): [url: string, name: string][] {
  const secrets = config ? { ...secretsOf(config), ...vars } : {};
  const named = Object.entries(config?.backends ?? {}).flatMap(([name, backend]) =>
    backend.type === "postgres" && backend.env !== undefined ? [[name, secrets[backend.env] ?? ""] as const] : [],
  );
  const all = [...Object.entries(backends), ...named].filter(([, url]) => /^postgres(ql)?:/.test(url));
  return [...new Map(all.map(([name, url]) => [url, name]))];
}

/** Variables that backends name, as far as this process has them. */
function secretsOf({ backends }: LakeSyncConfig): Record<string, string> {
  const names = Object.values(backends).flatMap((backend) => ("env" in backend && backend.env ? [backend.env] : []));
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}

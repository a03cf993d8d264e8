/** Everything that a test with real faults runs, and takes down: a gateway, roads, devices, readers, a disk. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { SignJWT } from "jose";
import { build } from "vite";
import { unpackChromium } from "../../scripts/testing/chromium.ts";
import { RULES } from "../plan.ts";
import { BrowserDevice, type Device, type DeviceEvents, NodeDevice } from "./devices.ts";
import { SmallDisk } from "./disk.ts";
import type { GatewayJob } from "./gateway.ts";
import { type Address, administer, forbiddenTo, Reader } from "./outside.ts";
import { Child } from "./process.ts";
import { Road } from "./road.ts";
import { COLUMNS, TABLES, USERS } from "./workload.ts";

export const TEAMS: Readonly<Record<string, readonly string[]>> = { alice: ["red"], bob: ["red", "blue"], carol: [] };
export const RULES_IN_FORCE = RULES.team;
const GATEWAY = "demo";
const TYPES: Readonly<Record<string, string>> = {
  ".js": "text/javascript",
  ".html": "text/html",
  ".wasm": "application/wasm",
};

export interface StageOptions {
  readonly clients: number;
  readonly browsers: number;
  readonly tabs: number;
  readonly pauseMs: number;
}

/** A port that nobody has. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class Stage {
  readonly disk = new SmallDisk();
  readonly devices: Device[] = [];
  readonly readers: Reader[] = [];
  readonly address: Address;
  readonly #jwtSecret = randomBytes(32).toString("hex");
  readonly #events: DeviceEvents;
  readonly #port: number;
  #site: Server | undefined;
  #gateway: Child | undefined;
  #bucket: number | undefined;

  private constructor(port: number, events: DeviceEvents) {
    this.#port = port;
    this.#events = events;
    this.address = {
      url: `http://127.0.0.1:${port}`,
      gatewayId: GATEWAY,
      bucket: () => this.#bucket,
      token: (claims) =>
        new SignJWT({ gw: GATEWAY, ...claims })
          .setProtectedHeader({ alg: "HS256" })
          .setExpirationTime("10m")
          .sign(new TextEncoder().encode(this.#jwtSecret)),
    };
  }

  static async open(options: StageOptions, events: DeviceEvents): Promise<Stage> {
    const stage = new Stage(await freePort(), events);
    if (options.browsers > 0) await stage.#openSite();
    await stage.startGateway(0);
    await stage.#setUp();
    await stage.#openDevices(options);
    for (const user of USERS) await stage.#openReader({ sub: user, teams: TEAMS[user] });
    return stage;
  }

  async #openSite(): Promise<void> {
    unpackChromium();
    const root = join(import.meta.dirname, "page");
    const outDir = join(this.disk.path, "site");
    await build({
      configFile: false,
      root,
      logLevel: "error",
      worker: { format: "es" },
      build: { target: "es2022", outDir, emptyOutDir: true },
    });
    this.#site = createServer(async (request, response) => {
      const path = new URL(request.url ?? "/", "http://site").pathname;
      const file = join(outDir, path === "/" ? "index.html" : path);
      const body = await readFile(file).catch(() => undefined);
      if (body) response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "text/plain" }).end(body);
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => this.#site?.listen(0, "127.0.0.1", resolve));
  }

  get #siteOrigin(): string {
    return this.#site ? `http://127.0.0.1:${(this.#site.address() as AddressInfo).port}` : "";
  }

  /** @param faults how often R2 and the queues fail, from 0 to 1 */
  async startGateway(faults: number): Promise<void> {
    const job: GatewayJob = {
      port: this.#port,
      gatewayId: GATEWAY,
      jwtSecret: this.#jwtSecret,
      directory: join(this.disk.path, "gateway"),
      vars: {
        LOG_LEVEL: "error",
        FLUSH_AGE_MS: "3000",
        CORS_ORIGINS: this.#siteOrigin,
        FAULTS: String(faults),
      },
    };
    for (let tries = 0; ; tries++) {
      const child = await new Promise<Child | undefined>((resolve) => {
        const born: Child = new Child(join(import.meta.dirname, "gateway.ts"), job, (line) => {
          this.#bucket = Number(line.bucket);
          resolve(born);
        });
        void born.gone.then(() => resolve(undefined));
      });
      this.#gateway = child;
      if (child) return;
      if (tries > 20) throw new Error("The gateway does not start; LAKESYNC_FAULTS_LOUD=1 shows why.");
      await new Promise((resolve) => setTimeout(resolve, 1000)); // a full disk, maybe
    }
  }

  async killGateway(): Promise<void> {
    await this.#gateway?.kill();
  }

  async #setUp(): Promise<void> {
    const columns = Object.entries(COLUMNS).map(([name, type]) => ({ name, type, nullable: true }));
    for (const table of TABLES) await this.putTable(table, table === "todos" ? 2 : 0, columns);
    await administer(this.address, "PUT", "sync-rules", RULES_IN_FORCE);
  }

  async putTable(
    table: string,
    shards: number,
    columns = Object.entries(COLUMNS).map(([name, type]) => ({ name, type, nullable: true })),
  ): Promise<void> {
    await administer(this.address, "PUT", `tables/${table}`, { columns, shards });
  }

  async #openDevices({ clients, browsers, tabs, pauseMs }: StageOptions): Promise<void> {
    const job = (name: string, at: number, road: Road) => ({
      name,
      life: "",
      user: USERS[at % USERS.length] as string,
      url: `http://127.0.0.1:${road.port}`,
      gatewayId: GATEWAY,
      transport: at % 3 === 0 ? ("http" as const) : ("socket" as const),
      pauseMs,
      batchDeltas: [100, 300, 1000][at % 3] as number,
      jwtSecret: this.#jwtSecret,
      teams: TEAMS[USERS[at % USERS.length] as string] ?? [],
      tokenSeconds: 45,
    });
    for (let at = 0; at < clients + browsers; at++) {
      const road = await Road.start(this.#port);
      const name = at < clients ? `device${at}` : `browser${at - clients}`;
      const path = join(this.disk.path, `${name}.sqlite`);
      this.devices.push(
        at < clients
          ? new NodeDevice({ ...job(name, at, road), path }, road, this.#events)
          : new BrowserDevice(
              job(name, at, road),
              road,
              this.#events,
              this.#siteOrigin,
              join(this.disk.path, name),
              tabs,
            ),
      );
    }
    for (const device of this.devices) await device.start();
  }

  async #openReader(claims: Readonly<Record<string, unknown>>): Promise<void> {
    const forbidden = forbiddenTo(RULES_IN_FORCE, claims);
    this.readers.push(await Reader.open(this.address, claims, forbidden, (what) => this.#events.failed(what)));
  }

  async close(): Promise<void> {
    for (const reader of this.readers) await reader.close();
    for (const device of this.devices) {
      await device.kill();
      device.road.stop();
    }
    await this.killGateway();
    this.#site?.close();
    this.disk.remove();
  }
}

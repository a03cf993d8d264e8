/** Devices as their driver sees them: a process of Node, and a browser whose tabs share one database. */
import { type ChildProcess, spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { SignJWT } from "jose";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { chromiumLaunchOptions } from "../../scripts/testing/chromium.ts";
import type { Written } from "../edits.ts";
import type { ClientJob } from "./client.ts";
import { Child, inTime } from "./process.ts";
import type { Road } from "./road.ts";
import type { State, Table, WorkloadJob } from "./workload.ts";

export interface DeviceEvents {
  note(who: string, what: string): void;
  failed(what: string): void;
}

export abstract class Device {
  readonly job: ClientJob;
  readonly road: Road;
  readonly clientIds = new Set<string>();
  readonly written: Written[] = [];
  protected readonly events: DeviceEvents;
  #births = 0;

  constructor(job: ClientJob, road: Road, events: DeviceEvents) {
    this.job = job;
    this.road = road;
    this.events = events;
  }

  get name(): string {
    return this.job.name;
  }

  protected nextLife(): string {
    return `${this.name}.${++this.#births}`;
  }

  protected heard(line: { readonly committed?: readonly Written[]; readonly failed?: string }): void {
    if (line.committed) this.written.push(...line.committed);
    if (line.failed !== undefined) this.events.failed(`${this.name}: ${line.failed}`);
  }

  async state(): Promise<State> {
    const state = (await this.ask("state")) as State;
    this.clientIds.add(state.clientId);
    return state;
  }

  look(sql: string): Promise<Table> {
    return this.ask("look", sql) as Promise<Table>;
  }

  abstract ask(call: string, argument?: unknown): Promise<unknown>;
  /** Starts what is not running. */
  abstract start(): Promise<void>;
  abstract kill(): Promise<void>;
}

export class NodeDevice extends Device {
  #child: Child | undefined;
  skewMs = 0;

  async start(): Promise<void> {
    if (this.#child?.alive) return;
    const job = { ...this.job, life: this.nextLife() };
    let started: () => void;
    const ready = new Promise<void>((resolve) => {
      started = resolve;
    });
    const child = new Child(join(import.meta.dirname, "client.ts"), job, (line) => {
      if (line.started) started();
      else this.heard(line);
    });
    this.#child = child;
    await Promise.race([ready, child.gone]);
    if (child.alive) await child.ask("skew", this.skewMs).catch(() => undefined);
  }

  ask(call: string, argument?: unknown): Promise<unknown> {
    return this.#child?.ask(call, argument) ?? Promise.reject(new Error("The device was never started."));
  }

  async kill(): Promise<void> {
    await this.#child?.kill();
  }

  /** Its clock steps. */
  async step(ms: number): Promise<void> {
    this.skewMs += ms;
    await this.ask("skew", this.skewMs).catch(() => undefined);
  }
}

export class BrowserDevice extends Device {
  readonly #site: string;
  readonly #profile: string;
  readonly #tabs: number;
  #process: ChildProcess | undefined;
  #browser: Browser | undefined;
  #pages: Page[] = [];

  /** @param site address of the page @param profile folder of the browser's own */
  constructor(job: ClientJob, road: Road, events: DeviceEvents, site: string, profile: string, tabs: number) {
    super(job, road, events);
    this.#site = site;
    this.#profile = profile;
    this.#tabs = tabs;
  }

  async start(): Promise<void> {
    const context = (await this.#context()) as BrowserContext;
    this.#pages = this.#pages.filter((page) => !page.isClosed());
    while (this.#pages.length < this.#tabs) this.#pages.push(await this.#tab(context));
  }

  async #context(): Promise<BrowserContext | undefined> {
    if (this.#browser?.isConnected()) return this.#browser.contexts()[0];
    const { executablePath, args, env } = chromiumLaunchOptions();
    await rm(join(this.#profile, "SingletonLock"), { force: true }); // of a browser that was killed
    const child = spawn(
      executablePath,
      [...args, "--remote-debugging-port=0", `--user-data-dir=${this.#profile}`, "about:blank"],
      { detached: true, stdio: ["ignore", "ignore", "pipe"], env },
    );
    this.#process = child;
    const opened = new Promise<string>((resolve, reject) => {
      child.on("close", () => reject(new Error("The browser ended at its start.")));
      if (child.stderr)
        createInterface({ input: child.stderr }).on("line", (line) => {
          const found = /DevTools listening on (\S+)/.exec(line)?.[1];
          if (found) resolve(found);
        });
    });
    const endpoint = await inTime("the browser's start", opened);
    this.#browser = await inTime("the browser", chromium.connectOverCDP(endpoint));
    const context = this.#browser.contexts()[0];
    await context?.exposeFunction("lakesyncToken", (user: string) => this.#token(user));
    await context?.exposeFunction("lakesyncReport", (line: Parameters<Device["heard"]>[0]) => this.heard(line));
    this.#pages = [];
    return context;
  }

  #token(sub: string): Promise<string> {
    const { gatewayId, teams, tokenSeconds, jwtSecret } = this.job;
    return new SignJWT({ gw: gatewayId, sub, teams: [...teams] })
      .setProtectedHeader({ alg: "HS256" })
      .setExpirationTime(Math.floor(Date.now() / 1000) + tokenSeconds)
      .sign(new TextEncoder().encode(jwtSecret));
  }

  async #tab(context: BrowserContext): Promise<Page> {
    const page = await context.newPage();
    page.on("crash", () => void page.close().catch(() => undefined));
    page.on("pageerror", (error) => this.events.failed(`${this.name}: ${error.stack ?? error}`));
    await page.goto(this.#site);
    const { jwtSecret: _, teams: __, tokenSeconds: ___, ...job } = this.job;
    const life: WorkloadJob = { ...job, life: this.nextLife() };
    const starting = page.evaluate(
      (own) => (globalThis as unknown as { lakesyncStart(job: unknown): Promise<void> }).lakesyncStart(own),
      life as never,
    );
    await inTime("a tab's start", starting);
    return page;
  }

  /** Of one tab; `work` of all. */
  async ask(call: string, argument?: unknown): Promise<unknown> {
    const pages = this.#pages.filter((page) => !page.isClosed());
    const asked = (call === "work" ? pages : pages.slice(0, 1)).map((page) =>
      page.evaluate(
        ([name, value]) =>
          (globalThis as unknown as { lakesyncDevice: Record<string, (value: unknown) => unknown> }).lakesyncDevice[
            name as string
          ]?.(value),
        [call, argument] as const,
      ),
    );
    if (asked.length === 0) throw new Error("No tab is open.");
    return (await inTime(call, Promise.all(asked)))[0];
  }

  /** kill -9 of a page's process: of one tab, or of all that share it. */
  async killPage(): Promise<void> {
    const session = await this.#browser?.newBrowserCDPSession();
    if (!session) return;
    const { processInfo } = await inTime("processes", session.send("SystemInfo.getProcessInfo"));
    const renderers = processInfo.filter(({ type }) => type === "renderer");
    const victim = renderers[Math.floor(Math.random() * renderers.length)];
    if (victim) process.kill(victim.id, "SIGKILL");
    await inTime("detaching", session.detach());
  }

  /** kill -9 of the browser. */
  async kill(): Promise<void> {
    const pid = this.#process?.pid;
    if (pid === undefined || this.#process?.exitCode !== null || this.#process.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#process?.on("close", resolve));
    process.kill(-pid, "SIGKILL");
    await gone;
    await inTime("closing", this.#browser?.close() ?? Promise.resolve(), 5000).catch(() => undefined);
    this.#browser = undefined;
    this.#pages = [];
  }
}

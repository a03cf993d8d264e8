/**
 * A gateway that serves one page, and real browsers with a profile on disk that visit it. The page has the SDK as
 * `globalThis.lakesync`; what a test runs in it are functions of its own, sent as text.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { type Client, createClient, type SchemaSpec } from "../../client/index.ts";
import { bundleClient } from "../../scripts/bundles.ts";
import { chromiumLaunchOptions, unpackChromium } from "../../scripts/testing/chromium.ts";
import { GatewayServer } from "../../server/index.ts";

export const GATEWAY_ID = "my-gateway";
const PAGE =
  '<!doctype html><title>field</title><script type="module">import * as sdk from "./lakesync.js"; globalThis.lakesync = sdk;</script>';

/** What the page's functions find. */
export interface PageGlobals {
  readonly lakesync: typeof import("../../client/index.ts");
}

export interface Browser {
  readonly context: BrowserContext;
  /** Ends the browser and its pages at once, as when a machine runs out of memory. */
  kill(): Promise<void>;
}

export class Field {
  readonly #scratch: string;
  readonly #browsers: BrowserContext[] = [];
  #server: GatewayServer;
  #profiles = 0;

  private constructor(scratch: string) {
    this.#scratch = scratch;
    this.#server = this.#serve(0);
  }

  #serve(port: number): GatewayServer {
    return new GatewayServer({
      port,
      gatewayId: GATEWAY_ID,
      jwtSecret: "a secret for tests only, 32 bytes and more",
      persistence: "sqlite",
      directory: join(this.#scratch, "gateway"),
      assets: join(this.#scratch, "page"),
      vars: { LOG_LEVEL: "error" },
    });
  }

  /** @param schema tables, which every user sees whole and writes */
  static async start(schema: SchemaSpec): Promise<Field> {
    unpackChromium();
    const scratch = await mkdtemp(join(tmpdir(), "lakesync-field-"));
    const assets = join(scratch, "page");
    await bundleClient(assets);
    await writeFile(join(assets, "index.html"), PAGE);
    const field = new Field(scratch);
    await field.#server.start();
    for (const [table, spec] of Object.entries(schema)) {
      const columns = Object.entries(spec).map(([name, { type }]) => ({ name, type }));
      await field.admin("PUT", `tables/${table}`, { columns });
    }
    await field.admin("PUT", "sync-rules", { buckets: [{ name: "all", tables: Object.keys(schema) }] });
    return field;
  }

  // biome-ignore lint/suspicious/noExplicitAny: answers of several routes
  async admin(method: string, path: string, body?: unknown): Promise<any> {
    const authorization = `Bearer ${await this.#server.token({ sub: "root", role: "admin" })}`;
    const response = await fetch(new URL(`/v1/${GATEWAY_ID}/admin/${path}`, this.#server.url), {
      method,
      headers: { authorization, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
    return response.json();
  }

  get origin(): string {
    return this.#server.url.origin;
  }

  /** From now on nothing answers. @returns brings the gateway back, at the same address */
  async cut(): Promise<() => Promise<void>> {
    const port = Number(this.#server.url.port);
    await this.#server.stop();
    return async () => {
      this.#server = this.#serve(port);
      await this.#server.start();
    };
  }

  token(): Promise<string> {
    return this.#server.token({ sub: "alice", role: "client" });
  }

  /** How many edits the gateway ever took. */
  async head(): Promise<number> {
    const { shards } = (await this.admin("GET", "status")) as { shards: { head: number }[] };
    return shards.reduce((sum, shard) => sum + shard.head, 0);
  }

  /** The shard's rows of a table by id, as a pull from zero gives them. */
  async rows(table: string): Promise<Map<string, Record<string, unknown>>> {
    const rows = new Map<string, Record<string, unknown>>();
    const headers = { authorization: `Bearer ${await this.token()}`, "content-type": "application/json" };
    for (let cursor = "", more = true; more; ) {
      const body = JSON.stringify({ cursor, tables: [table] });
      const response = await fetch(`${this.origin}/v1/${GATEWAY_ID}/pull`, { method: "POST", headers, body });
      const page = (await response.json()) as Pulled;
      for (const { rowId, deleted, columns = [] } of page.rows ?? []) {
        if (deleted) rows.delete(rowId);
        else rows.set(rowId, { ...rows.get(rowId), ...Object.fromEntries(columns.map((c) => [c.column, c.value])) });
      }
      cursor = page.cursor;
      more = page.hasMore ?? false;
    }
    return rows;
  }

  /** A device in this process. */
  async device<S extends Parameters<typeof createClient>[0]["schema"]>(schema: S): Promise<Client<S>> {
    const token = () => this.token();
    return createClient({ name: "device", backend: "memory", schema, url: this.origin, gatewayId: GATEWAY_ID, token });
  }

  /** A browser of its own. @param profile of an earlier one; left out, a new one */
  async browser(profile = join(this.#scratch, `profile-${this.#profiles++}`)): Promise<Browser & { profile: string }> {
    const context = await chromium.launchPersistentContext(profile, chromiumLaunchOptions());
    context.setDefaultTimeout(30_000);
    this.#browsers.push(context);
    const kill = async () => {
      const devtools = await context.browser()?.newBrowserCDPSession();
      const { processInfo } = (await devtools?.send("SystemInfo.getProcessInfo")) ?? { processInfo: [] };
      const closed = new Promise((resolve) => context.once("close", resolve));
      process.kill(processInfo.find(({ type }) => type === "browser")?.id as number, "SIGKILL");
      await closed;
    };
    return { context, kill, profile };
  }

  /** A page with the SDK loaded. */
  async page({ context }: Browser): Promise<Page> {
    const page = await context.newPage();
    await page.goto(this.origin);
    await page.waitForFunction("globalThis.lakesync");
    return page;
  }

  async stop(): Promise<void> {
    for (const context of this.#browsers) await context.close().catch(() => undefined);
    await this.#server.stop();
    await rm(this.#scratch, { recursive: true, force: true });
  }
}

interface Pulled {
  readonly rows?: readonly {
    readonly rowId: string;
    readonly deleted?: boolean;
    readonly columns?: readonly { readonly column: string; readonly value?: unknown }[];
  }[];
  readonly cursor: string;
  readonly hasMore?: boolean;
}

/** Runs a function in the page, with the SDK; it may use nothing else of the file that it is written in. */
export function inPage<Args extends readonly unknown[], T>(
  page: Page,
  run: (sdk: PageGlobals["lakesync"], ...args: Args) => Promise<T>,
  ...args: Args
): Promise<T> {
  return page.evaluate(`(${run})(globalThis.lakesync, ...${JSON.stringify(args)})`);
}

export async function until(what: () => boolean | Promise<boolean>, ms = 30_000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await what())) {
    if (performance.now() > end) throw new Error("It did not come about.");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What tests of the app need: a gateway that serves it and can be cut off, a browser, and what the shard holds. */
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { chromiumLaunchOptions, unpackChromium } from "../../scripts/testing/chromium.ts";
import { GatewayServer } from "../../server/index.ts";
import { GATEWAY_ID, prepareApp, setUpTodo } from "./setup.ts";

const SHOTS = join(import.meta.dirname, "../../test-results/todo");

export class Stage {
  readonly browser: Browser;
  readonly #scratch: string;
  readonly #serve: (port: number) => GatewayServer;
  #server: GatewayServer;

  private constructor(
    browser: Browser,
    scratch: string,
    serve: (port: number) => GatewayServer,
    server: GatewayServer,
  ) {
    this.browser = browser;
    this.#scratch = scratch;
    this.#serve = serve;
    this.#server = server;
  }

  static async start(): Promise<Stage> {
    const scratch = await mkdtemp(join(tmpdir(), "lakesync-todo-"));
    const jwtSecret = randomBytes(32).toString("hex");
    const assets = join(scratch, "app");
    const serve = (port: number) =>
      new GatewayServer({
        port,
        gatewayId: GATEWAY_ID,
        jwtSecret,
        persistence: "sqlite",
        directory: join(scratch, "gateway"),
        assets,
        vars: { LOG_LEVEL: "error" },
      });
    const server = serve(0);
    await prepareApp(server, assets);
    await server.start();
    await setUpTodo(server);
    unpackChromium();
    mkdirSync(SHOTS, { recursive: true });
    return new Stage(await chromium.launch(chromiumLaunchOptions()), scratch, serve, server);
  }

  get url(): URL {
    return this.#server.url;
  }

  /** A page in a profile of its own, as on a machine of its own. */
  async open(path: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await this.browser.newContext(options);
    context.setDefaultTimeout(30_000);
    const page = await context.newPage();
    await page.goto(new URL(path, this.url).href);
    return page;
  }

  /** From now on nothing answers. @returns brings the gateway back, at the same address */
  async cut(): Promise<() => Promise<void>> {
    const port = Number(this.url.port);
    await this.#server.stop();
    return async () => {
      this.#server = this.#serve(port);
      await this.#server.start();
    };
  }

  token(user: string): Promise<string> {
    return this.#server.token({ sub: user });
  }

  /** Rows of a table as the gateway gives them to a user, by id. */
  async rows(user: string, table: string): Promise<Map<string, Record<string, unknown>>> {
    const authorization = `Bearer ${await this.token(user)}`;
    const rows = new Map<string, Record<string, unknown>>();
    for (let cursor = "", more = true; more; ) {
      const response = await fetch(new URL(`/v1/${GATEWAY_ID}/pull`, this.url), {
        method: "POST",
        headers: { authorization, "content-type": "application/json" },
        body: JSON.stringify({ cursor, tables: [table] }),
      });
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

  async stop(): Promise<void> {
    await this.browser.close();
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

/** Writes what the page looks like to test-results/todo/, once its animations are over. */
export async function shoot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: join(SHOTS, `${name}.png`), animations: "disabled" });
}

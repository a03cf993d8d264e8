/** What tests of the app need: a gateway that serves it, and a browser. */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { chromiumLaunchOptions, unpackChromium } from "../../scripts/testing/chromium.ts";
import { GatewayServer } from "../../server/index.ts";
import { prepareApp, setUpTodo } from "./setup.ts";

export const GATEWAY_ID = "demo";
export const SHOTS = join(import.meta.dirname, "../../test-results/todo");

export interface Stage {
  readonly server: GatewayServer;
  readonly browser: Browser;
  /** A page of its own profile, as on a machine of its own. */
  open(path: string, options?: BrowserContextOptions): Promise<Page>;
  stop(): Promise<void>;
}

export async function startStage(): Promise<Stage> {
  const scratch = await mkdtemp(join(tmpdir(), "lakesync-todo-"));
  const assets = join(scratch, "app");
  const server = new GatewayServer({
    port: 0,
    gatewayId: GATEWAY_ID,
    jwtSecret: randomBytes(32).toString("hex"),
    persistence: "memory",
    assets,
    vars: { LOG_LEVEL: "error" },
  });
  await prepareApp(server, assets);
  await server.start();
  await setUpTodo(server, GATEWAY_ID);
  unpackChromium();
  const browser = await chromium.launch(chromiumLaunchOptions());
  await mkdir(SHOTS, { recursive: true });
  return {
    server,
    browser,
    open: async (path, options = {}) => {
      const context = await browser.newContext(options);
      const page = await context.newPage();
      await page.goto(new URL(path, server.url).href);
      return page;
    },
    stop: async () => {
      await browser.close();
      await server.stop();
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

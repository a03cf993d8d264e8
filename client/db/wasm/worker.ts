/** A tab's dedicated worker, in a browser: tab.ts on what the browser gives. */
import { browser, type Port } from "./browser.ts";
import { openDatabase } from "./open.ts";
import { runTab } from "./tab.ts";

runTab({
  page: globalThis as unknown as Port & { close(): void },
  session: crypto.randomUUID(),
  locks: browser.navigator.locks,
  channel: (name) => new browser.BroadcastChannel(name),
  openDatabase: (name, backend) => openDatabase(name, backend, { now: () => Date.now() }),
  now: () => performance.now(),
  rest: () => new Promise((resolve) => setTimeout(resolve)),
});

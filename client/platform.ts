/**
 * The one composition file of the client: everything that the outside world gives (time, chance, network, storage)
 * enters here and nowhere else, so that a simulation can run the very same SDK on seeded time and a seeded network.
 */
import type { Clock } from "../core/index.ts";
import type { Driver, DriverOptions } from "./db/driver.ts";
import * as node from "./db/node.ts"; // package.json keeps it out of what bundlers make for browsers
import { browser } from "./db/wasm/browser.ts";
import { openWorkerDriver } from "./db/wasm/remote.ts";

/** Timers as a pair of functions; handles are opaque. */
export interface Timers {
  /** Calls `run` once after `ms` milliseconds. */
  set(run: () => void, ms: number): unknown;
  clear(handle: unknown): void;
}

/** What the client needs of a WebSocket; browsers, Node and workerd all have it. */
export interface SocketLike {
  binaryType: string;
  readonly readyState: number;
  send(data: Uint8Array | string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "open" | "error", listener: () => void): void;
  addEventListener(type: "close", listener: (event: { readonly code?: number }) => void): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
}

/** How the tabs of one database talk to each other; where there are none, nothing is shared. */
export interface Tabs {
  /** Runs `body` while no other tab runs one under the same name. */
  exclusively<T>(name: string, body: () => Promise<T>): Promise<T>;
  /** Messages to the other tabs of this name. */
  join(name: string, onMessage: (message: unknown) => void): { post(message: unknown): void; leave(): void };
}

export interface Platform {
  readonly clock: Clock;
  /** Uniform in [0, 1), from a source fit for identifiers. */
  readonly random: () => number;
  readonly timers: Timers;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly openSocket: (url: string, protocols: string[]) => SocketLike;
  /** Opens the SQLite that this platform has; see `Backend`. */
  readonly openDriver: (options: DriverOptions) => Promise<Driver>;
  readonly tabs?: Tabs;
  /** Asks for storage that is not cleared when space runs short; absent where nothing is ever cleared. */
  readonly persist?: () => Promise<boolean>;
  /** Calls `run` when the network may be back; absent where nobody says so. @returns a function that ends it */
  readonly onOnline?: (run: () => void) => () => void;
}

const isNode = (): boolean => typeof process === "object" && typeof process.versions?.node === "string";

/** The platform that this code runs on: Node or a browser. */
export function defaultPlatform(): Platform {
  const inNode = isNode();
  return {
    clock: { now: () => Date.now() },
    random: () => {
      const words = crypto.getRandomValues(new Uint32Array(2));
      return ((words[0] as number) * 2 ** 21 + ((words[1] as number) >>> 11)) / 2 ** 53;
    },
    timers: {
      set: (run, ms) => setTimeout(run, ms),
      clear: (handle) => clearTimeout(handle as ReturnType<typeof setTimeout>),
    },
    fetch: (url, init) => fetch(url, init),
    openSocket: (url, protocols) => new WebSocket(url, protocols) as unknown as SocketLike,
    openDriver: inNode ? node.openNodeDriver : openWorkerDriver,
    ...(inNode ? {} : browserOnly()),
  };
}

function browserOnly(): Pick<Platform, "tabs" | "persist" | "onOnline"> {
  const { navigator } = browser;
  return {
    ...(navigator?.locks && { tabs: browserTabs(navigator.locks) }),
    persist: async () => (await navigator?.storage?.persist?.()) ?? false,
    ...("addEventListener" in globalThis && { onOnline }),
  };
}

function browserTabs(locks: NonNullable<typeof browser.navigator.locks>): Tabs {
  return {
    exclusively: <T>(name: string, body: () => Promise<T>) => locks.request(name, {}, body) as Promise<T>,
    join: (name, onMessage) => {
      const channel = new browser.BroadcastChannel(name);
      channel.addEventListener("message", (event) => onMessage(event.data));
      return { post: (message) => channel.postMessage(message), leave: () => channel.close() };
    },
  };
}

function onOnline(run: () => void): () => void {
  const page = globalThis as unknown as Record<
    "addEventListener" | "removeEventListener",
    (type: string, run: () => void) => void
  >;
  page.addEventListener("online", run);
  return () => page.removeEventListener("online", run);
}

const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";

/** A random name of lower-case letters and digits; 16 characters hold 82 bits. */
export function randomName(random: () => number, chars = 16): string {
  let name = "";
  while (name.length < chars) name += ALPHABET[Math.floor(random() * ALPHABET.length)];
  return name;
}

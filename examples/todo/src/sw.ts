/**
 * Keeps the app's files on the device, so that it starts without a network. Data are none of its business: they are in
 * SQLite, and requests to the gateway pass by.
 *
 *   install    every file of this version, into a cache of its own
 *   activate   once no tab uses the version before: its cache goes
 *   fetch      the app's own files from the cache; whatever else from the network
 */
declare const __SHELL_FILES__: readonly string[];
declare const __SHELL_VERSION__: string;

/** What is used of a service worker's global scope; its types and those of a page exclude each other. */
interface LifeEvent {
  waitUntil(promise: Promise<unknown>): void;
}
interface FetchEvent {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
interface Scope {
  readonly location: Location;
  readonly clients: { claim(): Promise<void> };
  addEventListener(type: "install" | "activate", listener: (event: LifeEvent) => void): void;
  addEventListener(type: "fetch", listener: (event: FetchEvent) => void): void;
}

const scope = self as unknown as Scope;
const PREFIX = "shoreline-";
const CACHE = `${PREFIX}${__SHELL_VERSION__}`;
const FILES = new Set<string>(__SHELL_FILES__);

scope.addEventListener("install", (event) => {
  // Past the HTTP cache, which may hold files of the version before under the same names.
  const requests = [...FILES].map((file) => new Request(file, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)));
});

scope.addEventListener("activate", (event) => {
  const clean = async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await scope.clients.claim();
  };
  event.waitUntil(clean());
});

scope.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== scope.location.origin || !FILES.has(url.pathname)) return;
  event.respondWith(answer(url.pathname, request));
});

async function answer(path: string, request: Request): Promise<Response> {
  const kept = await (await caches.open(CACHE)).match(path);
  return kept ?? fetch(request);
}

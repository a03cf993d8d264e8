/** Devices of the SDK over WebSockets, against the real hub in workerd: real time, data on disk. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Client, createClient, defineTable, text } from "../client/index.ts";
import { GatewayServer } from "./index.ts";

const schema = defineTable({ todos: { title: text() } });
type Device = Client<typeof schema>;

let directory: string;
let server: GatewayServer;
const devices: Device[] = [];

const gatewayOn = (port: number) =>
  new GatewayServer({
    port,
    gatewayId: "demo",
    jwtSecret: "a secret for tests only, 32 bytes and more",
    persistence: "sqlite",
    directory,
    vars: { LOG_LEVEL: "error" },
  });

async function administer(path: string, body: unknown): Promise<void> {
  const authorization = `Bearer ${await server.token({ sub: "root", role: "admin" })}`;
  const headers = { authorization, "content-type": "application/json" };
  const put = { method: "PUT", headers, body: JSON.stringify(body) };
  expect((await fetch(new URL(`/v1/demo/admin/${path}`, server.url), put)).status).toBe(200);
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "lakesync-sockets-"));
  server = gatewayOn(0);
  await server.start();
  await administer("tables/todos", { columns: [{ name: "title", type: "string" }] });
  await administer("sync-rules", { buckets: [{ name: "all", tables: ["todos"] }] });
});
afterEach(async () => {
  for (const device of devices.splice(0)) await device.close();
});
afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

const USER = { sub: "alice", role: "client" };
type Token = Parameters<typeof createClient<typeof schema>>[0]["token"];

/** A device that looks by itself only every ten minutes: what comes sooner was poked. */
async function device(token: Token = () => server.token(USER), url = server.url.origin): Promise<Device> {
  const sync = { pollMs: 600_000, livePollMs: 600_000, backoffFirstMs: 100, backoffMaxMs: 1000 };
  const opened = await createClient({ name: "d", backend: "memory", schema, url, gatewayId: "demo", token, sync });
  devices.push(opened);
  return opened;
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await what()); tries++) {
    if (tries > 1500) throw new Error("It did not come about.");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const isLive = async ({ sync }: Device): Promise<boolean> => (await sync.status()).live;
const pending = async ({ sync }: Device): Promise<number> => (await sync.status()).pending;

/** Titles of a device's rows, kept by a live query. */
function watch(device: Device): Set<string> {
  const titles = new Set<string>();
  device.db.live<{ title: string }>("SELECT title FROM todos", [], (rows) => {
    titles.clear();
    for (const { title } of rows) titles.add(title);
  });
  return titles;
}

test("[C5] a commit on one device fires the live query of another, over sockets, both ways", async () => {
  const [a, b] = [await device(), await device()];
  await until(async () => (await isLive(a)) && (await isLive(b)));
  const [seenByA, seenByB] = [watch(a), watch(b)];
  await a.todos.insert({ title: "from A" });
  await until(() => seenByB.has("from A"));
  await b.todos.insert({ title: "from B" });
  await until(() => seenByA.has("from B"));
  // The other's page may come before one's own acknowledgement.
  await until(async () => (await pending(a)) + (await pending(b)) === 0);
});

/** A proxy before the gateway that passes requests on, and no WebSockets. */
async function withoutSockets(): Promise<{ url: string; refused: () => number; stop: () => void }> {
  let refused = 0;
  const proxy = createServer((asked, answer) => {
    const { method, headers } = asked;
    const onward = request(String(new URL(asked.url ?? "/", server.url)), { method, headers }, (from) => {
      answer.writeHead(from.statusCode ?? 502, from.headers);
      from.pipe(answer);
    });
    asked.pipe(onward);
  });
  proxy.on("upgrade", (_, socket) => {
    refused++;
    socket.destroy();
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const { port } = proxy.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, refused: () => refused, stop: () => proxy.close() };
}

test("[C9] where a proxy lets no WebSocket through, edits go and come over HTTP", async () => {
  const proxy = await withoutSockets();
  const [a, b] = [await device(undefined, proxy.url), await device()];
  await until(() => proxy.refused() > 1);
  const [seenByA, seenByB] = [watch(a), watch(b)];
  await a.todos.insert({ title: "without a socket" });
  await until(() => seenByB.has("without a socket"));
  await b.todos.insert({ title: "with one" });
  await until(async () => (await pending(b)) === 0);
  await a.sync.syncOnce();
  await until(() => seenByA.has("with one"));
  expect(await isLive(a)).toBe(false);
  proxy.stop();
});

test("[C7] a token is renewed over the open socket before it expires, and pushes go on after the old one's end", async () => {
  const lifetimes = ["4s", "1h"];
  const asked: boolean[] = [];
  const a = await device(({ stale }) => {
    asked.push(stale);
    return server.token(USER, lifetimes[Math.min(asked.length, lifetimes.length) - 1]);
  });
  let dropped = 0;
  await until(() => isLive(a));
  a.sync.on("status", ({ live }) => {
    if (!live) dropped++;
  });
  const expired = Date.now() + 4500;
  const b = await device();
  const seen = watch(b);
  await until(() => Date.now() > expired);
  await a.todos.insert({ title: "after the first token's end" });
  await until(() => seen.has("after the first token's end"));
  expect(asked.filter((stale) => stale)).toEqual([true]);
  expect([await isLive(a), dropped]).toEqual([true, 0]);
});

test("[C7] [S5] with an expired token the socket is closed and edits wait; with a good one they arrive", async () => {
  const held = await server.token(USER, "3s");
  let good = false;
  const a = await device(() => (good ? server.token(USER) : held));
  await until(() => isLive(a));
  await until(async () => !(await isLive(a)));
  await a.todos.insert({ title: "while nobody was signed in" });
  await until(async () => (await a.sync.status()).state === "waiting");
  expect([await pending(a), (await a.sync.status()).error?.code]).toEqual([1, "Unauthenticated"]);
  good = true;
  const seen = watch(await device());
  await until(() => seen.has("while nobody was signed in"));
  await until(async () => (await isLive(a)) && (await pending(a)) === 0);
});

test("[C9] a gateway that goes away and comes back: edits of the meantime arrive, sockets and pokes are there again", async () => {
  const [a, b] = [await device(), await device()];
  await until(async () => (await isLive(a)) && (await isLive(b)));
  const seen = watch(b);
  await a.todos.insert({ title: "before" });
  await until(() => seen.has("before"));
  const port = Number(server.url.port);
  await server.stop();
  await until(async () => !(await isLive(a)) && !(await isLive(b)));
  await a.todos.insert({ title: "meanwhile" });
  await until(async () => (await a.sync.status()).state === "waiting");
  expect(await pending(a)).toBe(1);
  server = gatewayOn(port);
  await server.start();
  await until(() => seen.has("meanwhile"));
  await until(async () => (await isLive(a)) && (await isLive(b)));
  await a.todos.insert({ title: "after" });
  await until(() => seen.has("after"));
  expect(seen.has("before")).toBe(true);
});

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { decodeBatch, encodeBatch, hlcToBigInt, proto, unwrap } from "../../schemas/index.ts";
import { LocalDB, SyncCoordinator, WebSocketTransport, type WebSocketTransportOptions } from "../index.ts";
import type { Platform, SocketLike } from "../platform.ts";
import { TestWorld, testGateway } from "../testing.ts";

const TABLES = { todos: { title: "string" } } as const;
const SCHEMA = { todos: { title: { type: "string" } } } as const;
type FrameBody = NonNullable<Parameters<typeof create<typeof proto.FrameSchema>>[1]>["body"];

/** A hub that sockets of a test connect to, with the wire's own runtime; `up` and `deaf` make it misbehave. */
function hub(world: TestWorld) {
  const gateway = testGateway(TABLES, { nowMs: () => world.nowMs });
  const local = gateway.as();
  const state = { up: true, deaf: false, protocols: [] as string[][], tokens: [] as string[], http: 0, pings: 0 };
  const sockets = new Set<FakeSocket>();
  local.subscribe?.((cursorHint) => {
    for (const socket of sockets) socket.deliver(0, { case: "poke", value: { cursorHint } });
  });

  class FakeSocket implements SocketLike {
    binaryType = "";
    readyState = 0;
    readonly #listeners = new Map<string, ((event: never) => void)[]>();
    constructor() {
      setImmediate(() => {
        if (!state.up) return this.close();
        sockets.add(this);
        this.#emit("open", {});
      });
    }
    addEventListener(type: string, listener: (event: never) => void): void {
      this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
    }
    #emit(type: string, event: object): void {
      for (const listener of this.#listeners.get(type) ?? []) listener(event as never);
    }
    deliver(id: number, body: FrameBody): void {
      if (state.deaf) return;
      const bytes = toBinary(proto.FrameSchema, create(proto.FrameSchema, { id, body: body as never }));
      setImmediate(() => this.#emit("message", { data: bytes.slice().buffer }));
    }
    async send(data: Uint8Array | string): Promise<void> {
      if (data === "ping") {
        state.pings++;
        if (!state.deaf) this.#emit("message", { data: "pong" });
        return;
      }
      const { id, body } = fromBinary(proto.FrameSchema, data as Uint8Array);
      if (state.deaf) return;
      if (body.case === "token") state.tokens.push(body.value);
      if (body.case === "push") {
        const clientId = body.value.clientId as never;
        const batches = body.value.batches.map((b) => unwrap(decodeBatch(b, clientId)));
        const answer = await local.push({ clientId, batches });
        this.deliver(id, { case: "pushed", value: { serverHlc: hlcToBigInt(answer.serverHlc), cursorHint: "" } });
      }
      if (body.case === "pull") {
        const page = await local.pull({ clientId: body.value.clientId as never, cursor: body.value.cursor });
        const { cursor, hasMore, resync } = page;
        const serverHlc = hlcToBigInt(page.serverHlc);
        this.deliver(id, {
          case: "page",
          value: { batches: page.batches.map(encodeBatch), cursor, hasMore, resync, serverHlc },
        });
      }
    }
    close(code = 1006): void {
      sockets.delete(this);
      setImmediate(() => this.#emit("close", { code }));
    }
  }

  const closeAll = (code?: number) => {
    for (const socket of [...sockets]) socket.close(code);
  };
  const device = async (options: Partial<WebSocketTransportOptions> = {}, skew = { ms: 0 }) => {
    const platform: Platform = {
      ...world.platform(skew),
      openSocket: (_url, protocols) => {
        state.protocols.push(protocols);
        return new FakeSocket();
      },
      fetch: async () => {
        state.http++;
        throw new TypeError("no HTTP in this test");
      },
    };
    const db = await LocalDB.open({ name: "d", backend: "memory", schema: SCHEMA, platform });
    const transport = new WebSocketTransport({
      baseUrl: "https://gateway.test",
      gatewayId: "test",
      token: "secret",
      platform,
      ...options,
    });
    const sync = new SyncCoordinator(db, transport);
    const titles = async () =>
      (await db.query<{ title: string }>("SELECT title FROM todos ORDER BY id")).map((r) => r.title);
    return { db, sync, transport, titles };
  };
  return { gateway, state, sockets, closeAll, device };
}

test("edits go out and come in over the socket, at once, without polling", async () => {
  const world = new TestWorld();
  const { state, device } = hub(world);
  const [a, b] = [await device(), await device()];
  a.sync.startAutoSync();
  b.sync.startAutoSync();
  await world.pass(2000);
  const http = state.http;
  await a.sync.tracker.insert("todos", "1", { title: "milk" });
  await world.pass(50);
  expect(await b.titles()).toEqual(["milk"]);
  expect(state.http).toBe(http);
  expect(state.protocols[0]).toEqual(["lakesync.v1", "bearer.secret"]);
  expect(await b.sync.status()).toMatchObject({ live: true, pending: 0 });
});

test("[C9] a socket that closes is opened again with growing waits, and what was missed comes at once", async () => {
  const world = new TestWorld(3);
  const { state, closeAll, device } = hub(world);
  const [a, b] = [await device(), await device()];
  a.sync.startAutoSync();
  b.sync.startAutoSync();
  await world.pass(1000);
  state.up = false;
  closeAll();
  await world.pass(10);
  expect(await b.sync.status()).toMatchObject({ live: false });
  await a.sync.tracker.insert("todos", "1", { title: "milk" });
  const tries = state.protocols.length;
  await world.pass(120_000);
  const more = state.protocols.length - tries;
  expect(more).toBeGreaterThan(6);
  expect(more).toBeLessThan(40);
  state.up = true;
  await world.pass(61_000);
  expect(await b.titles()).toEqual(["milk"]);
  expect(await a.sync.status()).toMatchObject({ live: true, pending: 0, state: "idle" });
});

test("[C9] a half-open socket is found by its silence", async () => {
  const world = new TestWorld();
  const { state, sockets, device } = hub(world);
  const a = await device();
  a.sync.startAutoSync();
  await world.pass(1000);
  const [first] = sockets;
  state.deaf = true;
  state.up = false;
  await world.pass(60_000);
  expect(a.transport.connected).toBe(false);
  state.deaf = false;
  state.up = true;
  await world.pass(60_000);
  expect(a.transport.connected).toBe(true);
  expect([...sockets]).not.toContain(first);
  expect(state.pings).toBeGreaterThan(0);
  await a.sync.tracker.insert("todos", "1", { title: "milk" });
  await world.pass(61_000);
  expect(await a.sync.status()).toMatchObject({ pending: 0, live: true });
});

test("[C7] a token is renewed before it expires, and asked for anew when the gateway closes for it", async () => {
  const world = new TestWorld();
  const { state, closeAll, device } = hub(world);
  const asked: boolean[] = [];
  const token = ({ stale }: { stale: boolean }) => {
    asked.push(stale);
    return `h.${btoa(JSON.stringify({ exp: Math.floor(world.nowMs / 1000) + 600 }))}.s`;
  };
  const a = await device({ token });
  a.sync.startAutoSync();
  await world.pass(1000);
  const before = asked.length;
  await world.pass(545_000);
  expect(state.tokens).toHaveLength(1);
  expect(asked.slice(before)).toEqual([true]);
  closeAll(4001);
  await world.pass(2000);
  expect(asked.at(-1)).toBe(true);
  expect(a.transport.connected).toBe(true);
});

test("[C7] [H3] a device whose clock is far ahead does not ask for tokens all the time", async () => {
  const world = new TestWorld();
  const { state, device } = hub(world);
  const token = () => `h.${btoa(JSON.stringify({ exp: Math.floor(world.nowMs / 1000) + 600 }))}.s`;
  const a = await device({ token }, { ms: 3_600_000 });
  a.sync.startAutoSync();
  await world.pass(600_000);
  expect(state.tokens.length).toBeGreaterThan(1);
  expect(state.tokens.length).toBeLessThan(25);
});

test("stopping closes the socket, and starting opens another", async () => {
  const world = new TestWorld();
  const { sockets, device } = hub(world);
  const a = await device();
  a.sync.startAutoSync();
  await world.pass(1000);
  expect(sockets.size).toBe(1);
  a.sync.stopAutoSync();
  await world.pass(1000);
  expect(sockets.size).toBe(0);
  a.sync.startAutoSync();
  await world.pass(1000);
  expect(sockets.size).toBe(1);
});

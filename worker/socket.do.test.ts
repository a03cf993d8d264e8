/** The hub: frames over WebSockets that sleep, pokes, tokens that run out. */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject, SELF } from "cloudflare:test";
import { expect, onTestFinished, test } from "vitest";
import { BODY_BYTES_MAX, proto } from "../schemas/index.ts";
import {
  ALL,
  eventually,
  hlc,
  insert,
  OWN,
  signToken,
  type TestGateway,
  TestSocket,
  todos,
} from "./testing/gateway.ts";

const text = (value: string) => ({ kind: { case: "stringValue" as const, value } });
const edit = (rowId: string, owner: string) => ({
  op: proto.Op.INSERT,
  table: "todos",
  rowId,
  hlc: BigInt(hlc()),
  columns: [
    { column: "title", value: text(rowId) },
    { column: "owner", value: text(owner) },
  ],
});
const open = async (gateway: TestGateway, sub: string, claims = {}) =>
  TestSocket.open(gateway, await gateway.token(sub, claims));
const grants = (gateway: TestGateway) =>
  runInDurableObject(gateway.hub, (_, { storage }) => storage.sql.exec("SELECT id FROM grants").toArray().length);
const inSeconds = (n: number) => Math.floor(Date.now() / 1000) + n;

test("a push on one socket is acknowledged, pokes the others, and is pulled over them", async () => {
  const gateway = await todos(ALL);
  const [alice, bob] = [await open(gateway, "alice"), await open(gateway, "bob")];
  const pushed = await alice.ask({ case: "push", value: { clientId: "a1", deltas: [edit("r1", "alice")] } });
  expect(pushed).toMatchObject({ case: "pushed", value: { acceptedCount: 1 } });
  await bob.wait(() => bob.pokes > 0);
  const page = await bob.ask({ case: "pull", value: {} });
  if (page.case !== "page") throw new Error(`no page but ${page.case}`);
  expect(page.value.batches.map((b) => b.rowIds)).toEqual(['["r1"]']);
  expect(page.value.hasMore).toBe(false);
  const again = await bob.ask({ case: "pull", value: { cursor: page.value.cursor } });
  expect(again).toMatchObject({ case: "page", value: { batches: [] } });
  await gateway.push("carol", "c1", [insert("r2", "carol")]);
  await alice.wait(() => alice.pokes > 0);
});

test("a push that is refused pokes nobody", async () => {
  const gateway = await todos(OWN);
  const bob = await open(gateway, "bob");
  const before = bob.pokes;
  await gateway.push("alice", "a1", [insert("r1", "bob")]);
  expect(await bob.ask({ case: "pull", value: {} })).toMatchObject({ case: "page" });
  expect(bob.pokes).toBe(before);
});

test("pokes that come close together are merged", async () => {
  const gateway = await todos(ALL);
  const bob = await open(gateway, "bob");
  await runInDurableObject(gateway.hub, (hub) => {
    for (let head = 1; head <= 500; head++)
      (hub as unknown as { poke(...a: unknown[]): void }).poke(gateway.id, "common", head);
  });
  const last = await bob.wait(() =>
    bob.frames.find((f) => f.body.case === "poke" && f.body.value.cursorHint.endsWith(":500")),
  );
  expect(last).toBeDefined();
  expect(bob.pokes).toBeLessThan(10);
});

test("ping is answered, and does not wake a hub that sleeps", async () => {
  const gateway = await todos(ALL);
  const alice = await open(gateway, "alice");
  alice.raw("ping");
  await alice.wait(() => alice.texts.includes("pong"));
});

test.each([
  ["text", "hello", "BadRequest", /binary/],
  ["bytes that are no frame", new Uint8Array([0xff, 0xff, 0xff]), "BadRequest", /lakesync.v1.Frame/],
  ["a frame that is too large", new Uint8Array(BODY_BYTES_MAX + 1), "TooLarge", /8388608/],
])("[S4] %s is answered with an error, and the socket closes", async (_, data, code, message) => {
  const gateway = await todos(ALL);
  const [alice, bob] = [await open(gateway, "alice"), await open(gateway, "bob")];
  alice.raw(data);
  const frame = await alice.wait(() => alice.frames.find((f) => f.body.case === "error"));
  expect(frame.body).toMatchObject({ value: { code, message: expect.stringMatching(message) } });
  expect(await alice.wait(() => alice.closed)).toEqual({ code: 4002, reason: code });
  expect(await bob.ask({ case: "pull", value: {} })).toMatchObject({ case: "page" });
});

test("[S4] a frame that a client does not send, and requests that are wrong, are answered and cost nothing", async () => {
  const gateway = await todos(ALL);
  const alice = await open(gateway, "alice");
  const codes = [];
  const bodies: Parameters<typeof alice.ask>[0][] = [
    undefined,
    { case: "poke" as const, value: {} },
    { case: "push" as const, value: { clientId: "", deltas: [] } },
    { case: "push" as const, value: { clientId: "a1", deltas: [{ ...edit("x", "y"), op: 7 as never }] } },
    { case: "pull" as const, value: { cursor: "nonsense" } },
    { case: "token" as const, value: "nonsense" },
  ];
  for (const body of bodies) {
    const answer = await alice.ask(body);
    codes.push(answer.case === "error" && answer.value.code);
  }
  expect(codes).toEqual(["BadRequest", "BadRequest", "BadIdentifier", "BadRequest", "BadCursor", "Unauthenticated"]);
  expect(await alice.ask({ case: "push", value: { clientId: "a1", deltas: [edit("r1", "alice")] } })).toMatchObject({
    case: "pushed",
  });
});

test("[S5] a socket is closed when its token expires, with nobody asking", async () => {
  const gateway = await todos(ALL);
  const socket = await TestSocket.open(gateway, await signToken({ gw: gateway.id, sub: "alice" }, inSeconds(2)));
  const longer = await open(gateway, "bob");
  expect(await grants(gateway)).toBe(2);
  expect(await eventually(() => socket.closed)).toMatchObject({
    code: 4001,
    reason: expect.stringContaining("expired"),
  });
  expect(longer.closed).toBeUndefined();
  expect(await grants(gateway)).toBe(1);
});

test("[S5] a frame on a socket whose token has expired is not answered, whatever the alarm does", async () => {
  const gateway = await todos(ALL);
  const socket = await open(gateway, "alice");
  await runInDurableObject(gateway.hub, (_, state) => {
    for (const s of state.getWebSockets()) s.serializeAttachment({ ...s.deserializeAttachment(), exp: inSeconds(-1) });
  });
  socket.raw(new Uint8Array([8, 1]));
  expect(await socket.wait(() => socket.closed)).toMatchObject({ code: 4001 });
  expect(socket.frames).toEqual([]);
  expect(await grants(gateway)).toBe(0);
});

test("a new token keeps a socket open, and rules see its claims from then on", async () => {
  const gateway = await todos([
    { name: "org", tables: ["todos"], filters: [{ column: "owner", op: "eq", value: "jwt:org" }] },
  ]);
  await gateway.push("root", "root-1", [insert("r1", "red"), insert("r2", "blue")], { role: "admin" });
  const socket = await TestSocket.open(
    gateway,
    await signToken({ gw: gateway.id, sub: "alice", org: "red" }, inSeconds(2)),
  );
  const ids = async () => {
    const page = await socket.ask({ case: "pull", value: {} });
    return page.case === "page" && page.value.batches.map((b) => b.rowIds);
  };
  expect(await ids()).toEqual(['["r1"]']);
  const renewed = await socket.ask({ case: "token", value: await gateway.token("alice", { org: "blue" }) });
  expect(renewed.case).toBe("poke");
  expect(await ids()).toEqual(['["r2"]']);
  await new Promise((done) => setTimeout(done, 2100));
  await runDurableObjectAlarm(gateway.hub);
  expect(socket.closed).toBeUndefined();
  expect(await ids()).toEqual(['["r2"]']);
});

test("[S1, S2] a socket takes no token of another gateway, of another user or of nobody", async () => {
  const [gateway, other] = [await todos(ALL), await todos(ALL)];
  const socket = await open(gateway, "alice");
  for (const [token, code, message] of [
    [await other.token("alice"), "Forbidden", /another gateway/],
    [await gateway.token("bob"), "Forbidden", /stays with its user/],
    [await signToken({ gw: gateway.id, sub: "alice" }, inSeconds(-5)), "Unauthenticated", /expired/],
    ["", "Unauthenticated", /not valid/],
  ] as const)
    expect(await socket.ask({ case: "token", value: token })).toMatchObject({
      case: "error",
      value: { code, message: expect.stringMatching(message) },
    });
  for (const [protocols, status] of [
    ["lakesync.v1", 401],
    [`lakesync.v1, bearer.${await other.token("a")}`, 403],
    [`bearer.${await gateway.token("a")}`, 401],
    ["lakesync.v1, bearer.x.y.z", 401],
  ] as const) {
    const headers = { upgrade: "websocket", "sec-websocket-protocol": protocols };
    expect([
      protocols.slice(0, 20),
      (await gateway.request(undefined, "GET", "/ws", undefined, headers)).status,
    ]).toEqual([protocols.slice(0, 20), status]);
  }
  const plain = await gateway.request(await gateway.token("a"), "GET", "/ws");
  expect([plain.status, plain.body.error.message]).toEqual([400, expect.stringContaining("new WebSocket")]);
});

test("claims in any script travel to the hub", async () => {
  const gateway = await todos([
    { name: "mine", tables: ["todos"], filters: [{ column: "owner", op: "eq", value: "jwt:name" }] },
  ]);
  const name = "Zoë 東京 🦀\u0001";
  await gateway.push("root", "root-1", [insert("r1", name), insert("r2", "Zoe")], { role: "admin" });
  const socket = await open(gateway, "zoë@example.org", { name, more: "é".repeat(1500) });
  const page = await socket.ask({ case: "pull", value: {} });
  expect(page.case === "page" && page.value.batches.map((b) => b.rowIds)).toEqual(['["r1"]']);
});

test("[C9] while nobody listens the hub is called seldom, and whoever connects meanwhile hears of what comes next", async () => {
  const gateway = await todos(ALL);
  let calls = 0;
  await runInDurableObject(gateway.hub, (hub) => {
    const shared = Object.getPrototypeOf(hub) as { poke(...a: unknown[]): number };
    const { poke } = shared;
    onTestFinished(() => {
      shared.poke = poke;
    });
    shared.poke = function (...args) {
      calls++;
      return poke.apply(this, args);
    };
  });
  const started = Date.now();
  for (let n = 0; n < 30; n++) await gateway.push("alice", "a1", [insert(`r${n}`, "alice")]);
  expect(calls).toBeLessThanOrEqual(2 + (Date.now() - started) / 50);
  const bob = await open(gateway, "bob");
  const before = bob.pokes;
  await gateway.push("alice", "a1", [insert("last", "alice")]);
  await bob.wait(() => bob.pokes > before);
  expect(calls).toBeGreaterThan(0);
});

test("a socket outlives the hub's sleep: it pushes, pulls and is poked as before", async () => {
  const gateway = await todos(OWN);
  const [alice, bob] = [await open(gateway, "alice"), await open(gateway, "bob")];
  await evictDurableObject(gateway.hub);
  expect(await alice.ask({ case: "push", value: { clientId: "a1", deltas: [edit("r1", "alice")] } })).toMatchObject({
    case: "pushed",
    value: { acceptedCount: 1 },
  });
  await bob.wait(() => bob.pokes > 0);
  await evictDurableObject(gateway.hub);
  const page = await bob.ask({ case: "pull", value: {} });
  expect(page.case === "page" && page.value.batches).toEqual([]);
  await evictDurableObject(gateway.hub);
  const before = bob.pokes;
  await gateway.push("alice", "a1", [insert("r2", "alice")]);
  await bob.wait(() => bob.pokes > before);
});

test("[S4] what the hub keeps of a socket goes with it; a close that nobody heard of is swept up", async () => {
  const gateway = await todos(ALL);
  const sockets = await Promise.all(Array.from({ length: 5 }, (_, i) => open(gateway, `u${i}`)));
  expect(await grants(gateway)).toBe(5);
  for (const socket of sockets.slice(0, 4)) socket.close();
  await eventually(async () => (await grants(gateway)) === 1);
  await runInDurableObject(
    gateway.hub,
    (_, { storage }) => void storage.sql.exec("INSERT INTO grants (id, body) VALUES ('lost', '{}')"),
  );
  await runDurableObjectAlarm(gateway.hub);
  expect(await grants(gateway)).toBe(1);
  expect((await gateway.status()).sockets).toBe(1);
});

test("a browser's token in a subprotocol is not repeated in the answer", async () => {
  const gateway = await todos(ALL);
  const token = await gateway.token("alice");
  const headers = { upgrade: "websocket", "sec-websocket-protocol": `bearer.${token}, lakesync.v1` };
  const response = await SELF.fetch(`http://gateway/v1/${gateway.id}/ws`, { headers });
  expect([response.status, response.headers.get("sec-websocket-protocol")]).toEqual([101, "lakesync.v1"]);
  expect([...response.headers].join()).not.toContain(token);
  response.webSocket?.accept();
  response.webSocket?.close();
});

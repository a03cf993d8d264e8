/** Hostile and unlucky input: each gets a typed error that says what to do, and the gateway goes on. */
import fc from "fast-check";
import { afterEach, beforeAll, expect, test } from "vitest";
import { ERRORS, encodeBinary, PROTOBUF, proto } from "../schemas/index.ts";
import {
  ALL,
  type Answer,
  delta,
  TestGateway as Gateway,
  insert,
  type Json,
  nested,
  type TestGateway,
  TODOS,
  todos,
  withDocs,
} from "./testing/gateway.ts";

let gateway: TestGateway;
let alice: string;
let good = 0;
beforeAll(async () => {
  gateway = await todos(ALL);
  await withDocs(gateway);
  alice = await gateway.token("alice");
});

/** After each attack the gateway takes a row and gives it back. */
afterEach(async () => {
  const id = `good-${++good}`;
  expect((await gateway.push("alice", "a1", [insert(id, "alice")])).body).toMatchObject({ acceptedCount: 1 });
  const rows = (await gateway.pull("alice", "", { tables: ["todos"], maxBytes: 4_000_000 })).body.rows as Json[];
  expect(rows.some((r) => r.rowId === id)).toBe(true);
});

/** A refusal that a person can act on: a code from the list, its status, a sentence, no stack. */
function typed({ status, body }: Answer): string {
  expect(Object.keys(body), JSON.stringify(body)).toEqual(["error"]);
  const { code, message } = body.error as { code: keyof typeof ERRORS; message: string };
  expect([code, status]).toEqual([code, ERRORS[code].status]);
  expect(message.length).toBeLessThan(1000);
  expect(message).toMatch(/^[^\n]{15,}[.]$/);
  expect(JSON.stringify(body)).not.toMatch(/\.ts:|node_modules|at async|Internal/);
  return code;
}

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  gateway.request(alice, "POST", path, body, headers);
const gzip = async (bytes: Uint8Array) =>
  new Uint8Array(
    await new Response(
      (new Response(bytes).body as ReadableStream).pipeThrough(new CompressionStream("gzip")),
    ).arrayBuffer(),
  );

test("[S4] any bytes as protobuf are a push or a typed error", async () => {
  const run = async (path: string, bytes: Uint8Array) => {
    const answer = await post(path, bytes, { "content-type": PROTOBUF, accept: "application/json" });
    if (answer.status !== 200) typed(answer);
  };
  const sound = encodeBinary(proto.PushRequestSchema, {
    clientId: "a1",
    deltas: [
      {
        op: proto.Op.INSERT,
        table: "todos",
        rowId: "f",
        hlc: 1n,
        columns: [{ column: "title", value: { kind: { case: "stringValue", value: "x" } } }],
      },
    ],
    batches: [
      {
        table: "todos",
        count: 1,
        ops: "I",
        rowIds: '["f"]',
        hlcs: new Uint8Array([0, 0, 0, 0, 0, 0, 0, 1]),
        columns: [{ name: "title", values: '["x"]' }],
      },
    ],
  });
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { maxLength: 6 }),
      async (bytes, flips) => {
        await run("/push", bytes);
        await run("/pull", bytes);
        const flipped = sound.slice();
        for (const [at, byte] of flips) flipped[at] = byte;
        await run("/push", flipped);
      },
    ),
    { numRuns: 150 },
  );
});

test("[S4] any JSON is a push or a typed error", async () => {
  const tables = fc.constantFrom("todos", "docs", "nope", "__proto__", "");
  const column = fc.record(
    {
      column: fc.constantFrom("title", "done", "priority", "body", "blob", "n", "at", "x", "__proto__"),
      value: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  const anyDelta = fc.record(
    {
      op: fc.constantFrom("INSERT", "UPDATE", "DELETE", "UPSERT", 1, 9, null),
      table: tables,
      rowId: fc.oneof(fc.string(), fc.constant("\ud800")),
      hlc: fc.oneof(fc.constant("-1"), fc.bigInt(0n, 2n ** 66n).map(String), fc.double()),
      columns: fc.array(column, { maxLength: 4 }),
    },
    { requiredKeys: [] },
  );
  const push = fc.record(
    { clientId: fc.constantFrom("a1", "", "a b"), deltas: fc.array(anyDelta, { maxLength: 4 }) },
    { requiredKeys: [] },
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(push, fc.jsonValue()), fc.constantFrom("/push", "/pull"), async (body, path) => {
      const answer = await post(path, JSON.stringify(body));
      if (answer.status !== 200) typed(answer);
    }),
    { numRuns: 300 },
  );
});

test.each<[string, () => Promise<Answer>, string]>([
  ["no JSON", () => post("/push", "{"), "BadRequest"],
  ["nothing", () => post("/push", ""), "BadRequest"],
  ["JSON of another kind", () => post("/push", "[]"), "BadRequest"],
  ["an unknown field", () => post("/push", { clientId: "a1", detlas: [] }), "BadRequest"],
  [
    "a form",
    () => post("/push", "a=b", { "content-type": "application/x-www-form-urlencoded" }),
    "UnsupportedMediaType",
  ],
  ["no UTF-8", () => post("/push", new Uint8Array([0x7b, 0xff, 0x7d])), "BadRequest"],
  [
    "deep JSON",
    () =>
      post(
        "/push",
        `{"clientId":"a1","deltas":[{"op":"INSERT","table":"docs","rowId":"d","hlc":"1","columns":[{"column":"body","value":${nested(200_000)}}]}]}`,
      ),
    "BadRequest",
  ],
  [
    "deep JSON for an admin",
    async () => gateway.request(await gateway.admin(), "PUT", "/admin/sync-rules", `{"buckets":${nested(200_000)}}`),
    "BadRequest",
  ],
  ["a body over 8 MB", () => post("/push", new Uint8Array(8 * 1024 * 1024 + 1).fill(32)), "TooLarge"],
  ["gzip that is none", () => post("/push", new Uint8Array([1, 2, 3]), { "content-encoding": "gzip" }), "BadRequest"],
  [
    "gzip that breaks off",
    async () =>
      post("/push", (await gzip(new TextEncoder().encode(JSON.stringify({ clientId: "a1" })))).slice(0, -6), {
        "content-encoding": "gzip",
      }),
    "BadRequest",
  ],
  [
    "a gzip bomb",
    async () => post("/push", await gzip(new Uint8Array(64 * 1024 * 1024)), { "content-encoding": "gzip" }),
    "TooLarge",
  ],
  ["brotli", () => post("/push", "x", { "content-encoding": "br" }), "UnsupportedMediaType"],
  [
    "10,001 deltas",
    () =>
      post("/push", {
        clientId: "a1",
        deltas: Array.from({ length: 10_001 }, () => ({ op: "DELETE", table: "todos", rowId: "x", hlc: "1" })),
      }),
    "TooLarge",
  ],
  [
    "a batch that lies of its size",
    () => post("/push", { clientId: "a1", batches: [{ table: "todos", count: 4_000_000_000, ops: "I" }] }),
    "TooLarge",
  ],
  [
    "a batch in another client's name",
    () => post("/push", { clientId: "a1", batches: [{ table: "todos", clients: ["b1"] }] }),
    "BadRequest",
  ],
  ["no client id", () => post("/push", { deltas: [] }), "BadIdentifier"],
  ["a client id with spaces", () => post("/push", { clientId: "my phone" }), "BadIdentifier"],
  ["a source that nobody knows", () => post("/pull", { source: "warehouse" }), "NotFound"],
  ["501 tables", () => post("/pull", { tables: Array.from({ length: 501 }, (_, i) => `t${i}`) }), "TooLarge"],
  ["maxBytes that is no number", () => gateway.request(alice, "GET", "/pull?maxBytes=1e9"), "BadRequest"],
  [
    "91 columns",
    () =>
      gateway.putTable(
        "wide",
        Array.from({ length: 91 }, (_, i) => ({ name: `c${i}`, type: "string" })),
      ),
    "BadRequest",
  ],
  [
    "two columns of one name",
    () =>
      gateway.putTable("twice", [
        { name: "a", type: "string" },
        { name: "A", type: "string" },
      ]),
    "BadRequest",
  ],
  ["65 shards", () => gateway.putTable("many", TODOS, { shards: 65 }), "BadRequest"],
  ["rules for a table that is not there", () => gateway.putRules([{ name: "b", tables: ["nope"] }]), "BadConfig"],
  [
    "rules that cannot be read as their column's type",
    () =>
      gateway.putRules([{ name: "b", tables: ["todos"], filters: [{ column: "priority", op: "gt", value: "high" }] }]),
    "BadConfig",
  ],
  [
    "101 buckets",
    () => gateway.putRules(Array.from({ length: 101 }, (_, i) => ({ name: `b${i}`, tables: ["todos"] }))),
    "BadRequest",
  ],
])("[S4] %s", async (_, attack, code) => {
  expect(typed(await attack())).toBe(code);
});

test("[S4] more shards or longer rules than a gateway may have are refused, and what was there stays", async () => {
  const other = new Gateway();
  for (let i = 0; i < 4; i++) expect((await other.putTable(`t${i}`, TODOS, { shards: 60 })).status).toBe(200);
  const refused = await other.putTable("t4", TODOS, { shards: 60 });
  expect(typed(refused)).toBe("TooLarge");
  expect(refused.body.error.message).toContain("256");
  const value = Array.from({ length: 1000 }, (_, i) => `${i}-${"x".repeat(600)}`);
  const rules = await other.putRules([
    { name: "long", tables: ["t0"], filters: [{ column: "title", op: "in", value }] },
  ]);
  expect(typed(rules)).toBe("TooLarge");
  const { body } = await other.request(await other.admin(), "GET", "/admin/sync-rules");
  expect(body).toEqual({ buckets: [], version: 0 });
});

const cursorOf = (value: unknown) =>
  btoa(typeof value === "string" ? value : JSON.stringify(value))
    .replace(/=+$/, "")
    .replace(/\+/g, "-")
    .replace(/\//g, "_");
const BAD_CURSORS: [string, string][] = [
  ["text", "hello"],
  ["with spaces", "a b"],
  ["no JSON", cursorOf("not json")],
  ["an array", cursorOf([])],
  ["null", cursorOf(null)],
  ["without shards", cursorOf({ m: 0, t: "" })],
  ["with a negative seq", cursorOf({ m: 0, t: "", s: { common: ["f", -1, 1] } })],
  ["with half a seq", cursorOf({ m: 0, t: "", s: { common: ["f", 1.5, 1] } })],
  ["with a seq past 2^53", cursorOf('{"m":0,"t":"","s":{"common":["f",1e300,1]}}')],
  ["with more fields", cursorOf({ m: 0, t: "", s: {}, x: 1 })],
  ["too long", "A".repeat(600_000)],
];

test.each(BAD_CURSORS)("[S4] a cursor %s is refused with a way out", async (_, cursor) => {
  const answer = await post("/pull", { cursor });
  expect(typed(answer)).toBe("BadCursor");
  expect(answer.body.error.message).toContain("leave it out");
});

test("[S4] a cursor that somebody made up shows no more than a new one", async () => {
  const own = await todos();
  await own.push("bob", "b1", [insert("secret", "bob"), insert("gone", "bob")]);
  await own.push("bob", "b1", [delta("DELETE", "gone")]);
  const { cursor } = (await own.pull("alice")).body;
  const real = JSON.parse(atob(cursor.replace(/-/g, "+").replace(/_/g, "/")));
  const [fingerprint] = real.s.common;
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.tuple(fc.nat(5), fc.constantFrom(0, 1)),
        fc.tuple(fc.nat(5), fc.constantFrom("", "todos", "zzz", "constructor"), fc.string()),
      ),
      fc.constantFrom(fingerprint, "other", ""),
      async (position, print) => {
        const { status, body } = await own.pull(
          "alice",
          cursorOf({ ...real, s: { common: [print, ...position] } }).replace(/[^A-Za-z0-9_-]/g, ""),
        );
        if (status === 200) expect(body.rows).toEqual([]);
        else expect(["BadCursor", "CursorExpired"]).toContain(body.error.code);
      },
    ),
    { numRuns: 60 },
  );
});

test("[S4] JSON as deep as it may be comes back in every form; deeper is refused in every form", async () => {
  const values = (depth: number) =>
    JSON.stringify([JSON.stringify(JSON.parse(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`))]);
  const push = (rowId: string, depth: number) =>
    gateway.speak(
      alice,
      "/push",
      proto.PushRequestSchema,
      {
        clientId: "a1",
        batches: [
          {
            table: "docs",
            count: 1,
            ops: "I",
            rowIds: JSON.stringify([rowId]),
            hlcs: new Uint8Array([0, 0, 0, 0, 0, 0, 1, depth]),
            columns: [
              { name: "body", values: values(depth) },
              { name: "must", values: '[""]' },
            ],
          },
        ],
      },
      proto.PushResponseSchema,
    );
  expect((await push("deep", 30)).acceptedCount).toBe(1);
  expect((await push("deeper", 31)).rejected).toMatchObject([{ code: "CellTooLarge", rowId: "deeper" }]);
  const { body } = await post("/pull", { tables: ["docs"] });
  expect(JSON.stringify(body.rows)).toContain('{"a":'.repeat(30));
  const page = await gateway.speak(
    alice,
    "/pull",
    proto.PullRequestSchema,
    { tables: ["docs"] },
    proto.PullResponseSchema,
  );
  expect(page.rows.map((r) => r.rowId)).toContain("deep");
});

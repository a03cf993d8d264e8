/** Who may come in: tokens, gateways, roles, names. */
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { expect, onTestFinished, test, vi } from "vitest";
import { createApp } from "./app.ts";
import {
  bindings,
  insert,
  type Json,
  send,
  signToken,
  TestGateway,
  TestSocket,
  TODOS,
  todos,
} from "./testing/gateway.ts";

const ROUTES: readonly [string, string, unknown?][] = [
  ["POST", "/push", { clientId: "c", deltas: [] }],
  ["POST", "/pull", {}],
  ["GET", "/pull"],
  ["GET", "/ws"],
  ["PUT", "/admin/tables/todos", { columns: TODOS }],
  ["GET", "/admin/tables/todos"],
  ["PUT", "/admin/sync-rules", { buckets: [] }],
  ["GET", "/admin/sync-rules"],
  ["POST", "/admin/flush"],
  ["POST", "/admin/compact"],
  ["GET", "/admin/status"],
];
const ADMIN = ROUTES.filter(([, path]) => path.startsWith("/admin"));

test("[S1] a token of another gateway opens no route", async () => {
  const [mine, other] = [await todos(), new TestGateway()];
  for (const role of ["client", "admin"]) {
    const token = await signToken({ gw: other.id, sub: "alice", role });
    for (const [method, path, body] of ROUTES) {
      const upgrade: Record<string, string> = path === "/ws" ? { upgrade: "websocket" } : {};
      const answer = await mine.request(token, method, path, body, upgrade);
      expect([method, path, answer.status, answer.body.error?.code]).toEqual([method, path, 403, "Forbidden"]);
    }
  }
  expect((await mine.request(await mine.admin(), "GET", "/admin/tables/todos")).body.version).toBe(1);
});

test("[S1] no spelling of a path leads to another gateway than the token's", async () => {
  const mine = await todos();
  const token = await mine.admin();
  const other = await todos();
  const paths = [
    `/v1/${mine.id}/../${other.id}/admin/status`,
    `/v1/${mine.id}/%2e%2e/${other.id}/admin/status`,
    `/v1/${mine.id}%2f..%2f${other.id}/admin/status`,
    `/v1/${mine.id}%2F${other.id}/admin/status`,
    `/v1//${other.id}/admin/status`,
    `/v1/${mine.id}%00/admin/status`,
    `/v1/${mine.id}%/admin/status`,
    `/v1/${mine.id.toUpperCase()}/admin/status`,
    `/v1/${mine.id};${other.id}/admin/status`,
    `/V1/${other.id}/admin/status`,
    `//v1/${other.id}/admin/status`,
    `/v1/${encodeURIComponent(`${mine.id}/common`)}/admin/status`,
    `/v1/../v1/${other.id}/admin/status`,
  ];
  for (const path of paths) {
    const { status, body } = await send(path, { headers: { authorization: `Bearer ${token}` } });
    expect([path, [400, 403, 404].includes(status), JSON.stringify(body).includes('"shards"')]).toEqual([
      path,
      true,
      false,
    ]);
    expect(body.error.message.length).toBeGreaterThan(20);
  }
  // The same name in other letters is the same name.
  const encoded = `/v1/%${mine.id.charCodeAt(0).toString(16)}${mine.id.slice(1)}/admin/status`;
  expect((await send(encoded, { headers: { authorization: `Bearer ${token}` } })).body.gatewayId).toBe(mine.id);
});

test("[S1] a grant that comes from outside is thrown away", async () => {
  const [mine, other] = [await todos(), await todos()];
  const forged = btoa(JSON.stringify({ gatewayId: other.id, claims: { sub: "root", role: "admin" }, exp: 9e9 }));
  const headers = { upgrade: "websocket", "x-lakesync-grant": forged };
  expect((await mine.request(undefined, "GET", "/ws", undefined, headers)).status).toBe(401);
  await other.push("bob", "bob-1", [insert("secret", "bob")]);
  const response = await TestSocket.open(mine, await mine.token("alice"), { "x-lakesync-grant": forged });
  const page = await response.ask({ case: "pull", value: {} });
  expect(page).toMatchObject({ case: "page", value: { batches: [] } });
});

const refused: [string, (gateway: TestGateway) => Promise<string | undefined>, RegExp][] = [
  ["none at all", async () => undefined, /Authorization: Bearer/],
  ["no JWT", async () => "abc", /not valid/],
  [
    "without exp",
    async (g) => new SignJWT({ gw: g.id, sub: "a" }).setProtectedHeader({ alg: "HS256" }).sign(secret()),
    /"exp"/,
  ],
  ["expired", async (g) => signToken({ gw: g.id, sub: "a" }, Math.floor(Date.now() / 1000) - 1), /expired/],
  [
    "of algorithm none",
    async (g) => new UnsecuredJWT({ gw: g.id, sub: "a", role: "admin" }).setExpirationTime("1h").encode(),
    /algorithm|not valid/,
  ],
  ["with a None header", async (g) => forgeHeader(await g.admin(), { alg: "None" }), /algorithm|not valid/],
  [
    "of another secret",
    async (g) => signWith({ gw: g.id, sub: "a" }, new TextEncoder().encode("another secret, long enough for HS256")),
    /signature/,
  ],
  [
    "of HS512",
    async (g) =>
      new SignJWT({ gw: g.id, sub: "a" }).setProtectedHeader({ alg: "HS512" }).setExpirationTime("1h").sign(secret()),
    /algorithm/,
  ],
  [
    "with a changed body",
    async (g) => forgeBody(await g.token("a"), { gw: g.id, sub: "a", role: "admin", exp: 9e9 }),
    /signature/,
  ],
  [
    "not yet valid",
    async (g) =>
      new SignJWT({ gw: g.id, sub: "a" })
        .setProtectedHeader({ alg: "HS256" })
        .setNotBefore("1h")
        .setExpirationTime("2h")
        .sign(secret()),
    /"nbf"/,
  ],
  ["without gw", async () => signToken({ sub: "a" }), /"gw"/],
  ["with a list for gw", async (g) => signToken({ gw: [g.id], sub: "a" }), /"gw"/],
  ["without sub", async (g) => signToken({ gw: g.id }), /"sub"/],
  ["with an empty sub", async (g) => signToken({ gw: g.id, sub: "" }), /"sub"/],
  ["of an unknown role", async (g) => signToken({ gw: g.id, sub: "a", role: "superuser" }), /"role"/],
  ["too long", async (g) => signToken({ gw: g.id, sub: "a", more: "x".repeat(9000) }), /8192/],
];
const secret = () => new TextEncoder().encode(bindings.JWT_SECRET);
const signWith = (claims: Json, key: Uint8Array | CryptoKey, alg = "HS256") =>
  new SignJWT(claims).setProtectedHeader({ alg }).setExpirationTime("1h").sign(key);
const part = (value: Json) => btoa(JSON.stringify(value)).replace(/=+$/, "").replace(/\+/g, "-").replace(/\//g, "_");
const forgeHeader = (token: string, header: Json) => `${part(header)}.${token.split(".")[1]}.${token.split(".")[2]}`;
const forgeBody = (token: string, body: Json) => `${token.split(".")[0]}.${part(body)}.${token.split(".")[2]}`;

test.each(refused)("[S2] a token %s is refused, with the reason", async (_, make, reason) => {
  const gateway = new TestGateway();
  const { status, body, headers } = await gateway.request(await make(gateway), "POST", "/pull", {});
  expect([status, body.error.code, headers.get("www-authenticate")]).toEqual([401, "Unauthenticated", "Bearer"]);
  expect(body.error.message).toMatch(reason);
});

test("[S2] a public key does not pass for a shared secret", async () => {
  const gateway = new TestGateway();
  const { publicKey, privateKey } = await generateKeyPair("RS256", { extractable: true });
  const claims = { gw: gateway.id, sub: "a", role: "admin" };
  const asSecret = await signWith(claims, new TextEncoder().encode(await exportSPKI(publicKey)));
  expect((await gateway.request(asSecret, "GET", "/admin/status")).status).toBe(401);
  const { body } = await gateway.request(await signWith(claims, privateKey, "RS256"), "GET", "/admin/status");
  expect(body.error.message).toMatch(/algorithm that this gateway does not take/);
});

test("[S2] published keys open the gateway for tokens of their algorithms and for no shared secret", async () => {
  const gateway = new TestGateway();
  const claims = { gw: gateway.id, sub: "a", role: "admin" };
  const pairs = await Promise.all(
    ["RS256", "ES256", "EdDSA"].map(async (alg) => ({
      alg,
      kid: alg,
      ...(await generateKeyPair(alg, { extractable: true })),
    })),
  );
  const keys = await Promise.all(
    pairs.map(async ({ alg, kid, publicKey }) => ({ ...(await exportJWK(publicKey)), alg, kid })),
  );
  let served: () => Response = () => Response.json({ keys });
  vi.stubGlobal("fetch", async () => served());
  onTestFinished(() => void vi.unstubAllGlobals());
  let urls = 0;
  const ask = async (token: string, more: object = {}) => {
    const env = { ...bindings, JWKS_URL: `https://issuer.example/keys${urls}`, ...more };
    const headers = { authorization: `Bearer ${token}` };
    const response = await createApp().request(`http://gateway/v1/${gateway.id}/admin/status`, { headers }, env);
    return response.ok ? "open" : ((await response.json()) as { error: { code: string } }).error.code;
  };
  const sign = ({ alg, kid, privateKey }: { alg: string; kid: string; privateKey: CryptoKey }) =>
    new SignJWT(claims).setProtectedHeader({ alg, kid }).setExpirationTime("1h").sign(privateKey);
  const [rs, es, ed] = await Promise.all(pairs.map(sign));
  expect([await ask(rs as string), await ask(es as string), await ask(ed as string)]).toEqual(["open", "open", "open"]);
  expect(await ask(es as string, { JWT_ALGORITHMS: "RS256" })).toBe("Unauthenticated");
  expect(await ask(await gateway.admin())).toBe("Unauthenticated");
  const pem = await exportSPKI((pairs[0] as (typeof pairs)[0]).publicKey);
  expect(await ask(await signWith(claims, new TextEncoder().encode(pem)))).toBe("Unauthenticated");
  const stranger = await generateKeyPair("RS256");
  expect(await ask(await sign({ alg: "RS256", kid: "RS256", privateKey: stranger.privateKey }))).toBe(
    "Unauthenticated",
  );
  expect(await ask(await sign({ alg: "RS256", kid: "unknown", privateKey: stranger.privateKey }))).toBe(
    "Unauthenticated",
  );
  // Keys that cannot be had are no fault of the token.
  for (served of [
    () => new Response("down", { status: 503 }),
    () => new Response("no keys"),
    () => {
      throw new TypeError("network");
    },
  ]) {
    urls++;
    expect(await ask(rs as string)).toBe("Unavailable");
  }
});

test("[S2] every admin route needs the admin role", async () => {
  const gateway = await todos();
  for (const claims of [{}, { role: "client" }, { roles: ["admin"] }, { admin: true }])
    for (const [method, path, body] of ADMIN) {
      const answer = await gateway.request(await gateway.token("alice", claims), method, path, body);
      expect([method, path, answer.status, answer.body.error.code]).toEqual([method, path, 403, "Forbidden"]);
      expect(answer.body.error.message).toContain('"role": "admin"');
    }
  for (const [method, path, body] of ADMIN)
    if (path !== "/admin/flush")
      expect([path, (await gateway.request(await gateway.admin(), method, path, body)).status]).toEqual([path, 200]);
});

const NASTY = [
  "todos'; DROP TABLE rows; --",
  'todos" OR "1"="1',
  "../../common",
  "todos/1",
  "todos.1.0",
  "..",
  "todos\0",
  "__proto__",
  "lakesync_rows",
  "todos__changes",
  "t".repeat(64),
  "naïve",
  " todos",
];

test("[S3] a name with SQL or a path in it is no table, no column and no gateway", async () => {
  const gateway = await todos();
  const admin = await gateway.admin();
  for (const name of NASTY) {
    const path = `/admin/tables/${encodeURIComponent(name)}`;
    const table = await gateway.request(admin, "PUT", path, { columns: TODOS });
    expect([name, table.status >= 400 && table.status < 500]).toEqual([name, true]);
    const column = await gateway.putTable("fine", [{ name, type: "string" }]);
    expect([name, column.status, column.body.error.code]).toEqual([name, 400, "BadRequest"]);
    const rules = await gateway.putRules([{ name: "b", tables: [name] }]);
    expect([name, rules.status]).toEqual([name, 400]);
    const pull = await gateway.pull("alice", "", { tables: [name] });
    expect([name, pull.status, pull.body.error.code]).toEqual([name, 400, "BadIdentifier"]);
    const token = await signToken({ gw: name, sub: "a", role: "admin" });
    expect([
      name,
      (await send(`/v1/${encodeURIComponent(name)}/admin/status`, { headers: { authorization: `Bearer ${token}` } }))
        .status,
    ]).not.toEqual([name, 200]);
  }
  expect((await gateway.status()).tables.map((t: Json) => t.table)).toEqual(["todos"]);
});

test("[S3] SQL in row ids and values is text, and names of Object's own are names like any other", async () => {
  const gateway = await todos([{ name: "all", tables: ["todos"] }]);
  const ids = [
    "'; DROP TABLE rows; --",
    '" OR 1=1 --',
    "../../x",
    "%2e%2e",
    "a\\b",
    "row 🦀",
    "__proto__",
    "constructor",
  ];
  const pushed = await gateway.push(
    "alice",
    "a1",
    ids.map((id) => insert(id, "alice", { title: `'); DELETE FROM log; -- ${id}` })),
  );
  expect(pushed.body.acceptedCount).toBe(ids.length);
  const rows = (await gateway.pull("alice")).body.rows as Json[];
  expect(rows.map((r) => r.rowId).sort()).toEqual([...ids].sort());
  for (const name of ["constructor", "toString", "hasOwnProperty"]) {
    expect((await gateway.putTable(name, [{ name, type: "string" }], { shards: 2 })).status).toBe(200);
    await gateway.putRules([{ name: "all", tables: ["todos", name] }]);
    const one = await gateway.push("alice", "a1", [
      { ...insert("r", "x"), table: name, columns: [{ column: name, value: "v" }] },
    ]);
    expect(one.body, name).toMatchObject({ acceptedCount: 1 });
    expect((await gateway.pull("alice", "", { tables: [name] })).body.rows).toMatchObject([
      { table: name, rowId: "r" },
    ]);
  }
});

/** HTTP itself: media types, gzip, CORS, request ids, methods, errors. */
import { env } from "cloudflare:test";
import { expect, test } from "vitest";
import { decodeMessage, encodeBinary, PROTOBUF, proto, unwrap } from "../schemas/index.ts";
import { createApp } from "./app.ts";
import { ALL, insert, send, signToken, TestGateway, TODOS, todos } from "./testing/gateway.ts";

const errorOf = (bytes: Uint8Array) => unwrap(decodeMessage(proto.ErrorBodySchema, bytes));

test("a push in JSON and a push in protobuf are answered alike, each in the form that was asked for", async () => {
  const gateway = await todos(ALL);
  const token = await gateway.token("alice");
  const json = { clientId: "a1", deltas: [insert("r1", "alice")] };
  const pushed = await gateway.request(token, "POST", "/push", json, { accept: PROTOBUF });
  expect(pushed.headers.get("content-type")).toBe(PROTOBUF);
  expect(unwrap(decodeMessage(proto.PushResponseSchema, pushed.body)).acceptedCount).toBe(1);
  const request = encodeBinary(proto.PullRequestSchema, {});
  const pulled = await gateway.request(token, "POST", "/pull", request, {
    "content-type": PROTOBUF,
    accept: "application/json",
  });
  expect(pulled.headers.get("content-type")).toBe("application/json");
  expect(pulled.body.rows).toMatchObject([
    {
      rowId: "r1",
      columns: expect.arrayContaining([{ column: "title", value: "r1", hlc: json.deltas[0]?.hlc, clientId: "a1" }]),
    },
  ]);
  expect(pulled.body.serverHlc).toMatch(/^\d+$/);
});

test("errors come in the form that was asked for", async () => {
  const gateway = await todos(ALL);
  const { status, headers, body } = await gateway.request(
    await gateway.token("alice"),
    "POST",
    "/pull",
    { cursor: "x" },
    { accept: PROTOBUF },
  );
  expect([status, headers.get("content-type")]).toEqual([400, PROTOBUF]);
  expect(errorOf(body)).toMatchObject({ code: "BadCursor", message: expect.stringContaining("leave it out") });
  const anonymous = await gateway.request(undefined, "POST", "/pull", {}, { accept: PROTOBUF });
  expect([anonymous.status, errorOf(anonymous.body).code]).toEqual([401, "Unauthenticated"]);
});

test("an answer that nobody can read is refused before the push lands", async () => {
  const gateway = await todos(ALL);
  const push = { clientId: "a1", deltas: [insert("r1", "alice")] };
  const { status, body } = await gateway.request(await gateway.token("alice"), "POST", "/push", push, {
    accept: "text/html",
  });
  expect([status, body.error.code]).toEqual([406, "NotAcceptable"]);
  expect((await gateway.pull("alice")).body.rows).toEqual([]);
  for (const accept of ["*/*", "application/*", "text/html, application/json;q=0.9"])
    expect((await gateway.request(await gateway.token("alice"), "POST", "/pull", {}, { accept })).status).toBe(200);
});

test("bodies are gzipped both ways when asked, and only then", async () => {
  const gateway = await todos(ALL);
  const token = await gateway.token("alice");
  const push = JSON.stringify({
    clientId: "a1",
    deltas: Array.from({ length: 50 }, (_, i) => insert(`r${i}`, "alice")),
  });
  const zipped = new Response(new Response(push).body?.pipeThrough(new CompressionStream("gzip")));
  const bytes = new Uint8Array(await zipped.arrayBuffer());
  expect(
    (await gateway.request(token, "POST", "/push", bytes, { "content-encoding": "gzip" })).body.acceptedCount,
  ).toBe(50);
  const url = `http://gateway/v1/${gateway.id}/pull`;
  const headers = { authorization: `Bearer ${token}`, "accept-encoding": "gzip" };
  const app = createApp();
  const ask = (more: Record<string, string>) => app.request(url, { headers: { ...headers, ...more } }, env);
  const packed = await ask({});
  expect(packed.headers.get("content-encoding")).toBe("gzip");
  const plain = await ask({ "accept-encoding": "gzip;q=0, identity" });
  expect(plain.headers.get("content-encoding")).toBeNull();
  const unpacked = new Response(packed.body?.pipeThrough(new DecompressionStream("gzip")));
  const rows = async (r: Response) => ((await r.json()) as { rows: unknown[] }).rows;
  expect(await rows(unpacked)).toEqual(await rows(plain));
  expect(packed.headers.get("vary")?.split(", ")).toEqual(expect.arrayContaining(["accept-encoding", "origin"]));
});

test("[S5] a browser may call from the origins that are configured, and from no other", async () => {
  const app = createApp();
  const ask = async (origin: string, origins: string | undefined, method = "GET", path = "/health") => {
    const headers = {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization",
    };
    const response = await app.request(
      `http://gateway${path}`,
      { method, headers },
      { ...(env as object), CORS_ORIGINS: origins },
    );
    return response.headers.get("access-control-allow-origin");
  };
  const ours = "https://app.example.org";
  for (const method of ["GET", "OPTIONS"]) {
    expect(await ask(ours, undefined, method)).toBeNull();
    expect(await ask(ours, "", method)).toBeNull();
    expect(await ask(ours, `https://other.example, ${ours}`, method)).toBe(ours);
    for (const evil of [
      "https://app.example.org.evil.example",
      "https://evil.example",
      "null",
      "https://APP.example.org",
    ])
      expect([evil, await ask(evil, ours, method)]).toEqual([evil, null]);
  }
  expect(await ask(ours, ours, "POST", "/v1/demo/push")).toBe(ours); // a refusal, which the browser lets the app read
});

test("every answer carries a request id: the caller's if it is sound, else a new one", async () => {
  const ours = await send("/health", { headers: { "x-request-id": "abc-123" } });
  expect(ours.headers.get("x-request-id")).toBe("abc-123");
  for (const bad of ["a b", "x".repeat(65), '{"inject":1}'])
    expect((await send("/health", { headers: { "x-request-id": bad } })).headers.get("x-request-id")).toMatch(
      /^[0-9a-f-]{36}$/,
    );
  for (const path of ["/nothing", "/v1/demo/pull", "/v1/a b/pull"])
    expect((await send(path)).headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
});

test("a path that is not there is 404; one that is there with another method is 405 and says which", async () => {
  const gateway = await todos(ALL);
  const admin = await gateway.admin();
  const missing = await send("/nothing-here");
  expect([missing.status, missing.body.error.code]).toEqual([404, "NotFound"]);
  expect(missing.body.error.message).toBe("There is nothing at /nothing-here; /openapi.json lists the routes.");
  expect((await gateway.request(admin, "GET", "/nothing")).status).toBe(404);
  expect((await send(`/${"x".repeat(5000)}`)).body.error.message.length).toBeLessThan(400);
  for (const [method, path, allow] of [
    ["GET", "/push", "POST"],
    ["DELETE", "/pull", "GET, HEAD, POST"],
    ["POST", "/admin/tables/todos", "GET, HEAD, PUT"],
    ["PATCH", "/admin/sync-rules", "GET, HEAD, PUT"],
    ["GET", "/admin/flush", "POST"],
    ["POST", "/ws", "GET, HEAD"],
  ] as const) {
    const { status, body, headers } = await gateway.request(admin, method, path);
    expect([path, status, body.error.code, headers.get("allow")]).toEqual([path, 405, "MethodNotAllowed", allow]);
    expect(body.error.message).toContain(`use ${allow}`);
  }
  expect((await send("/health", { method: "POST" })).status).toBe(405);
});

test("HEAD answers like GET, without a body", async () => {
  const gateway = await todos(ALL);
  expect(await send("/health", { method: "HEAD" })).toMatchObject({ status: 200, body: "" });
  expect(await gateway.request(await gateway.admin(), "HEAD", "/admin/status")).toMatchObject({
    status: 200,
    body: expect.anything(),
  });
});

test("[S5] a failure inside shows no stack and no secret, and names the request", async () => {
  const app = createApp();
  const gateway = new TestGateway();
  const headers = {
    authorization: `Bearer ${await signToken({ gw: gateway.id, sub: "a", role: "admin" })}`,
    "x-request-id": "find-me",
  };
  const broken = {
    ...(env as object),
    TENANT: {
      getByName: () => {
        throw new TypeError(`secret ${(env as { JWT_SECRET: string }).JWT_SECRET}`);
      },
    },
  };
  const response = await app.request(`http://gateway/v1/${gateway.id}/admin/status`, { headers }, broken);
  const body = await response.text();
  expect([response.status, JSON.parse(body).error.code]).toEqual([500, "Internal"]);
  expect(body).toContain("find-me");
  expect(body).not.toMatch(/secret|TypeError|\.ts|at /);
});

test("[S2] a gateway without a usable secret or with an unusable configuration lets nobody in", async () => {
  const gateway = new TestGateway();
  const token = await gateway.admin();
  const ask = async (more: object) => {
    const headers = { authorization: `Bearer ${token}` };
    const response = await createApp().request(
      `http://gateway/v1/${gateway.id}/admin/status`,
      { headers },
      { ...(env as object), ...more },
    );
    return ((await response.json()) as { error: { code: string } }).error.code;
  };
  expect(await ask({ JWT_SECRET: undefined })).toBe("Misconfigured");
  expect(await ask({ JWT_SECRET: "short" })).toBe("Misconfigured");
  expect(await ask({ JWT_ALGORITHMS: "none" })).toBe("Misconfigured");
  expect(await ask({ JWKS_URL: "no address" })).toBe("Misconfigured");
  expect(await ask({ JWT_ISSUER: "https://issuer" })).toBe("Unauthenticated");
  expect(await ask({ JWT_AUDIENCE: "us" })).toBe("Unauthenticated");
});

test("an admin puts a table and rules, reads them back, and is told what cannot change", async () => {
  const gateway = new TestGateway();
  const admin = await gateway.admin();
  const put = await gateway.putTable("todos", TODOS);
  expect(put.body).toMatchObject({
    table: "todos",
    version: 1,
    shards: 0,
    columns: [{ id: 1, name: "title", type: "string", nullable: true }, {}, {}, {}],
  });
  expect((await gateway.request(admin, "GET", "/admin/tables/todos")).body).toEqual(put.body);
  expect((await gateway.putTable("todos", TODOS)).body.version).toBe(1);
  expect((await gateway.putTable("todos", [...TODOS, { name: "due", type: "timestamp" }])).body).toMatchObject({
    version: 2,
    lastColumnId: 5,
  });
  for (const [columns, message] of [
    [TODOS.slice(1), /"title" is missing; columns can be added, not taken away/],
    [
      [{ name: "title", type: "integer" }, ...TODOS.slice(1)],
      /"title" is string and cannot become integer; add a new column/,
    ],
    [[{ ...TODOS[0], nullable: false }, ...TODOS.slice(1)], /cannot change whether it takes NULL/],
    [
      [...TODOS, { name: "due", type: "timestamp" }, { name: "must", type: "string", nullable: false }],
      /"must" has to be nullable/,
    ],
  ] as const) {
    const { status, body } = await gateway.putTable("todos", columns as never);
    expect([status, body.error.code, body.error.message]).toEqual([409, "Conflict", expect.stringMatching(message)]);
  }
  expect((await gateway.putTable("TODOS", TODOS)).status).toBe(409);
  expect((await gateway.request(admin, "GET", "/admin/tables/other")).body.error.message).toContain("PUT its schema");
  const rules = await gateway.putRules(ALL);
  expect(rules.body).toEqual({ buckets: [{ name: "all", tables: ["todos"], filters: [] }], version: 1 });
  expect((await gateway.request(admin, "GET", "/admin/sync-rules")).body).toEqual(rules.body);
});

test("/openapi.json has every route of the app, and no other", async () => {
  const { body } = await send("/openapi.json");
  const METHODS = ["get", "put", "post", "delete", "patch"];
  const documented = Object.entries(body.paths as Record<string, object>).flatMap(([path, item]) =>
    Object.keys(item)
      .filter((key) => METHODS.includes(key))
      .map((method) => `${method.toUpperCase()} ${path}`),
  );
  const routes = createApp().routes.filter(({ method }) => method !== "ALL");
  const served = routes.map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);
  expect([...new Set(documented)].sort()).toEqual([...new Set(served)].sort());
});

/** The REST protocol in process: the Hono app over the embedded catalogue, and our own client against it. */
import { Hono } from "hono";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { catalogueContract, NodeSqlStore } from "../../core/testing.ts";
import {
  type CatalogueServer,
  EmbeddedCatalogue,
  MemoryStore,
  parseJson,
  type RestAuth,
  RestCatalogue,
  stringifyJson,
} from "../../lake/index.ts";
import { LakeSyncError, unwrap } from "../../schemas/index.ts";
import { icebergRoutes } from "./iceberg.ts";

let serial = 0;
const newId = () => `00000000-0000-4000-8000-${String(++serial).padStart(12, "0")}`;
let nowMs = 1_700_000_000_000;
const clock = { now: () => ++nowMs };

/** Tokens of these tests are "gateway.role.signature". */
function serve(wrap: (catalogue: CatalogueServer) => CatalogueServer = (catalogue) => catalogue) {
  const store = new MemoryStore({ location: "s3://lake", clock });
  const catalogues = new Map<string, CatalogueServer>();
  const routes = icebergRoutes({
    requireGateway(c) {
      const token = /^Bearer (\w+)\.(\w+)\.ok$/.exec(c.req.header("Authorization") ?? "");
      if (token?.[1] === undefined || token[2] === undefined)
        throw new LakeSyncError("Unauthenticated", "Send a token.");
      return { gatewayId: token[1], role: token[2] };
    },
    catalogueFor(gatewayId) {
      const known = catalogues.get(gatewayId);
      const catalogue =
        known ?? wrap(new EmbeddedCatalogue({ sql: new NodeSqlStore(), store, gatewayId, clock, newId }));
      catalogues.set(gatewayId, catalogue);
      return catalogue;
    },
    defaults: { "s3.region": "auto" },
  });
  const app = new Hono().route("/iceberg", routes);
  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const response = await app.request(`/iceberg${path}`, {
      method,
      headers: { Authorization: "Bearer demo.admin.ok", ...headers },
      ...(body !== undefined && { body: typeof body === "string" ? body : stringifyJson(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      text,
      // biome-ignore lint/suspicious/noExplicitAny: answers are compared member by member
      body: (text === "" ? null : parseJson(text)) as any,
    };
  };
  return { app, call };
}

const overHttp = (app: Hono): typeof fetch =>
  (async (url: string, init: RequestInit) => app.request(url, init)) as typeof fetch;

catalogueContract("REST client against the embedded catalogue", async () => {
  const { app } = serve();
  const catalogue = new RestCatalogue({
    uri: "http://lake.test/iceberg/",
    warehouse: "demo",
    auth: { type: "bearer", token: "demo.admin.ok" },
    fetch: overHttp(app),
    clock,
  });
  return { catalogue, namespace: ["shop", "eu"] };
});

const schema = { type: "struct", "schema-id": 0, fields: [{ id: 1, name: "id", required: true, type: "string" }] };
const at = "/v1/demo/namespaces";

describe("the protocol", () => {
  let call: ReturnType<typeof serve>["call"];
  beforeEach(async () => {
    call = serve().call;
    await call("POST", at, { namespace: ["shop"], properties: { owner: "x" } });
    await call("POST", `${at}/shop/tables`, { name: "t", schema });
  });

  test("[L1] config names the prefix, the endpoints and the defaults; the warehouse has to be the gateway", async () => {
    const config = await call("GET", "/v1/config?warehouse=demo");
    expect(config.body).toMatchObject({ overrides: { prefix: "demo" }, defaults: { "s3.region": "auto" } });
    expect(config.body.endpoints).toContain("POST /v1/{prefix}/transactions/commit");
    expect((await call("GET", "/v1/config")).status).toBe(200);
    const other = await call("GET", "/v1/config?warehouse=other");
    expect(other.body.error).toMatchObject({ code: 404, type: "NoSuchWarehouseException" });
  });

  test("[L1] every endpoint that config lists answers, and with something else than 'not offered'", async () => {
    const { endpoints } = (await call("GET", "/v1/config")).body;
    for (const endpoint of endpoints as string[]) {
      const [method = "", path = ""] = endpoint.split(" ");
      const filled = path.replace("{prefix}", "demo").replace("{namespace}", "shop").replace("{table}", "t");
      expect([endpoint, (await call(method, filled, method === "POST" ? {} : undefined)).status]).not.toEqual([
        endpoint,
        406,
      ]);
    }
  });

  test("[L1] namespaces: levels are joined by %1F; HEAD says whether there is one", async () => {
    expect((await call("POST", at, { namespace: ["shop", "eu"] })).body).toEqual({
      namespace: ["shop", "eu"],
      properties: {},
    });
    expect((await call("GET", `${at}?parent=shop`)).body.namespaces).toEqual([["shop", "eu"]]);
    expect((await call("GET", `${at}?parent=`)).body).toEqual({ namespaces: [["shop"]], "next-page-token": null });
    expect((await call("GET", `${at}/shop%1Feu`)).body.namespace).toEqual(["shop", "eu"]);
    expect((await call("HEAD", `${at}/shop%1Feu`)).status).toBe(204);
    expect((await call("HEAD", `${at}/nowhere`)).status).toBe(404);
    const change = { removals: ["owner", "none"], updates: { team: "y" } };
    expect((await call("POST", `${at}/shop/properties`, change)).body).toEqual({
      updated: ["team"],
      removed: ["owner"],
      missing: ["none"],
    });
    expect((await call("DELETE", `${at}/shop`)).body.error).toMatchObject({
      code: 409,
      type: "NamespaceNotEmptyException",
    });
    expect((await call("DELETE", `${at}/shop%1Feu`)).status).toBe(204);
  });

  test.each([
    ["GET", `${at}/none`, undefined, 404, "NoSuchNamespaceException"],
    ["GET", `${at}?parent=none`, undefined, 404, "NoSuchNamespaceException"],
    ["GET", `${at}/none/tables`, undefined, 404, "NoSuchNamespaceException"],
    ["POST", `${at}/none/tables`, { name: "t", schema }, 404, "NoSuchNamespaceException"],
    ["POST", at, { namespace: ["shop"] }, 409, "AlreadyExistsException"],
    ["POST", `${at}/shop/tables`, { name: "t", schema }, 409, "AlreadyExistsException"],
    ["POST", `${at}/shop/tables`, { name: "t", schema, "stage-create": true }, 409, "AlreadyExistsException"],
    ["GET", `${at}/shop/tables/none`, undefined, 404, "NoSuchTableException"],
    ["DELETE", `${at}/shop/tables/none`, undefined, 404, "NoSuchTableException"],
    ["POST", `${at}/shop/tables/none`, { requirements: [], updates: [] }, 404, "NoSuchTableException"],
    ["POST", `${at}/shop/tables/none/metrics`, {}, 404, "NoSuchTableException"],
    [
      "POST",
      `${at}/shop/tables/t`,
      { requirements: [{ type: "assert-create" }], updates: [] },
      409,
      "CommitFailedException",
    ],
    ["POST", `${at}/shop/tables/t`, { requirements: [], updates: [{ action: "boil" }] }, 400, "BadRequestException"],
    ["POST", `${at}/shop/tables/t`, "{", 400, "BadRequestException"],
    ["POST", `${at}/shop/tables/t`, "[]", 400, "BadRequestException"],
    ["POST", `${at}/shop/properties`, { removals: ["a"], updates: { a: "1" } }, 422, "UnprocessableEntityException"],
    ["GET", "/v1/demo/views", undefined, 406, "UnsupportedOperationException"],
    ["GET", "/v1/other/namespaces", undefined, 403, "ForbiddenException"],
    ["GET", "/v1/demo%2F..%2Fother/namespaces", undefined, 403, "ForbiddenException"],
  ])("[S5] %s %s: %o is %i %s, with a sentence and no stack", async (method, path, body, status, type) => {
    const answer = await call(method, path, body);
    expect(answer.status).toBe(status);
    expect(answer.body).toEqual({ error: { message: expect.any(String), type, code: status } });
    expect(answer.headers.get("content-type")).toBe("application/json");
  });

  test.each([
    ["no token", {}, 401, "NotAuthorizedException"],
    ["a wrong token", { Authorization: "Bearer demo.admin.forged" }, 401, "NotAuthorizedException"],
    ["a client's token", { Authorization: "Bearer demo.client.ok" }, 403, "ForbiddenException"],
  ])("[PL7] with %s nothing of the catalogue is shown", async (_what, headers, status, type) => {
    const { app } = serve();
    for (const path of ["/v1/config", at, `${at}/shop`, `${at}/shop/tables`, `${at}/shop/tables/t`]) {
      const answer = await app.request(`/iceberg${path}`, { headers });
      expect([path, answer.status, ((await answer.json()) as { error: { type: string } }).error.type]).toEqual([
        path,
        status,
        type,
      ]);
    }
    expect((await app.request("/iceberg/v1/config", { headers })).headers.has("WWW-Authenticate")).toBe(status === 401);
  });

  test("[S1] two gateways share no namespace, table or key", async () => {
    const other = { Authorization: "Bearer acme.admin.ok" };
    expect((await call("GET", "/v1/acme/namespaces", undefined, other)).body.namespaces).toEqual([]);
    expect((await call("GET", `${at}/shop/tables/t`, undefined, other)).status).toBe(403);
    const mine = (await call("GET", `${at}/shop/tables/t`)).body["metadata-location"];
    await call("POST", "/v1/acme/namespaces", { namespace: ["shop"] }, other);
    const stolen = { name: "t", "metadata-location": mine };
    expect((await call("POST", "/v1/acme/namespaces/shop/register", stolen, other)).status).toBe(403);
  });

  test("[L1] a loaded table has an ETag that its refs-only form does not share", async () => {
    const path = `${at}/shop/tables/t`;
    const all = await call("GET", path, undefined, {
      "X-Iceberg-Access-Delegation": "vended-credentials,remote-signing",
    });
    expect(all.status).toBe(200);
    const tag = all.headers.get("ETag") ?? "";
    expect((await call("GET", path, undefined, { "If-None-Match": tag })).status).toBe(304);
    expect((await call("GET", `${path}?snapshots=refs`, undefined, { "If-None-Match": tag })).status).toBe(200);
    const update = { requirements: [], updates: [{ action: "set-properties", updates: { k: "1" } }] };
    expect((await call("POST", path, update)).headers.get("ETag")).not.toBe(tag);
    expect((await call("GET", path, undefined, { "If-None-Match": tag })).body.metadata.properties).toEqual({ k: "1" });
  });

  test("[L1] a 64-bit id crosses as a bare number, and refs-only leaves out what no ref names", async () => {
    const path = `${at}/shop/tables/t`;
    const snapshot = (id: bigint, seq: number) => ({
      action: "add-snapshot",
      snapshot: {
        "snapshot-id": id,
        "sequence-number": seq,
        "timestamp-ms": 1,
        "manifest-list": "s3://x",
        summary: { operation: "append" },
      },
    });
    const id = 9_223_372_036_854_775_807n;
    const main = { action: "set-snapshot-ref", "ref-name": "main", type: "branch", "snapshot-id": id };
    const commit = await call("POST", path, { requirements: [], updates: [snapshot(7n, 1), snapshot(id, 2), main] });
    expect(commit.text).toContain(`"current-snapshot-id":${id}`);
    expect((await call("GET", `${path}?snapshots=refs`)).body.metadata.snapshots).toHaveLength(1);
    expect((await call("GET", path)).body.metadata.snapshots).toHaveLength(2);
  });

  test("[L1] a staged create shows metadata without a location of it; a drop may purge; a rename moves", async () => {
    const staged = await call("POST", `${at}/shop/tables`, { name: "s", schema, "stage-create": true });
    expect(staged.body["metadata-location"]).toBeUndefined();
    expect(staged.body.metadata.location).toMatch(/^s3:\/\/lake\/demo\/shop\/s-/);
    const name = (table: string) => ({ namespace: ["shop"], name: table });
    expect((await call("POST", "/v1/demo/tables/rename", { source: name("t"), destination: name("u") })).status).toBe(
      204,
    );
    expect((await call("HEAD", `${at}/shop/tables/u`)).status).toBe(204);
    expect((await call("HEAD", `${at}/shop/tables/t`)).status).toBe(404);
    expect((await call("GET", `${at}/shop/tables?pageToken=&pageSize=5`)).body).toEqual({
      identifiers: [name("u")],
      "next-page-token": null,
    });
    expect((await call("DELETE", `${at}/shop/tables/u?purgeRequested=true`)).status).toBe(204);
  });

  test("[L2] a transaction over two tables lands whole or not at all", async () => {
    await call("POST", `${at}/shop/tables`, { name: "u", schema });
    const change = (name: string, requirements: object[] = []) => ({
      identifier: { namespace: ["shop"], name },
      requirements,
      updates: [{ action: "set-properties", updates: { k: "1" } }],
    });
    const stale = { type: "assert-current-schema-id", "current-schema-id": 3 };
    const commit = (...changes: object[]) => call("POST", "/v1/demo/transactions/commit", { "table-changes": changes });
    expect((await commit(change("t"), change("u", [stale]))).body.error).toMatchObject({
      code: 409,
      type: "CommitFailedException",
    });
    expect((await call("GET", `${at}/shop/tables/t`)).body.metadata.properties).toEqual({});
    expect((await commit(change("t"), change("u"))).status).toBe(204);
    expect((await call("GET", `${at}/shop/tables/u`)).body.metadata.properties).toEqual({ k: "1" });
  });

  test("[L2] a commit that breaks off inside is answered as unknown, any other failure as an error without its words", async () => {
    const breaking = serve((catalogue) => {
      vi.spyOn(catalogue, "commit").mockRejectedValue(new Error("secret of the house"));
      vi.spyOn(catalogue, "listTables").mockRejectedValue(new Error("secret of the house"));
      return catalogue;
    });
    const commit = await breaking.call("POST", `${at}/shop/tables/t`, { requirements: [], updates: [] });
    expect(commit.body.error).toMatchObject({ code: 500, type: "CommitStateUnknownException" });
    const list = await breaking.call("GET", `${at}/shop/tables`);
    expect(list.body.error).toMatchObject({ code: 500, type: "InternalServerError" });
    expect(commit.text + list.text).not.toContain("secret");
  });

  test("[S2] client credentials: the secret is a token and comes back as one; anything else is an OAuth error", async () => {
    const form = (fields: Record<string, string>, headers = {}) =>
      call("POST", "/v1/oauth/tokens", new URLSearchParams(fields).toString(), {
        "Content-Type": "application/x-www-form-urlencoded",
        ...headers,
      });
    const grant = { grant_type: "client_credentials" };
    expect((await form({ ...grant, client_id: "me", client_secret: "a.b.c" })).body).toMatchObject({
      access_token: "a.b.c",
      token_type: "bearer",
    });
    expect((await form(grant, { Authorization: `Basic ${btoa("me:a.b.c")}` })).body.access_token).toBe("a.b.c");
    expect((await form({ ...grant, client_secret: "hunter2" })).body).toMatchObject({ error: "invalid_client" });
    expect((await form({ grant_type: "password" })).body).toMatchObject({ error: "unsupported_grant_type" });
  });
});

describe("the client against servers that misbehave", () => {
  const ident = { namespace: ["a"], name: "t" };
  const answers = (...replies: (Response | Error)[]) => {
    const asked: { url: string; init: RequestInit }[] = [];
    const fake = async (url: string, init: RequestInit) => {
      asked.push({ url, init });
      const reply = replies.shift();
      if (reply === undefined) throw new Error(`nothing more to answer to ${url}`);
      if (reply instanceof Error) throw reply;
      return reply;
    };
    return { asked, fetch: fake as typeof fetch };
  };
  const reply = (status: number, body: unknown = {}) => new Response(stringifyJson(body), { status });
  const config = () => reply(200, { defaults: {}, overrides: {} });
  const client = (fetch: typeof globalThis.fetch, auth: RestAuth = { type: "none" }) =>
    new RestCatalogue({ uri: "http://c.test", auth, fetch, clock });
  const failure = (status: number, type: string) => reply(status, { error: { message: "m", type, code: status } });

  test.each([
    ["409", failure(409, "CommitFailedException"), "conflict"],
    ["409 without a body", new Response("", { status: 409 }), "conflict"],
    ["500", failure(500, "CommitStateUnknownException"), "unknown"],
    ["500 of a proxy", new Response("<html>", { status: 502 }), "unknown"],
    ["503", failure(503, "SlowDownException"), "unknown"],
    ["504", failure(504, "X"), "unknown"],
    ["a broken connection", new TypeError("reset"), "unknown"],
    ["a timeout", new DOMException("late", "TimeoutError"), "unknown"],
    ["200 without a table", reply(200, {}), "unknown"],
    ["200 that is not JSON", new Response("ok"), "unknown"],
  ])("[L2] a commit answered by %s is %s", async (_what, answer, outcome) => {
    const { fetch } = answers(config(), answer);
    expect(unwrap(await client(fetch).commit(ident, [], []))).toMatchObject({ outcome });
  });

  test.each([
    [400, "BadRequest"],
    [401, "Unauthenticated"],
    [403, "Forbidden"],
    [404, "NotFound"],
    [429, "RateLimited"],
  ])("[L2] a commit refused with %i did not land: an error, %s", async (status, code) => {
    const { fetch } = answers(config(), failure(status, "X"));
    expect(await client(fetch).commit(ident, [], [])).toMatchObject({ ok: false, error: { code } });
  });

  test("[L1] the handshake decides prefix, address and separator, happens once, and is tried again when it failed", async () => {
    const session = { defaults: {}, overrides: { prefix: "p/q", uri: "http://d.test/", "namespace-separator": "%2E" } };
    const { asked, fetch } = answers(reply(503), reply(200, session), reply(404), reply(200, { identifiers: [] }));
    const catalogue = client(fetch);
    expect(await catalogue.load(ident)).toMatchObject({ ok: false, error: { code: "DestinationUnavailable" } });
    expect(await catalogue.load({ namespace: ["a", "b c"], name: "t/u" })).toMatchObject({
      error: { code: "NotFound" },
    });
    unwrap(await catalogue.listTables(["a"]));
    expect(asked.map(({ url }) => url).slice(2)).toEqual([
      "http://d.test/v1/p/q/namespaces/a.b%20c/tables/t%2Fu",
      "http://d.test/v1/p/q/namespaces/a/tables",
    ]);
  });

  test("[L1] an endpoint that the server does not list is not called", async () => {
    const { asked, fetch } = answers(reply(200, { endpoints: ["GET /v1/{prefix}/namespaces/{namespace}"] }));
    expect(await client(fetch).load(ident)).toMatchObject({ ok: false, error: { code: "NotAcceptable" } });
    expect(asked).toHaveLength(1);
  });

  test("[L1] a listing goes on to its last page; a namespace is made parent first", async () => {
    const page = (name: string, next: string | null) =>
      reply(200, { identifiers: [{ namespace: ["a"], name }], "next-page-token": next });
    const listing = answers(config(), page("t", "x y"), page("u", null));
    expect(unwrap(await client(listing.fetch).listTables(["a"]))).toHaveLength(2);
    expect(listing.asked[2]?.url).toMatch(/\?pageToken=x%20y$/);
    const making = answers(config(), reply(404), failure(409, "AlreadyExistsException"), reply(200));
    unwrap(await client(making.fetch).ensureNamespace(["a", "b"]));
    expect(making.asked.slice(2).map(({ init }) => JSON.parse(String(init.body)).namespace)).toEqual([
      ["a"],
      ["a", "b"],
    ]);
  });

  test("[L1] OAuth2: one token for all, renewed before it expires and once after a 401", async () => {
    const token = (name: string, seconds: number) =>
      reply(200, { access_token: name, token_type: "bearer", expires_in: seconds });
    const { asked, fetch } = answers(
      token("one", 3600),
      config(),
      reply(401),
      token("two", 100),
      reply(404),
      token("three", 1),
      reply(404),
    );
    const catalogue = client(fetch, { type: "oauth2", clientId: "me", clientSecret: "s3cret&" });
    await catalogue.load(ident);
    nowMs += 51_000;
    await catalogue.load(ident);
    const seen = asked.map(({ url, init }) => [
      url.replace("http://c.test/v1", ""),
      new Headers(init.headers).get("Authorization"),
    ]);
    const table = "/namespaces/a/tables/t";
    expect(seen).toEqual([
      ["/oauth/tokens", null],
      ["/config", "Bearer one"],
      [table, "Bearer one"],
      ["/oauth/tokens", null],
      [table, "Bearer two"],
      ["/oauth/tokens", null],
      [table, "Bearer three"],
    ]);
    expect(asked[0]?.init.body).toBe(
      "grant_type=client_credentials&client_id=me&client_secret=s3cret%26&scope=catalog",
    );
    const refused = answers(reply(400, { error: "invalid_client" }));
    expect(await client(refused.fetch, { type: "oauth2", clientId: "a", clientSecret: "b" }).load(ident)).toMatchObject(
      {
        error: { code: "Unauthenticated" },
      },
    );
  });
});

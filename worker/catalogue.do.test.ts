/** Another catalogue by configuration: here, another gateway's, over HTTP as anybody's. */
import { SELF } from "cloudflare:test";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Env } from "../durable-objects/index.ts";
import { foreignCatalogue } from "./catalogue.ts";
import { flushShard } from "./flush.ts";
import { ALL, bindings, insert, todos } from "./testing/gateway.ts";

const sent: Request[] = [];
beforeEach(() => {
  sent.length = 0;
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input as string, init);
    sent.push(request.clone() as Request);
    return SELF.fetch(request as never) as never;
  });
});
afterEach(() => vi.restoreAllMocks());

const configured = (more: Partial<Env>): Env => ({ ...bindings, CATALOGUE_URI: "http://gateway/iceberg", ...more });

async function tablesOf(other: string, token: string, namespace: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${token}` };
  const answer = await SELF.fetch(`http://gateway/iceberg/v1/${other}/namespaces/${namespace}/tables`, { headers });
  return ((await answer.json()) as { identifiers?: { name: string }[] }).identifiers?.map(({ name }) => name).sort();
}

test.each([
  ["a bearer token", (token: string) => ({ CATALOGUE_TOKEN: token })],
  [
    "client credentials",
    (token: string) => ({
      CATALOGUE_CLIENT_ID: "me",
      CATALOGUE_CLIENT_SECRET: token,
      CATALOGUE_SCOPE: "PRINCIPAL_ROLE:ALL",
    }),
  ],
])(
  "[F1] a flush commits to the catalogue that is configured, by %s, in a namespace of the gateway's",
  async (how, auth) => {
    const [gateway, other] = [await todos(ALL), await todos(ALL)];
    const token = await other.admin();
    await gateway.push("alice", "phone", [insert("milk", "alice")]);
    const env = configured({ ...auth(token), CATALOGUE_WAREHOUSE: other.id });
    const message = { gatewayId: gateway.id, shard: "common" };
    expect(await flushShard(env, message)).toMatchObject({ state: "flushed", rows: 1 });
    expect(await tablesOf(other.id, token, gateway.id)).toEqual(["todos", "todos__changes"]);
    const oauth = sent.filter(({ url }) => url.endsWith("/v1/oauth/tokens"));
    expect(oauth).toHaveLength(how === "client credentials" ? 1 : 0);
    for (const request of oauth) {
      const form = new URLSearchParams(await request.text());
      expect(Object.fromEntries(form)).toEqual({
        grant_type: "client_credentials",
        client_id: "me",
        client_secret: token,
        scope: "PRINCIPAL_ROLE:ALL",
      });
    }
  },
);

test("without an address the gateway's own catalogue serves; half a configuration is refused", () => {
  expect(foreignCatalogue(bindings)).toBeUndefined();
  const both = configured({ CATALOGUE_TOKEN: "t", CATALOGUE_CLIENT_ID: "me" });
  expect(() => foreignCatalogue(both)).toThrow(expect.objectContaining({ code: "Misconfigured" }));
  const half = configured({ CATALOGUE_CLIENT_ID: "me" });
  expect(() => foreignCatalogue(half)).toThrow(expect.objectContaining({ code: "Misconfigured" }));
});

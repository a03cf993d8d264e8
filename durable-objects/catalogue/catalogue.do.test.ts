/** The Catalogue object in workerd: its SQLite, R2, and 64-bit ids across RPC. */
import { env } from "cloudflare:test";
import { expect, test } from "vitest";
import { catalogueContract } from "../../core/testing.ts";
import { catalogueOf, parseJson, stringifyJson } from "../../lake/index.ts";
import { unwrap } from "../../schemas/index.ts";
import type { Env } from "../env.ts";
import { catalogueServer } from "./stub.ts";

const bindings = env as unknown as Env;
let serial = 0;
const gateway = () => `catalogue-test-${++serial}`;

catalogueContract("Durable Object", async () => ({
  catalogue: catalogueOf(catalogueServer(bindings, gateway())),
  namespace: ["shop"],
}));

test("[L1] workerd parses and writes 64-bit integers without loss", () => {
  const text = '{"id":9223372036854775807,"low":-9223372036854775808,"n":9007199254740991,"t":"1234567890123456789"}';
  expect(parseJson(text)).toEqual({
    id: 9_223_372_036_854_775_807n,
    low: -9_223_372_036_854_775_808n,
    n: 9_007_199_254_740_991,
    t: "1234567890123456789",
  });
  expect(stringifyJson(parseJson(text))).toBe(text);
});

test("[S1] a gateway's tables lie below its own prefix of the bucket, and its object refuses another's name", async () => {
  const [mine, other] = [gateway(), gateway()];
  const server = catalogueServer(bindings, mine);
  unwrap(await server.createNamespace(["shop"], {}));
  const schema = {
    type: "struct",
    "schema-id": 0,
    fields: [{ id: 1, name: "id", required: true, type: "string" }],
  } as const;
  const made = unwrap(await server.createTable({ namespace: ["shop"], name: "t" }, { schema }));
  expect(made.metadataLocation).toMatch(new RegExp(`^s3://lakesync-lake/${mine}/shop/t-[0-9a-f]{12}/metadata/00000-`));
  const listed = await bindings.LAKE.list({ prefix: `${mine}/` });
  expect(listed.objects.map(({ key }) => `s3://lakesync-lake/${key}`)).toEqual([made.metadataLocation]);
  const asked = await bindings.CATALOGUE.getByName(mine).ask(other, "listNamespaces", [null, {}]);
  expect(asked).toMatchObject({ ok: false, error: { code: "Forbidden" } });
});

import { afterAll, expect, test } from "vitest";
import { unwrap } from "../../schemas/index.ts";
import { type S3Server, startS3Server } from "../testing/s3-server.ts";
import { lakeAdapterContract } from "../testing/store-contract.ts";
import { MemoryStore, S3Store, type S3StoreOptions } from "./index.ts";
import { textsOf } from "./xml.ts";

const servers: S3Server[] = [];
afterAll(() => Promise.all(servers.map((server) => server.close())));

async function s3(options: Partial<S3StoreOptions> = {}): Promise<S3Store> {
  const server = await startS3Server("lake", new MemoryStore({ clock: { now: () => 1_700_000_000_000 } }));
  servers.push(server);
  const keys = { accessKeyId: "key", secretAccessKey: "secret" };
  return new S3Store({ bucket: "lake", endpoint: server.endpoint, region: "us-east-1", ...keys, ...options });
}

lakeAdapterContract("S3", () => s3());

test("keys of any characters come back as they were", async () => {
  const store = await s3();
  const keys = ["a b+c&d=e.txt", "é/🎬.bin", "x<y>\"'.z"];
  for (const key of keys) unwrap(await store.put(key, new Uint8Array([1])));
  expect(unwrap(await store.list("")).objects.map((object) => object.key)).toEqual([...keys].sort());
  for (const key of keys) expect(unwrap(await store.get(key))).toEqual(new Uint8Array([1]));
});

test("wrong credentials and a missing bucket are refused, with the store's own code", async () => {
  const refused = (code: string) => ({ ok: false, error: { code: "DestinationRefused", details: { code } } });
  expect(await (await s3({ accessKeyId: "other" })).get("a")).toMatchObject(refused("AccessDenied"));
  expect(await (await s3({ bucket: "nowhere" })).get("a")).toMatchObject(refused("NoSuchBucket"));
});

test("a server that cannot be reached is unavailable for now", async () => {
  const store = await s3({ endpoint: "http://127.0.0.1:9" });
  expect(await store.get("a")).toMatchObject({ ok: false, error: { code: "DestinationUnavailable" } });
});

test("XML's entities and attributes are understood", () => {
  expect(textsOf('<a xml:ns="b">1 &amp; &#x41;&#66;&quot;</a><a>2</a>', "a")).toEqual(['1 & AB"', "2"]);
});

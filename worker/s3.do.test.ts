/** The S3 endpoint in workerd: requests signed by aws4fetch with what the catalogue lends, files of real flushes. */
import { SELF } from "cloudflare:test";
import { AwsClient, AwsV4Signer } from "aws4fetch";
import { beforeAll, describe, expect, test } from "vitest";
import { vendCredentials } from "./s3/credentials.ts";
import { ALL, bindings, insert, type Json, signToken, type TestGateway, todos } from "./testing/gateway.ts";

interface Lent {
  readonly config: Record<string, string>;
  readonly prefix: string;
}
interface Lake {
  readonly gateway: TestGateway;
  readonly client: AwsClient;
  /** Keys of all files. */
  readonly keys: readonly string[];
}

const DELEGATE = { "X-Iceberg-Access-Delegation": "vended-credentials,remote-signing" };
const BUCKET = "http://gateway/s3/lakesync-lake";

async function loadTable(
  gateway: TestGateway,
  token: string,
  headers: Record<string, string>,
  more = "",
): Promise<Json> {
  const path = `http://gateway/iceberg/v1/${gateway.id}/namespaces/app/tables/todos${more}`;
  const answer = await SELF.fetch(path, { headers: { authorization: `Bearer ${token}`, ...headers } });
  return { status: answer.status, etag: answer.headers.get("etag"), ...((await answer.json()) as Json) };
}

const clientOf = (config: Record<string, string>): AwsClient =>
  new AwsClient({
    accessKeyId: config["s3.access-key-id"] ?? "",
    secretAccessKey: config["s3.secret-access-key"] ?? "",
    sessionToken: config["s3.session-token"] ?? "",
    region: config["s3.region"] ?? "",
    service: "s3",
  });

/** A gateway whose lake holds a row, and a client with what its catalogue lent. */
async function lake(): Promise<Lake> {
  const gateway = await todos(ALL);
  await gateway.push("alice", "phone", [insert("milk", "alice")]);
  await gateway.request(await gateway.admin(), "POST", "/admin/flush");
  const loaded = await loadTable(gateway, await gateway.admin(), DELEGATE);
  const { objects } = await bindings.LAKE.list({ prefix: `${gateway.id}/` });
  return { gateway, client: clientOf(loaded.config as Lent["config"]), keys: objects.map(({ key }) => key).sort() };
}

async function ask(client: AwsClient, path: string, init: RequestInit = {}): Promise<Response> {
  return SELF.fetch(await client.sign(`${BUCKET}${path}`, init));
}

const refusal = async (answer: Response) => {
  const text = await answer.text();
  expect(answer.headers.get("content-type")).toBe("application/xml");
  expect(text).toMatch(/^<\?xml version="1.0" encoding="UTF-8"\?>\n<Error><Code>\w+<\/Code><Message>[^<]+<\/Message>/);
  return [answer.status, /<Code>(\w+)</.exec(text)?.[1]];
};

let mine: Lake;
let other: Lake;
let key: string;
let bytes: Uint8Array;
beforeAll(async () => {
  [mine, other] = [await lake(), await lake()];
  key = mine.keys.find((each) => each.endsWith(".parquet")) ?? "";
  bytes = new Uint8Array((await (await bindings.LAKE.get(key))?.arrayBuffer()) ?? []);
});

describe("what the catalogue lends", () => {
  test("[S1] endpoint, region and credentials that expire, for the gateway's prefix, to whoever asks", async () => {
    const { gateway } = mine;
    const before = Date.now();
    const loaded = await loadTable(gateway, await gateway.admin(), DELEGATE);
    expect(loaded.config).toEqual({
      "s3.endpoint": "http://gateway/s3",
      "s3.path-style-access": "true",
      "s3.region": "auto",
      "client.region": "auto",
      "s3.access-key-id": expect.stringMatching(/^LS[0-9A-F]{18}$/),
      "s3.secret-access-key": expect.stringMatching(/^[\w-]{43}$/),
      "s3.session-token": expect.any(String),
      "s3.session-token-expires-at-ms": expect.any(String),
    });
    const lives = Number((loaded.config as Lent["config"])["s3.session-token-expires-at-ms"]) - before;
    expect(lives).toBeGreaterThan(59 * 60_000);
    expect(lives).toBeLessThan(61 * 60_000);
    const [lent] = loaded["storage-credentials"] as Lent[];
    expect(lent).toEqual({ prefix: `s3://lakesync-lake/${gateway.id}/`, config: loaded.config });
    const again = await loadTable(gateway, await gateway.admin(), {}, "/credentials");
    expect((again["storage-credentials"] as Lent[])[0]?.prefix).toBe(lent?.prefix);
  });

  test("[S2] they do not outlive the token that they were asked for with", async () => {
    const exp = Math.floor(Date.now() / 1000) + 90;
    const token = await signToken({ gw: mine.gateway.id, sub: "root", role: "admin" }, exp);
    const { config } = (await loadTable(mine.gateway, token, DELEGATE)) as unknown as Lent;
    expect(config["s3.session-token-expires-at-ms"]).toBe(String(exp * 1000));
  });

  test("[PL7] nobody gets them who does not ask, and no client's token does", async () => {
    const { gateway } = mine;
    const plain = await loadTable(gateway, await gateway.admin(), {});
    expect(plain).toMatchObject({ status: 200, config: {} });
    expect(plain).not.toHaveProperty("storage-credentials");
    for (const more of ["", "/credentials"])
      expect(await loadTable(gateway, await gateway.token("alice"), DELEGATE, more)).toMatchObject({ status: 403 });
  });

  test("[L1] a table that did not change is answered anew, since credentials expire", async () => {
    const admin = await mine.gateway.admin();
    const { etag } = await loadTable(mine.gateway, admin, {});
    const again = await loadTable(mine.gateway, admin, { ...DELEGATE, "If-None-Match": String(etag) });
    expect(again).toMatchObject({ status: 200, config: { "s3.region": "auto" } });
  });
});

describe("reading", () => {
  test("[L1] a file comes whole, by HEAD, and by every kind of range", async () => {
    const size = bytes.length;
    const whole = await ask(mine.client, `/${key}`);
    expect(new Uint8Array(await whole.arrayBuffer())).toEqual(bytes);
    const head = await ask(mine.client, `/${key}`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), head.headers.get("accept-ranges")]).toEqual([
      200,
      String(size),
      "bytes",
    ]);
    expect(head.headers.get("etag")).toBe(whole.headers.get("etag"));
    const ranges: [string, number, number][] = [
      ["bytes=0-3", 0, 4],
      ["bytes=4-9", 4, 10],
      [`bytes=${size - 8}-`, size - 8, size],
      ["bytes=-8", size - 8, size],
      [`bytes=10-${size * 2}`, 10, size],
      [`bytes=-${size * 2}`, 0, size],
    ];
    for (const [range, from, to] of ranges) {
      const part = await ask(mine.client, `/${key}`, { headers: { range } });
      expect([range, part.status, part.headers.get("content-range")]).toEqual([
        range,
        206,
        `bytes ${from}-${to - 1}/${size}`,
      ]);
      expect(new Uint8Array(await part.arrayBuffer())).toEqual(bytes.slice(from, to));
    }
    for (const range of [`bytes=${size}-`, "bytes=-0"]) {
      const past = await ask(mine.client, `/${key}`, { headers: { range } });
      expect([range, past.headers.get("content-range")]).toEqual([range, `bytes */${size}`]);
      expect(await refusal(past)).toEqual([416, "InvalidRange"]);
    }
    const several = await ask(mine.client, `/${key}`, { headers: { range: "bytes=0-1,4-5" } });
    expect([several.status, (await several.arrayBuffer()).byteLength]).toEqual([200, size]);
  });

  test("[L1] conditions are kept", async () => {
    const etag = (await ask(mine.client, `/${key}`, { method: "HEAD" })).headers.get("etag") ?? "";
    const same = await ask(mine.client, `/${key}`, { headers: { "if-none-match": etag } });
    expect([same.status, await same.text()]).toEqual([304, ""]);
    const match = await ask(mine.client, `/${key}`, { headers: { "if-match": etag } });
    expect([match.status, (await match.arrayBuffer()).byteLength]).toEqual([200, bytes.length]);
    const differs = await ask(mine.client, `/${key}`, { headers: { "if-match": '"none"' } });
    expect(await refusal(differs)).toEqual([412, "PreconditionFailed"]);
    const head = await ask(mine.client, `/${key}`, { method: "HEAD", headers: { "if-none-match": etag } });
    expect(head.status).toBe(304);
  });

  test("[L1] a presigned address needs no header", async () => {
    const address = new URL(`${BUCKET}/${key}`);
    address.searchParams.set("X-Amz-Expires", "60");
    const signed = await mine.client.sign(address.href, { aws: { signQuery: true } });
    const answer = await SELF.fetch(signed.url);
    expect([answer.status, (await answer.arrayBuffer()).byteLength]).toEqual([200, bytes.length]);
    expect(await refusal(await SELF.fetch(signed.url.replace("Expires=60", "Expires=90")))).toEqual([
      403,
      "SignatureDoesNotMatch",
    ]);
  });

  test("[L1] listings page, fold folders, and encode names", async () => {
    const root = `${mine.gateway.id}/`;
    const list = async (query: Record<string, string>) => {
      const parameters = new URLSearchParams({ "list-type": "2", ...query });
      const text = await (await ask(mine.client, `/?${parameters}`)).text();
      const all = (name: string) =>
        Array.from(text.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g")), ([, v]) => v);
      return { keys: all("Key"), prefixes: all("Prefix"), sizes: all("Size"), next: all("NextContinuationToken")[0] };
    };
    expect((await list({ prefix: root })).keys.sort()).toEqual([...mine.keys]);
    const paged: (string | undefined)[] = [];
    for (let token: string | undefined = ""; token !== undefined; ) {
      const page = await list({ prefix: root, "max-keys": "3", ...(token && { "continuation-token": token }) });
      paged.push(...page.keys);
      token = page.next;
    }
    expect(paged.sort()).toEqual([...mine.keys]);
    expect((await list({ prefix: root, delimiter: "/" })).prefixes).toEqual([root, `${root}app/`]);
    expect((await list({ prefix: root, "max-keys": "0" })).keys).toEqual([]);
    const last = mine.keys.at(-2) ?? "";
    expect((await list({ prefix: root, "start-after": last })).keys).toEqual(mine.keys.slice(-1));
    expect((await list({ prefix: root, "encoding-type": "url" })).keys.sort()).toEqual([...mine.keys]);
  });

  test("[L1] what is not there has S3's names", async () => {
    expect(await refusal(await ask(mine.client, `/${mine.gateway.id}/none`))).toEqual([404, "NoSuchKey"]);
    expect(await refusal(await ask(mine.client, "/../other-bucket/x"))).toEqual([404, "NoSuchBucket"]);
    expect((await ask(mine.client, `/${mine.gateway.id}/none`, { method: "HEAD" })).status).toBe(404);
    expect((await ask(mine.client, "/", { method: "HEAD" })).status).toBe(200);
    const old = await ask(mine.client, `/?prefix=${mine.gateway.id}/`);
    expect(await refusal(old)).toEqual([501, "NotImplemented"]);
  });
});

describe("what is refused", () => {
  test("[S1] another gateway's files, by key and by listing", async () => {
    const theirs = other.keys[0] ?? "";
    expect(await refusal(await ask(mine.client, `/${theirs}`))).toEqual([403, "AccessDenied"]);
    expect((await ask(mine.client, `/${theirs}`, { method: "HEAD" })).status).toBe(403);
    for (const prefix of ["", "t", other.gateway.id, `${other.gateway.id}/`, mine.gateway.id, `/${mine.gateway.id}/`])
      expect([prefix, await refusal(await ask(mine.client, `/?list-type=2&prefix=${prefix}`))]).toEqual([
        prefix,
        [403, "AccessDenied"],
      ]);
    const token = `/?list-type=2&prefix=${mine.gateway.id}/&start-after=${other.gateway.id}/`;
    expect(await (await ask(mine.client, token)).text()).not.toContain(`<Key>${other.gateway.id}`);
  });

  test("[S3] paths that lead out of the prefix, however they are written", async () => {
    const theirs = other.keys[0] ?? "";
    const out = [
      `/${mine.gateway.id}/../${theirs}`,
      `/${mine.gateway.id}/%2e%2e/${theirs}`,
      `/${mine.gateway.id}/..%2f${theirs}`,
      `/${mine.gateway.id}%2f..%2f${theirs}`,
      `/${mine.gateway.id}//${theirs}`,
      `/${mine.gateway.id}/.%2e/${theirs}`,
      `/${mine.gateway.id}/..%5c${theirs}`,
      `//${theirs}`,
      `/%2f${theirs}`,
      `/./${theirs}`,
      `/${mine.gateway.id}/%00/${theirs}`,
    ];
    for (const path of out) {
      const [status, code] = await refusal(await ask(mine.client, path));
      expect([path, status]).toEqual([path, code === "AccessDenied" ? 403 : 400]);
      expect(["AccessDenied", "InvalidURI"]).toContain(code);
    }
  });

  test("[S2] expired, forged and foreign credentials", async () => {
    const secret = bindings.JWT_SECRET ?? "";
    const seconds = Math.floor(Date.now() / 1000);
    const as = async (credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string }) =>
      refusal(await ask(new AwsClient({ ...credentials, region: "auto", service: "s3" }), `/${key}`));
    const sound = await vendCredentials(secret, mine.gateway.id, seconds + 60);
    expect((await ask(new AwsClient({ ...sound, region: "auto", service: "s3" }), `/${key}`)).status).toBe(200);
    const old = await vendCredentials(secret, mine.gateway.id, seconds - 1);
    expect(await as(old)).toEqual([400, "ExpiredToken"]);
    const foreign = await vendCredentials("another gateway's secret of 32 bytes", mine.gateway.id, seconds + 60);
    expect(await as(foreign)).toEqual([400, "InvalidToken"]);
    expect(await as({ ...sound, secretAccessKey: "guess" })).toEqual([403, "SignatureDoesNotMatch"]);
    expect(await as({ ...sound, accessKeyId: foreign.accessKeyId })).toEqual([400, "InvalidToken"]);
    expect(await as({ ...sound, sessionToken: `${sound.sessionToken}x` })).toEqual([400, "InvalidToken"]);
    expect(await as({ accessKeyId: sound.accessKeyId, secretAccessKey: sound.secretAccessKey })).toEqual([
      400,
      "InvalidToken",
    ]);
    // A gateway's token is no session token, and a session token none of the gateway's.
    const admin = await mine.gateway.admin();
    expect(await as({ ...sound, sessionToken: admin })).toEqual([400, "InvalidToken"]);
    const asBearer = await mine.gateway.request(sound.sessionToken, "GET", "/admin/status");
    expect(asBearer.status).toBe(401);
    // Credentials of one gateway with the name of another in the token.
    const theirs = await vendCredentials(secret, other.gateway.id, seconds + 60);
    expect(await as({ ...sound, sessionToken: theirs.sessionToken })).toEqual([400, "InvalidToken"]);
    expect(await as(theirs)).toEqual([403, "AccessDenied"]);
  });

  test("[S2] a request that was changed after it was signed, and one that is not signed", async () => {
    const signed = await mine.client.sign(`${BUCKET}/${key}`);
    const moved = new Request(signed.url.replace(key, mine.keys.at(-1) ?? ""), signed);
    expect(await refusal(await SELF.fetch(moved))).toEqual([403, "SignatureDoesNotMatch"]);
    expect(await refusal(await SELF.fetch(`${BUCKET}/${key}`))).toEqual([403, "AccessDenied"]);
    const bearer = { headers: { authorization: `Bearer ${await mine.gateway.admin()}` } };
    expect(await refusal(await SELF.fetch(`${BUCKET}/${key}`, bearer))).toEqual([400, "AuthorizationHeaderMalformed"]);
    const lent = (await loadTable(mine.gateway, await mine.gateway.admin(), DELEGATE)) as unknown as Lent;
    const signer = new AwsV4Signer({
      url: `${BUCKET}/${key}`,
      accessKeyId: lent.config["s3.access-key-id"] ?? "",
      secretAccessKey: lent.config["s3.secret-access-key"] ?? "",
      sessionToken: lent.config["s3.session-token"] ?? "",
      service: "s3",
      region: "auto",
      datetime: "20200101T000000Z",
    });
    const { url, headers } = await signer.sign();
    expect(await refusal(await SELF.fetch(url, { headers }))).toEqual([403, "RequestTimeTooSkewed"]);
  });

  test("[S1] every kind of write, and nothing is written", async () => {
    const before = await bindings.LAKE.head(key);
    const writes: [string, string][] = [
      ["PUT", `/${key}`],
      ["DELETE", `/${key}`],
      ["POST", `/${key}?uploads`],
      ["PUT", `/${mine.gateway.id}/new`],
      ["POST", "/?delete"],
      ["PUT", "/"],
      ["DELETE", "/"],
    ];
    for (const [method, path] of writes) {
      const body = method === "DELETE" ? {} : { body: "x" };
      expect([method, path, await refusal(await ask(mine.client, path, { method, ...body }))]).toEqual([
        method,
        path,
        [403, "AccessDenied"],
      ]);
    }
    expect((await bindings.LAKE.head(key))?.etag).toBe(before?.etag);
    expect(await bindings.LAKE.head(`${mine.gateway.id}/new`)).toBeNull();
  });
});

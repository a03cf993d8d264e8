/** What an emulator does not show: credentials, and answers that Google's documents promise, served by a server of the test's own. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportPKCS8, exportSPKI, generateKeyPair, importSPKI, jwtVerify } from "jose";
import { afterEach, expect, test } from "vitest";
import { tableOf } from "../../core/testing.ts";
import { BigQueryAdapter } from "./index.ts";

const TABLE = tableOf("items", { title: "string" });
const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

interface Reply {
  readonly status: number;
  readonly body: unknown;
}
const fault = (status: number, reason: string, message = "said so"): Reply => ({
  status,
  body: { error: { code: status, message, errors: [{ reason, message }] } },
});
const DONE: Reply = { status: 200, body: { jobComplete: true, schema: { fields: [] }, rows: [] } };

/** A server that gives these answers, then `DONE`. */
async function serving(replies: Reply[]) {
  const requests: { authorization: string; path: string; body: string }[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      requests.push({ authorization: String(request.headers.authorization), path: String(request.url), body });
      const reply = replies.shift() ?? DONE;
      response.writeHead(reply.status, { "content-type": "application/json" }).end(JSON.stringify(reply.body));
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  stops.push(() => server.close());
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

async function account() {
  const { privateKey, publicKey } = await generateKeyPair("RS256", { extractable: true });
  const credentials = JSON.stringify({
    ...{ type: "service_account", project_id: "proj", client_email: "sync@proj.iam.gserviceaccount.com" },
    ...{ private_key: await exportPKCS8(privateKey), private_key_id: "key-1" },
  });
  return { credentials, publicKey: await importSPKI(await exportSPKI(publicKey), "RS256") };
}

test("requests carry a token that the service account signed, made once while it is good", async () => {
  const { credentials, publicKey } = await account();
  const { endpoint, requests } = await serving([]);
  let nowMs = Date.now();
  const adapter = new BigQueryAdapter({ credentials, dataset: "app", endpoint, now: () => nowMs });
  for (let at = 0; at < 2; at++) expect(await adapter.progress(TABLE)).toEqual({ ok: true, value: [] });
  expect(new Set(requests.map(({ authorization }) => authorization)).size).toBe(1);
  expect(requests[0]?.path).toBe("/bigquery/v2/projects/proj/queries");
  const token = String(requests[0]?.authorization).replace("Bearer ", "");
  const { payload, protectedHeader } = await jwtVerify(token, publicKey);
  expect(protectedHeader).toMatchObject({ alg: "RS256", kid: "key-1" });
  expect(payload).toMatchObject({
    ...{ iss: "sync@proj.iam.gserviceaccount.com", sub: "sync@proj.iam.gserviceaccount.com" },
    scope: "https://www.googleapis.com/auth/bigquery",
  });
  expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(3600);
  nowMs += 3_400_000;
  await adapter.progress(TABLE);
  expect(requests.at(-1)?.authorization).not.toBe(requests[0]?.authorization);
});

test("[S5] credentials that are none are refused with the key, the remedy, and without what was given", async () => {
  const sound = JSON.parse((await account()).credentials) as Record<string, string>;
  const lacking = (field: string) => JSON.stringify({ ...sound, [field]: undefined });
  for (const [credentials, says] of [
    ["", "are empty"],
    ["hunter2", "are not JSON"],
    [lacking("client_email"), "have no client_email"],
    [lacking("private_key"), "have no private_key"],
    [lacking("project_id"), "have no project_id"],
  ] as const) {
    const make = () => new BigQueryAdapter({ credentials, dataset: "app" });
    expect(make).toThrow(expect.objectContaining({ code: "Misconfigured", details: { key: "credentials" } }));
    expect(make).toThrow(says);
    expect(make).toThrow("BigQuery Data Editor");
    expect(make).not.toThrow("hunter2");
  }
  const { endpoint } = await serving([]);
  const credentials = JSON.stringify({ ...sound, private_key: "hunter2" });
  const answer = await new BigQueryAdapter({ credentials, dataset: "app", endpoint }).progress(TABLE);
  expect(answer).toMatchObject({ ok: false, error: { code: "Misconfigured" } });
  expect(JSON.stringify(answer)).not.toContain("hunter2");
  expect(() => new BigQueryAdapter({ endpoint, dataset: "a`b" })).toThrow("dataset");
});

test("what Google asks to try again is tried again, later each time", async () => {
  for (const reply of [
    fault(429, "rateLimitExceeded"),
    fault(403, "rateLimitExceeded"),
    fault(403, "jobRateLimitExceeded"),
    fault(500, "backendError"),
    fault(503, "backendError"),
  ]) {
    const { endpoint, requests } = await serving([reply, reply, reply]);
    const pauses: number[] = [];
    const sleep = async (ms: number) => void pauses.push(ms);
    const adapter = new BigQueryAdapter({ endpoint, dataset: "app", sleep, chance: () => 0.5 });
    expect(await adapter.progress(TABLE)).toEqual({ ok: true, value: [] });
    expect(requests).toHaveLength(4);
    expect(pauses).toEqual([1000, 2000, 4000]);
  }
  const { endpoint, requests } = await serving(Array.from({ length: 20 }, () => fault(503, "backendError")));
  const adapter = new BigQueryAdapter({ endpoint, dataset: "app", sleep: async () => {} });
  expect(await adapter.progress(TABLE)).toMatchObject({
    ok: false,
    error: { code: "DestinationUnavailable", retryable: true },
  });
  expect(requests).toHaveLength(6);
});

test("what a person has to mend is told at once, with the remedy", async () => {
  for (const [reply, code, says] of [
    [fault(401, "authError"), "Misconfigured", "Make a new key"],
    [fault(403, "accessDenied"), "DestinationUnavailable", "BigQuery Job User"],
    [fault(403, "quotaExceeded"), "DestinationUnavailable", "quota"],
    [fault(400, "invalidQuery"), "DestinationRefused", "refused a statement"],
    [fault(400, "invalidQuery", "Transaction is aborted due to concurrent update"), "CommitConflict", "concurrent"],
  ] as const) {
    const { endpoint, requests } = await serving([reply]);
    const adapter = new BigQueryAdapter({ endpoint, dataset: "app", sleep: async () => {} });
    const answer = await adapter.progress(TABLE);
    expect(answer).toMatchObject({ ok: false, error: { code, message: expect.stringContaining(says) } });
    expect(requests).toHaveLength(1);
  }
});

test("an answer in pages, of a job that takes its time, is read to its end", async () => {
  const fields = ["gateway", "shard", "seq", "digest"].map((name) => ({ name }));
  const row = (shard: string) => ({ f: [{ v: "demo" }, { v: shard }, { v: "7" }, { v: null }] });
  const jobReference = { jobId: "job-1", location: "europe-west1" };
  const { endpoint, requests } = await serving([
    { status: 200, body: { jobComplete: false, jobReference } },
    {
      status: 200,
      body: { jobComplete: true, jobReference, schema: { fields }, rows: [row("one")], pageToken: "next/1" },
    },
    { status: 200, body: { jobComplete: true, jobReference, schema: { fields }, rows: [row("two")] } },
  ]);
  const adapter = new BigQueryAdapter({ endpoint, dataset: "app" });
  expect(await adapter.progress(TABLE)).toEqual({
    ok: true,
    value: ["one", "two"].map((shard) => ({ gatewayId: "demo", shard, watermark: 7 })),
  });
  expect(requests.slice(1).map(({ path }) => path)).toEqual([
    "/bigquery/v2/projects/local/queries/job-1?location=europe-west1&timeoutMs=60000",
    "/bigquery/v2/projects/local/queries/job-1?location=europe-west1&pageToken=next%2F1",
  ]);
});

test("a dataset that is missing is made where that is asked for, in its location, and only then", async () => {
  const missing = fault(404, "notFound", "Not found: Dataset proj:app");
  const open = (endpoint: string, makeDataset: boolean) =>
    new BigQueryAdapter({ endpoint, dataset: "app", location: "europe-west1", makeDataset });
  for (const answer of [{ status: 200, body: {} }, fault(409, "duplicate", "Already Exists: Dataset proj:app")]) {
    const { endpoint, requests } = await serving([missing, answer]);
    expect(await open(endpoint, true).ensureSchema(TABLE)).toEqual({ ok: true, value: undefined });
    const [asked, made] = requests;
    expect(asked?.path).toBe("/bigquery/v2/projects/local/datasets/app");
    expect(made?.path).toBe("/bigquery/v2/projects/local/datasets");
    expect(JSON.parse(made?.body ?? "")).toEqual({
      datasetReference: { projectId: "local", datasetId: "app" },
      location: "europe-west1",
    });
  }
  const there = await serving([]);
  expect(await open(there.endpoint, true).ensureSchema(TABLE)).toMatchObject({ ok: true });
  expect(there.requests.filter(({ path }) => path.endsWith("/datasets"))).toEqual([]);
  const { endpoint, requests } = await serving([missing]);
  expect(await open(endpoint, false).ensureSchema(TABLE)).toMatchObject({
    ok: false,
    error: { code: "DestinationRefused", message: expect.stringContaining("Is there a dataset app in project local") },
  });
  expect(requests).toHaveLength(1);
});

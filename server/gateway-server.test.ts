/** The self-hosted gateway: real workerd, real time, data on disk. */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { GatewayServer } from "./gateway-server.ts";

const directories: string[] = [];
afterAll(async () => {
  for (const directory of directories) await rm(directory, { recursive: true, force: true });
});

async function serverIn(
  directory: string,
  vars: Record<string, string> = {},
  more: { readonly cronMs?: number } = {},
): Promise<GatewayServer> {
  const jwtSecret = "the same secret before and after a restart";
  const server = new GatewayServer({
    port: 0,
    gatewayId: "demo",
    jwtSecret,
    persistence: "sqlite",
    directory,
    vars: { LOG_LEVEL: "error", ...vars },
    ...more,
  });
  await server.start();
  return server;
}

async function newDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `lakesync-${randomBytes(4).toString("hex")}-`));
  directories.push(directory);
  return directory;
}

// biome-ignore lint/suspicious/noExplicitAny: answers of every shape are looked into
async function request(server: GatewayServer, method: string, path: string, body?: unknown): Promise<any> {
  const headers = {
    authorization: `Bearer ${await server.token({ sub: "root", role: "admin" })}`,
    "content-type": "application/json",
  };
  const response = await fetch(new URL(path, server.url), {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  expect(response.status, `${method} ${path}`).toBe(200);
  return response.json();
}

const COLUMNS = [{ name: "title", type: "string" }];

async function pushOne(server: GatewayServer, rowId: string): Promise<void> {
  const columns = [{ column: "title", value: rowId }];
  const hlc = (BigInt(Date.now()) << 16n).toString();
  const answer = await request(server, "POST", "/v1/demo/push", {
    clientId: "device",
    deltas: [{ op: "INSERT", table: "todos", rowId, hlc, columns }],
  });
  expect(answer.acceptedCount).toBe(1);
}

test("[F4] one delta, and then silence: it is in the lake after the configured age, with no traffic to trigger it", async () => {
  const server = await serverIn(await newDirectory(), { FLUSH_AGE_MS: "500" });
  try {
    await request(server, "PUT", "/v1/demo/admin/tables/todos", { columns: COLUMNS });
    await pushOne(server, "quiet");
    const metadata = "/iceberg/v1/demo/namespaces/app/tables/todos";
    const status = await waitFor(async () => {
      const token = await server.token({ sub: "root", role: "admin" });
      const response = await fetch(new URL(metadata, server.url), { headers: { authorization: `Bearer ${token}` } });
      return response.ok
        ? ((await response.json()) as { metadata: { snapshots: { summary: Record<string, string> }[] } })
        : undefined;
    });
    expect(status.metadata.snapshots[0]?.summary["total-records"]).toBe("1");
    const [shard] = (await request(server, "GET", "/v1/demo/admin/status")).shards;
    expect(shard).toMatchObject({ unflushedDeltas: 0, oldestMs: null, lastError: null });
  } finally {
    await server.stop();
  }
});

test("[L3] Cron comes by on a server too, and finds tables to maintain", async () => {
  const server = await serverIn(await newDirectory(), {}, { cronMs: 200 });
  try {
    await request(server, "PUT", "/v1/demo/admin/tables/todos", { columns: COLUMNS });
    await pushOne(server, "a");
    await request(server, "POST", "/v1/demo/admin/flush");
    const table = await waitFor(async () => {
      const { lake } = await request(server, "GET", "/v1/demo/admin/status");
      return lake.tables[0]?.report ? lake.tables[0] : undefined;
    });
    expect(table).toMatchObject({ table: "todos", flushes: 0, report: { ok: true, main: { debt: { rows: 1 } } } });
  } finally {
    await server.stop();
  }
});

/** The age, the alarm, the queue's batching and the flush itself; slow machines get their time. */
async function waitFor<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (let n = 0; n < 300; n++) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("It did not come about.");
}

test("tables, rules and rows are there after a restart, and unflushed deltas reach the lake then", async () => {
  const directory = await newDirectory();
  const first = await serverIn(directory, { FLUSH_AGE_MS: "600000" });
  await request(first, "PUT", "/v1/demo/admin/tables/todos", { columns: COLUMNS });
  await request(first, "PUT", "/v1/demo/admin/sync-rules", { buckets: [{ name: "all", tables: ["todos"] }] });
  await pushOne(first, "before");
  await first.stop();
  const second = await serverIn(directory, { FLUSH_AGE_MS: "600000" });
  try {
    await pushOne(second, "after");
    const page = await request(second, "POST", "/v1/demo/pull", { clientId: "device" });
    expect(page.rows.map((r: { rowId: string }) => r.rowId)).toEqual(["after", "before"]);
    expect((await request(second, "GET", "/v1/demo/admin/sync-rules")).buckets).toHaveLength(1);
    const flushed = await request(second, "POST", "/v1/demo/admin/flush");
    expect(flushed.shards[0]).toMatchObject({ state: "flushed", rows: 2, deltas: 2 });
  } finally {
    await second.stop();
  }
});

/** A gateway in workerd that takes in what others edit in a Postgres, another program's SQL, and devices of the SDK. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { freshDatabase, onPostgres } from "../../adapters/testing.ts";
import {
  createClient,
  defineTable,
  HttpTransport,
  integer,
  LocalDB,
  SyncCoordinator,
  text,
} from "../../client/index.ts";
import { GatewayServer } from "../../server/index.ts";

const GATEWAY = "shop";
const COLUMNS = { title: "string", votes: "integer", owner: "string" } as const;

export interface Fed {
  /** A server of databases. */
  readonly postgres: string;
  readonly feedMs: number;
  readonly shards?: number;
  readonly rows?: "all" | "own";
}

export async function fedGateway({ postgres, feedMs, shards = 0, rows = "all" }: Fed) {
  const { url, name: database } = await freshDatabase(postgres);
  const directory = mkdtempSync(join(tmpdir(), "lakesync-feed-"));
  const options = {
    port: 0,
    gatewayId: GATEWAY,
    jwtSecret: "a secret for tests only, 32 bytes and more",
    persistence: "sqlite",
    directory,
    cronMs: 3_600_000,
    feedMs,
    // A binding wants a password; this server asks for none.
    backends: { SHOP: url.replace("postgres@", "postgres:none@") },
    vars: { LOG_LEVEL: "error", FLUSH_AGE_MS: "600000" },
  } as const;
  let server = new GatewayServer(options);
  await server.start();
  onTestFinished(async () => {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  const ask = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(new URL(`/v1/${GATEWAY}/admin/${path}`, server.url), {
      method,
      headers: {
        authorization: `Bearer ${await server.token({ sub: "root", role: "admin" })}`,
        "content-type": "application/json",
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
    return { status: response.status, body: (await response.json()) as any };
  };
  const columns = Object.entries(COLUMNS).map(([name, type]) => ({ name, type }));
  for (const table of ["items", "notes"])
    expect(
      await ask("PUT", `tables/${table}`, { columns, shards, ...(table === "items" && { backend: "SHOP" }) }),
    ).toMatchObject({ status: 200 });
  const filters = rows === "own" ? [{ column: "owner", op: "eq", value: "jwt:sub" }] : [];
  await ask("PUT", "sync-rules", { buckets: [{ name: "rows", tables: ["items"], filters }] });
  const flush = async () => {
    for (const { errors } of (await ask("POST", "flush")).body.shards) expect(errors).toEqual([]);
  };
  const sql = (...statements: string[]) => onPostgres(url, `SET search_path = ${GATEWAY}`, ...statements);
  const device = async (sub = "alice") => {
    const schema = Object.fromEntries(Object.entries(COLUMNS).map(([column, type]) => [column, { type }]));
    const db = await LocalDB.open({ name: `device-${sub}`, backend: "memory", schema: { items: schema } });
    onTestFinished(() => db.close());
    const token = await server.token({ sub, role: "client" });
    const sync = new SyncCoordinator(db, new HttpTransport({ baseUrl: server.url.href, gatewayId: GATEWAY, token }));
    const all = () => db.query<Record<string, unknown>>("SELECT id, title, votes FROM items ORDER BY id");
    return {
      tracker: sync.tracker,
      sync: () => sync.syncOnce(),
      rows: async () => (await all()).map(({ id, title, votes }) => [id, title, votes]),
    };
  };
  const table = async () =>
    (await sql("SELECT _id, title, votes::int FROM items ORDER BY _id")).map(({ _id, title, votes }) => [
      _id,
      title,
      votes,
    ]);
  const history = () => sql("SELECT _op, _id, _client_id FROM items__changes ORDER BY _seq");
  const crash = async () => {
    const lines = execFileSync("ps", ["-A", "-o", "pid=,ppid=,comm="], { encoding: "utf8" }).trim().split("\n");
    for (const [pid, parent, name] of lines.map((line) => line.trim().split(/\s+/)))
      if (Number(parent) === process.pid && name?.includes("workerd")) process.kill(Number(pid), "SIGKILL");
    await server.stop();
    server = new GatewayServer(options);
    await server.start();
  };
  /** One that syncs by itself, over a WebSocket. */
  const app = async () => {
    const client = await createClient({
      name: "app",
      backend: "memory",
      schema: defineTable({ items: { title: text(), votes: integer(), owner: text() } }),
      url: server.url.href,
      gatewayId: GATEWAY,
      token: await server.token({ sub: "alice", role: "client" }),
    });
    onTestFinished(() => client.close());
    return client;
  };
  return { ask, flush, sql, device, table, history, crash, app, database, stop: () => server.stop() };
}

/** Real workerd, killed with SIGKILL right after it acknowledged a push; what it had acknowledged is there afterwards. */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { GatewayServer } from "./index.ts";

const KILLS = 20;
const SHARDS = 2;

/** Process ids of workerd among this process's own children. */
function workerds(): number[] {
  const lines = execFileSync("ps", ["-A", "-o", "pid=,ppid=,comm="], { encoding: "utf8" }).trim().split("\n");
  const rows = lines.map((line) => line.trim().split(/\s+/));
  return rows.flatMap(([pid, parent, name]) =>
    Number(parent) === process.pid && /workerd/.test(name ?? "") ? [Number(pid)] : [],
  );
}

test(`[PU1] what was acknowledged survives kill -9 right after, ${KILLS} times`, async () => {
  const directory = await mkdtemp(join(tmpdir(), "lakesync-killed-"));
  const options = {
    port: 0,
    gatewayId: "demo",
    jwtSecret: "a secret for tests only, 32 bytes and more",
    persistence: "sqlite",
    directory,
    vars: { LOG_LEVEL: "error" },
  } as const;
  let server = new GatewayServer(options);
  await server.start();
  const request = async (method: string, path: string, body?: unknown) => {
    const authorization = `Bearer ${await server.token({ sub: "root", role: "admin" })}`;
    const headers = { authorization, "content-type": "application/json" };
    const response = await fetch(new URL(`/v1/demo${path}`, server.url), {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return (await response.json()) as {
      acceptedCount?: number;
      rows?: { rowId: string; columns: { value: unknown }[] }[];
      hasMore?: boolean;
      cursor: string;
    };
  };
  try {
    const columns = [{ name: "text", type: "string" }];
    await request("PUT", "/admin/tables/notes", { columns, shards: SHARDS });
    await request("PUT", "/admin/tables/common", { columns });
    const acknowledged = new Map<string, string>();
    for (let round = 0; round < KILLS; round++) {
      const hlc = (n: number) => ((BigInt(Date.now()) << 16n) + BigInt(n)).toString();
      const deltas = Array.from({ length: 1 + round * 5 }, (_, i) => ({
        op: i < round ? "UPDATE" : "INSERT",
        table: i % 3 === 0 ? "common" : "notes",
        rowId: i < round ? `r${i}-${i}` : `r${round}-${i}`,
        hlc: hlc(i),
        columns: [{ column: "text", value: `round ${round}` }],
      }));
      const { acceptedCount } = await request("POST", "/push", { clientId: "root-1", deltas });
      const pids = workerds();
      for (const pid of pids) process.kill(pid, "SIGKILL");
      expect([acceptedCount, pids.length]).toEqual([deltas.length, 1]);
      for (const { table, rowId } of deltas) {
        const key = `${table}/${rowId}`;
        if (!rowId.startsWith(`r${round}-`) && !acknowledged.has(key)) continue; // an update of a row that never was
        acknowledged.set(key, `round ${round}`);
      }
      await server.stop();
      server = new GatewayServer(options);
      await server.start();
      const found = new Map<string, string>();
      for (let cursor = "", more = true; more; ) {
        const page = await request("POST", "/pull", { cursor });
        for (const row of page.rows ?? [])
          found.set(`${(row as unknown as { table: string }).table}/${row.rowId}`, String(row.columns[0]?.value));
        cursor = page.cursor;
        more = page.hasMore ?? false;
      }
      expect(new Map([...found].sort())).toEqual(new Map([...acknowledged].sort()));
    }
  } finally {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}, 180_000);

/**
 * Engines attach to a running gateway by its address and a token: catalogue and files through the Worker, from a bucket that
 * no engine has keys of. They read every snapshot of a table that was flushed 200 times, changed its schema, and was
 * compacted by itself meanwhile.
 */
import { request as rawRequest } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ColumnType } from "../../schemas/index.ts";
import { GatewayServer } from "../../server/index.ts";
import { sorted, withoutNulls } from "./plain.ts";
import { ENGINES, runPython } from "./python.ts";

const FLUSHES = 200;
const TYPES: Record<string, ColumnType> = {
  title: "string",
  votes: "integer",
  rating: "number",
  seen: "timestamp",
  added: "string",
  score: "number",
};
/** Columns that the table has from a flush on. */
const COLUMNS_AT = new Map([
  [0, ["title", "votes", "rating", "seen"]],
  [60, ["title", "votes", "rating", "seen", "added"]],
  [130, ["title", "votes", "rating", "seen", "added", "score"]],
]);

const server = new GatewayServer({
  port: 0,
  gatewayId: "demo",
  jwtSecret: "a secret of the interop tests, and of nothing else",
  persistence: "memory",
  vars: { LOG_LEVEL: "error", FLUSH_AGE_MS: "600000" },
});

type Row = Record<string, unknown>;
interface Snapshot {
  readonly "snapshot-id": number | bigint;
  readonly summary: Record<string, string>;
}
let token: string;
/** The shard's rows, and the edits that made them, by the watermark of the flush. */

const rowsAt = new Map<string, string[]>();
const edits: string[] = [];

// biome-ignore lint/suspicious/noExplicitAny: answers of every shape are looked into
async function ask(method: string, path: string, body?: unknown): Promise<any> {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const init = { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) };
  const response = await fetch(new URL(path, server.url), init);
  expect(response.status, `${method} ${path}`).toBe(200);
  return response.json();
}

const WATERMARK = "lakesync.watermark.common";

async function snapshotsOf(table: string): Promise<Snapshot[]> {
  return (await ask("GET", `/iceberg/v1/demo/namespaces/app/tables/${table}`)).metadata.snapshots;
}

/** A cell as scripts/interop/bridge.py has it. */
function plain(name: string, value: unknown): unknown {
  const type = TYPES[name];
  const inner = typeof value === "object" && value !== null ? Object.values(value)[0] : value;
  if (type === "integer" && inner !== null) return String(inner);
  if (type !== "timestamp" || inner === null) return inner;
  const [whole, rest = ""] = String(inner).replace("Z", "").split(".");
  return `${whole}.${rest.padEnd(6, "0")}Z`;
}

async function shardRows(): Promise<string[]> {
  const rows: Row[] = [];
  for (let cursor = "", more = true; more; ) {
    const page = await ask("POST", "/v1/demo/pull", { clientId: "reader", tables: ["movies"], cursor });
    for (const row of page.rows) {
      if (row.deleted) continue;
      const cells = row.columns.map((c: { column: string; value: unknown }) => [c.column, plain(c.column, c.value)]);
      rows.push(withoutNulls({ _id: row.rowId, ...Object.fromEntries(cells) }));
    }
    ({ cursor, hasMore: more } = page);
  }
  return sorted(rows);
}

let tick = 0;
const alive = new Set<string>();

function edit(n: number, columns: readonly string[]) {
  const rowId = `movie-${(n * 37) % 61}`;
  const op = !alive.has(rowId) ? "INSERT" : n % 9 === 0 ? "DELETE" : "UPDATE";
  if (op === "DELETE") alive.delete(rowId);
  else alive.add(rowId);
  edits.push(`${op} ${rowId}`);
  const all: Row = {
    title: n % 11 === 0 ? null : `film ${n} 🎬`,
    votes: n % 5 === 0 ? { integer: String(2n ** 60n + BigInt(n)) } : n,
    rating: n / 7,
    seen: { timestamp: `2026-01-${String((n % 28) + 1).padStart(2, "0")}T12:30:00.123456Z` },
    added: `column ${n}`,
    score: -n / 3,
  };
  const named = op === "INSERT" ? columns : op === "UPDATE" ? columns.filter((_, at) => (at + n) % 2 === 0) : [];
  const hlc = ((BigInt(Date.now()) << 16n) + BigInt(tick++ % 60_000)).toString();
  return { op, table: "movies", rowId, hlc, columns: named.map((column) => ({ column, value: all[column] })) };
}

beforeAll(async () => {
  await server.start();
  token = await server.token({ sub: "root", role: "admin" });
  let columns: readonly string[] = [];
  for (let at = 0, n = 0; at < FLUSHES; at++) {
    const changed = COLUMNS_AT.get(at);
    if (changed) {
      columns = changed;
      const definition = { columns: changed.map((name) => ({ name, type: TYPES[name] })) };
      await ask("PUT", "/v1/demo/admin/tables/movies", definition);
    }
    const deltas = Array.from({ length: 5 }, () => edit(n++, columns));
    const pushed = await ask("POST", "/v1/demo/push", { clientId: "writer", deltas });
    expect(pushed.acceptedCount).toBe(5);
    const { shards } = await ask("POST", "/v1/demo/admin/flush");
    expect(shards).toMatchObject([{ state: "flushed" }]);
    rowsAt.set(String(edits.length), await shardRows());
  }
});
afterAll(() => server.stop());

describe.each(ENGINES)("$engine", ({ engine, left }) => {
  test.skipIf(left)("[L1] [L3] [L4] attaches with an address and a token, and reads every snapshot", async () => {
    const [main, changes] = [await snapshotsOf("movies"), await snapshotsOf("movies__changes")];
    expect(main.filter((each) => each.summary.operation === "replace").length).toBeGreaterThan(5);
    expect(main.length).toBeGreaterThan(FLUSHES);
    const some = changes.filter((_, at) => at % 25 === 0 || at === changes.length - 1);
    const reads = [
      ...main.map((each) => ({ table: "app.movies", snapshotId: String(each["snapshot-id"]) })),
      ...some.map((each) => ({ table: "app.movies__changes", snapshotId: String(each["snapshot-id"]) })),
    ];
    const uri = new URL("/iceberg", server.url).href;
    const seen = await runPython<Row[][]>("attach.py", { engine, uri, token, warehouse: "demo", reads });
    main.forEach(({ summary }, at) => {
      const rows = (seen[at] ?? []).map(({ _hlc, _seq, ...row }) => withoutNulls(row));
      const watermark = summary[WATERMARK] ?? "";
      expect(sorted(rows), `at ${watermark}`).toEqual(rowsAt.get(watermark));
    });
    some.forEach(({ summary }, at) => {
      const rows = (seen[main.length + at] ?? []).sort((a, b) => Number(a._seq) - Number(b._seq));
      expect(rows.map((row) => `${row._op} ${row._id}`)).toEqual(edits.slice(0, Number(summary[WATERMARK])));
    });
  });
});

/** Sends a path as it is written, which fetch and URL would tidy. */
function raw(path: string, headers: Record<string, string> = {}): Promise<{ status: number; text: string }> {
  const { hostname, port } = server.url;
  return new Promise((done, fail) => {
    rawRequest({ hostname, port, path, headers }, async (response) => {
      let text = "";
      for await (const chunk of response) text += chunk;
      done({ status: response.statusCode ?? 0, text });
    })
      .once("error", fail)
      .end();
  });
}

test("[S3] paths as no client of ours would write them lead nowhere", async () => {
  for (const path of [
    "/s3/lakesync-lake/demo/../other/x",
    "/s3/lakesync-lake/%2e%2e/%2e%2e/v1/demo/admin/status",
    "/s3/../v1/demo/admin/status",
    "/s3//lakesync-lake//demo",
    "/s3/lakesync-lake/demo\\..\\other",
    "/s3/lakesync-lake/demo%00",
    "/s3/%",
    "/s3",
  ]) {
    const { status, text } = await raw(path);
    expect([path, status >= 400 && status < 500]).toEqual([path, true]);
    expect(text).not.toMatch(/PAR1|stack| at /);
  }
});

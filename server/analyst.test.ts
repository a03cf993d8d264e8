/** The analyst against a running gateway, and against an oracle that merges every edit by the definitions of M1 to M5. */

import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Analyst, type AsOf, duckdbNode } from "../analyst/index.ts";
import { rowOf, type StampedEdit } from "../core/testing.ts";
import type { Scalar } from "../schemas/index.ts";
import { GatewayServer } from "./gateway-server.ts";

const ROUNDS = 36;
const FLUSH_EVERY = 3;
const COLUMNS = [
  { name: "title", type: "string" },
  { name: "votes", type: "integer" },
  { name: "rating", type: "number" },
];

interface Sent extends StampedEdit {
  readonly hlc: string;
}
type Rows = Record<string, Record<string, Scalar>>;

const server = new GatewayServer({
  port: 0,
  gatewayId: "demo",
  jwtSecret: "a secret of these tests, and of nothing else",
  persistence: "memory",
  vars: { LOG_LEVEL: "error", FLUSH_AGE_MS: "600000" },
});
let analyst: Analyst;
let token: string;
/** In the order of their seqs. */
const sent: Sent[] = [];
/** A time between two pushes, and how many edits there were. */
const times: { readonly ms: number; readonly edits: number }[] = [];

// biome-ignore lint/suspicious/noExplicitAny: answers of every shape are looked into
async function ask(method: string, path: string, body?: unknown): Promise<any> {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const init = { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) };
  const response = await fetch(new URL(path, server.url), init);
  expect(response.status, `${method} ${path}`).toBe(200);
  return response.json();
}

let state = 7;
const roll = (n: number): number => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
};

async function push(count: number, columns: readonly string[]): Promise<void> {
  const clientId = `device-${roll(3)}`;
  const deltas = Array.from({ length: count }, () => {
    // One edit in four was made up to a minute ago, on a device that was away.
    const ms = Date.now() - (roll(4) === 0 ? roll(60_000) : 0);
    const hlc = ((BigInt(ms) << 16n) + BigInt(sent.length)).toString();
    const letter = (["I", "I", "U", "U", "U", "D"] as const)[roll(6)] ?? "U";
    const values: Record<string, Scalar> = {
      title: roll(5) === 0 ? null : `title ${sent.length}`,
      votes: roll(1000),
      rating: roll(100) / 8,
      extra: `extra ${sent.length}`,
    };
    const some = columns.filter((name) => letter === "I" || name === "votes" || roll(2) === 0);
    const named = letter === "D" ? [] : some;
    const cells = Object.fromEntries(named.map((name) => [name, values[name] as Scalar]));
    const row = `row-${String(roll(40)).padStart(2, "0")}`;
    const text = BigInt(hlc).toString(16).padStart(16, "0");
    sent.push({ letter, row, stamp: text + clientId, columns: cells, hlc: text });
    const op = { I: "INSERT", U: "UPDATE", D: "DELETE" }[letter];
    return { op, table: "orders", rowId: row, hlc, columns: named.map((column) => ({ column, value: cells[column] })) };
  });
  const answer = await ask("POST", "/v1/demo/push", { clientId, deltas });
  expect(answer.rejected ?? []).toEqual([]);
}

/** What is true when exactly these edits are known. */
function oracle(edits: readonly Sent[], columns: readonly string[]): Rows {
  const rows: Rows = {};
  for (const id of new Set(edits.map(({ row }) => row))) {
    const { alive, cells } = rowOf(edits.filter(({ row }) => row === id));
    if (alive) rows[id] = Object.fromEntries(columns.map((name) => [name, cells[name]?.value ?? null]));
  }
  return rows;
}

const NAMES = ["title", "votes", "rating", "extra"];

async function rowsAt(asOf: AsOf | undefined, live = false): Promise<Rows> {
  const { rows } = await analyst.query(`SELECT _id, ${NAMES.join(", ")} FROM orders`, { ...(asOf && { asOf }), live });
  return Object.fromEntries(rows.map(({ _id, ...cells }) => [_id, cells])) as Rows;
}

const metadataOf = async (table: string) =>
  (await ask("GET", `/iceberg/v1/demo/namespaces/app/tables/${table}`)).metadata;
const flushedEdits = () => sent.length - 5;

beforeAll(async () => {
  await server.start();
  token = await server.token({ sub: "root", role: "admin" });
  analyst = new Analyst({ url: server.url, gatewayId: "demo", token: async () => token, engine: await duckdbNode() });
  await ask("PUT", "/v1/demo/admin/tables/orders", { columns: COLUMNS });
  for (let round = 0; round < ROUNDS; round++) {
    if (round === ROUNDS / 2)
      await ask("PUT", "/v1/demo/admin/tables/orders", { columns: [...COLUMNS, { name: "extra", type: "string" }] });
    await push(5, NAMES.slice(0, round < ROUNDS / 2 ? 3 : 4));
    await sleep(3);
    times.push({ ms: Date.now(), edits: sent.length });
    await sleep(3);
    if (round % FLUSH_EVERY === 0) await ask("POST", "/v1/demo/admin/flush");
  }
  await ask("POST", "/v1/demo/admin/flush");
  await ask("POST", "/v1/demo/admin/compact");
  await push(5, NAMES);
});
afterAll(async () => {
  await analyst.close();
  await server.stop();
});

describe("as it was", () => {
  test("[L6] at any time: what the gateway had received by then", async () => {
    for (const { ms, edits } of times.filter((_, at) => at % 2 === 0))
      expect(await rowsAt({ time: ms }), `after ${edits} edits`).toEqual(oracle(sent.slice(0, edits), NAMES));
    const [first] = times;
    expect(await rowsAt(new Date((first?.ms ?? 0) - 3_600_000))).toEqual({});
    expect(await rowsAt(new Date(first?.ms ?? 0).toISOString())).toEqual(oracle(sent.slice(0, first?.edits), NAMES));
  });

  test("[L6] at any HLC: what devices had written by then, however late it arrived", async () => {
    const flushed = sent.slice(0, flushedEdits());
    const stamps = flushed.map(({ hlc }) => hlc).sort();
    const late = flushed.some(({ hlc }, at) => flushed.slice(0, at).some((earlier) => earlier.hlc > hlc));
    expect(late).toBe(true);
    for (let at = 0; at < stamps.length; at += 15) {
      const hlc = stamps[at] as string;
      const known = flushed.filter((edit) => edit.hlc <= hlc);
      expect(await rowsAt({ hlc }), hlc).toEqual(oracle(known, NAMES));
      expect(await rowsAt({ hlc: BigInt(`0x${hlc}`) })).toEqual(oracle(known, NAMES));
    }
  });

  test("[L6] [L3] at any snapshot, those of compaction among them", async () => {
    const { snapshots } = await metadataOf("orders");
    const operations = new Set(snapshots.map((each: { summary: { operation: string } }) => each.summary.operation));
    expect(operations).toContain("replace");
    for (const { "snapshot-id": snapshot, summary } of snapshots) {
      const held = Number(summary["lakesync.watermark.common"]);
      expect(await rowsAt({ snapshot }), `at ${held}`).toEqual(oracle(sent.slice(0, held), NAMES));
    }
    await expect(rowsAt({ snapshot: 12345 })).rejects.toMatchObject({ code: "NotFound" });
  });

  test("[L6] a query that joins a table's rows with its history sees both as of one moment", async () => {
    const { ms, edits } = times[9] as (typeof times)[number];
    const { rows } = await analyst.query(
      `SELECT count(*) AS edits, (SELECT count(*) FROM orders) AS rows, count(DISTINCT h._client_id) AS devices
       FROM orders__changes h`,
      { asOf: { time: ms } },
    );
    const known = sent.slice(0, edits);
    expect(rows).toEqual([
      {
        edits,
        rows: Object.keys(oracle(known, NAMES)).length,
        devices: new Set(known.map(({ stamp }) => stamp.slice(16))).size,
      },
    ]);
  });
});

describe("as it is", () => {
  test("[L1] without live rows, what the lake has; with them, what the shard has, at one watermark", async () => {
    expect(await rowsAt(undefined)).toEqual(oracle(sent.slice(0, flushedEdits()), NAMES));
    expect(await rowsAt(undefined, true)).toEqual(oracle(sent, NAMES));
    const { seen } = await analyst.query("SELECT * FROM orders", { live: true });
    expect(seen.orders?.watermarks).toEqual({ common: sent.length });
    const newest = sent.map(({ hlc }) => hlc).sort();
    expect(await rowsAt({ hlc: newest.at(-2) as string }, true)).toEqual(
      oracle(
        sent.filter(({ hlc }) => hlc <= (newest.at(-2) as string)),
        NAMES,
      ),
    );
  });

  test("[L6] a row's history names every edit, who made it, when, and which columns", async () => {
    const [busiest = ""] = [...new Set(sent.map(({ row }) => row))].sort(
      (a, b) => sent.filter(({ row }) => row === b).length - sent.filter(({ row }) => row === a).length,
    );
    const changes = await analyst.history("orders", busiest, { live: true });
    const wanted = sent.filter(({ row }) => row === busiest).sort((a, b) => (a.stamp < b.stamp ? -1 : 1));
    expect(
      changes.map(({ op, hlc, clientId, columns }) => ({
        letter: op[0],
        stamp: hlc.toString(16).padStart(16, "0") + clientId,
        columns,
      })),
    ).toEqual(wanted.map(({ letter, stamp, columns }) => ({ letter, stamp, columns })));
    for (const { received, seq } of changes) {
      const before = times.filter(({ edits }) => edits < seq).at(-1)?.ms ?? 0;
      expect(Date.parse(received)).toBeGreaterThanOrEqual(before);
    }
    expect(await analyst.history("orders", "nobody")).toEqual([]);
  });

  test("[L6] diff names what was added, removed and changed between two moments, and nothing else", async () => {
    const [from, to] = [times[8], times[24]] as [(typeof times)[number], (typeof times)[number]];
    const [was, is] = [oracle(sent.slice(0, from.edits), NAMES), oracle(sent.slice(0, to.edits), NAMES)];
    const wanted = [...new Set([...Object.keys(was), ...Object.keys(is)])].sort().flatMap((rowId) => {
      const [before, after] = [was[rowId], is[rowId]];
      if (JSON.stringify(before) === JSON.stringify(after)) return [];
      const kind = !before ? "added" : !after ? "removed" : "changed";
      const columns = NAMES.filter((name) => kind !== "changed" || before?.[name] !== after?.[name]);
      return [{ rowId, kind, ...(before && { before }), ...(after && { after }), columns }];
    });
    const kinds = new Set(wanted.map(({ kind }) => kind));
    expect([...kinds].sort()).toEqual(["added", "changed", "removed"]);
    expect(await analyst.diff("orders", { time: from.ms }, { time: to.ms })).toEqual(wanted);
    expect(await analyst.diff("orders", { time: to.ms }, { time: to.ms })).toEqual([]);
  });

  test("what cannot be answered is refused with a code and a sentence", async () => {
    await expect(analyst.query("SELECT nope FROM orders")).rejects.toMatchObject({ code: "BadRequest" });
    await expect(analyst.query("SELECT * FROM nowhere")).rejects.toMatchObject({ code: "BadRequest" });
    await expect(analyst.query("SELECT 1", { asOf: "yesterday" })).rejects.toMatchObject({ code: "BadRequest" });
    await expect(analyst.history("nowhere", "x")).rejects.toMatchObject({ code: "NotFound" });
    const client = new Analyst({
      url: server.url,
      gatewayId: "demo",
      token: await server.token({ sub: "alice" }),
      engine: await duckdbNode(),
    });
    await expect(client.query("SELECT * FROM orders")).rejects.toMatchObject({ code: "Forbidden" });
    await client.close();
  });
});

test("the example in docs/analyst.md runs as it stands", async () => {
  const root = join(import.meta.dirname, "..");
  const page = readFileSync(join(root, "docs/analyst.md"), "utf8");
  const [, code = ""] = /```ts\n(.*?)```/s.exec(page) ?? [];
  mkdirSync(join(root, ".cache"), { recursive: true });
  const folder = mkdtempSync(join(root, ".cache", "example-"));
  try {
    const file = join(folder, "example.ts");
    writeFileSync(file, code.replace('"lakesync/analyst"', '"../../analyst/index.ts"'));
    const env = { ...process.env, GATEWAY: server.url.href, TOKEN: token };
    const { stdout } = await promisify(execFile)(process.execPath, [file], { env });
    const [flushed, all] = [oracle(sent.slice(0, flushedEdits()), NAMES), oracle(sent, NAMES)];
    expect(stdout).toContain(`now ${Object.keys(flushed).length} live ${Object.keys(all).length}`);
    expect(stdout).toMatch(/received: '/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe("what is fetched", () => {
  /** 36,000 rows in three files of 12,000, in the order of their ids, and bigger than what is fetched whole. */
  beforeAll(async () => {
    const columns = ["name", "note"].map((name) => ({ name, type: "string" }));
    await ask("PUT", "/v1/demo/admin/tables/parts", { columns: [...columns, { name: "made", type: "timestamp" }] });
    for (let file = 0; file < 3; file++) {
      for (let from = 0; from < 12_000; from += 2000) {
        const deltas = Array.from({ length: 2000 }, (_, k) => {
          const n = file * 12_000 + from + k;
          const hlc = ((BigInt(Date.now()) << 16n) + BigInt(k)).toString();
          const note = Array.from({ length: 7 }, () => roll(2 ** 30).toString(36)).join(" ");
          const values = { name: `part ${n}`, note, made: 1_700_000_000_000_000 + n * 1_000_000 };
          const cells = Object.entries(values).map(([column, value]) => ({
            column,
            value: column === "made" ? { timestamp: new Date(Number(value) / 1000).toISOString() } : value,
          }));
          return { op: "INSERT", table: "parts", rowId: `p${String(n).padStart(6, "0")}`, hlc, columns: cells };
        });
        await ask("POST", "/v1/demo/push", { clientId: "factory", deltas });
      }
      await ask("POST", "/v1/demo/admin/flush");
    }
  });

  const fresh = async (sql: string) => {
    const engine = await duckdbNode();
    const one = new Analyst({ url: server.url, gatewayId: "demo", token, engine });
    try {
      return await one.query(sql);
    } finally {
      await one.close();
    }
  };

  test.each([
    ["by id", "SELECT count(*) AS n FROM parts WHERE _id = 'p020000'", 1, 2],
    ["by a range of ids", "SELECT count(*) AS n FROM parts p WHERE p._id >= 'p010000' AND p._id < 'p011000'", 1000, 2],
    ["by time", "SELECT count(*) AS n FROM parts WHERE made >= '2023-11-15 05:43:20'", 9_000, 2],
    [
      "by seq",
      "WITH p AS (SELECT * FROM parts) SELECT count(*) AS n FROM p WHERE _seq BETWEEN 1 AND 200",
      undefined,
      2,
    ],
    ["never where it may be wrong", "SELECT count(*) AS n FROM parts WHERE _id = 'p020000' OR name = 'part 7'", 2, 0],
    ["nothing without a reason", "SELECT count(*) AS n FROM parts", 36_000, 0],
  ])("files are left out %s", async (_what, sql, n, pruned) => {
    const { rows, stats } = await fresh(sql);
    if (n !== undefined) expect(rows).toEqual([{ n }]);
    expect(stats).toMatchObject({ files: 3, filesPruned: pruned });
  });

  test("only the columns that a query needs are fetched, by ranges", async () => {
    const whole = await fresh("SELECT max(note) AS a, max(name) AS b, max(made) AS c FROM parts");
    const one = await fresh("SELECT max(made) AS c FROM parts");
    expect(one.rows).toEqual([{ c: whole.rows[0]?.c }]);
    expect(one.stats.bytes).toBeLessThan(whole.stats.bytes / 2);
  });

  test("a file that was read is not fetched again", async () => {
    await analyst.query("SELECT count(name) AS n FROM parts");
    const { rows, stats } = await analyst.query("SELECT count(name) AS n FROM parts");
    expect(rows).toEqual([{ n: 36_000 }]);
    expect(stats.requests).toBe(0);
  });

  test("an answer is Arrow too", async () => {
    const result = await analyst.query(
      "SELECT _id, made, length(name) AS n FROM parts WHERE _id < 'p000003' ORDER BY 1",
    );
    const { tableFromIPC } = await import("@uwdata/flechette");
    const table = tableFromIPC(result.arrow());
    expect(table.toArray()).toEqual(
      [0, 1, 2].map((n) => ({ _id: `p00000${n}`, made: 1_700_000_000_000 + n * 1000, n: 6 })),
    );
    expect(result.rows[0]).toEqual({ _id: "p000000", made: "2023-11-14T22:13:20.000Z", n: 6 });
  });
});

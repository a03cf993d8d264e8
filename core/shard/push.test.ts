/** Push: what is on disk, what is refused, what it costs. */
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  batchDeltas,
  CELL_BYTES_MAX,
  CLOCK_DRIFT_MS_MAX,
  type ClientId,
  type DeltaBatch,
  HLC_ZERO,
  type HlcText,
  isErrorCode,
  type LooseDelta,
  type Scalar,
  type Seq,
  unwrap,
} from "../../schemas/index.ts";
import { deltaId } from "../delta-id.ts";
import { NodeSqlStore } from "../testing/node-sqlite.ts";
import {
  ADMIN,
  clockAt,
  configOf,
  Device,
  type Edit,
  edit,
  historyPageOf,
  NOW,
  push,
  shardOf,
  TODOS,
  tableOf,
  user,
} from "../testing/shard-kit.ts";
import { ShardEngine } from "./engine.ts";

const alice = user("alice");
const mine = (rowId: string, ms: number, more: Record<string, Scalar> = {}) =>
  edit("INSERT", rowId, ms, { user_id: "alice", ...more });

/** All that was ever taken: (seq, letter, row, clock), through leases that land. */
function historyOf(shard: ShardEngine, nowMs = NOW): string[] {
  const taken = shard.lease(nowMs, "h");
  if (typeof taken === "string") return [];
  const { lease, tables } = taken;
  const entries = tables.flatMap((table) =>
    historyPageOf(shard, "h", table, lease.from, Number.MAX_SAFE_INTEGER).page.flatMap(({ seqs, batch }) =>
      seqs.map((seq, at) => `${seq} ${batch.ops[at]} ${batch.rowIds[at]} ${batch.hlcs[at]}`),
    ),
  );
  shard.settle(
    "h",
    tables.map(({ table }) => ({ table })),
    nowMs,
  );
  return entries;
}

const folder = mkdtempSync(join(tmpdir(), "lakesync-shard-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** What a process finds that starts on the files as a kill left them. */
function afterKill(path: string, at: number): ShardEngine {
  const copy = join(folder, `killed-${at}.db`);
  copyFileSync(path, copy);
  copyFileSync(`${path}-wal`, `${copy}-wal`);
  return new ShardEngine(new NodeSqlStore(copy));
}

test("[PU1] after each acknowledgement a process that starts on the files finds what the one that was killed had", () => {
  const path = join(folder, "shard.db");
  const shard = new ShardEngine(new NodeSqlStore(path));
  shard.configure(configOf());
  const rows = ["a", "b", "c"];
  for (let at = 0; at < 40; at++) {
    const id = rows[at % 3] as string;
    if (at % 7 === 3) push(shard, alice, [edit("DELETE", id, at)]);
    else push(shard, alice, [mine(id, at, { title: `t${at}` }), edit("UPDATE", id, at - 100, { priority: at })]);
    if (at === 20) shard.lease(NOW, "k");
    if (at === 30) shard.settle("k", [{ table: "todos" }], NOW);
    const reborn = afterKill(path, at);
    const { databaseBytes: _, ...status } = reborn.status();
    expect(shard.status()).toMatchObject(status);
    expect(reborn.config).toEqual(shard.config);
    const [here, there] = [new Device(ADMIN), new Device(ADMIN)];
    here.pullAll(shard);
    there.pullAll(reborn);
    expect([...there.alive]).toEqual([...here.alive]);
    expect(there.position).toEqual(here.position);
    if (at % 7 !== 3) expect(there.cell(`todos/${id}`, "title")).toBe(`t${at}`);
  }
});

test("[PU1] a push that fails halfway leaves nothing, in memory or on disk", () => {
  const sql = new NodeSqlStore();
  const shard = shardOf({}, {}, sql);
  push(shard, alice, [mine("a", 1)]);
  const exec = sql.exec.bind(sql);
  sql.exec = (text, ...bindings) => {
    if (text.startsWith("INSERT INTO log")) throw new Error("disk full");
    return exec(text, ...bindings);
  };
  const before = shard.status();
  expect(() => push(shard, alice, [mine("b", 2), { ...mine("n", 2), table: "notes" }])).toThrow("disk full");
  sql.exec = exec;
  expect(shard.status()).toEqual(before);
  push(shard, alice, [{ ...mine("n", 3), table: "notes" }, mine("c", 3)]);
  const device = new Device(alice);
  device.pullAll(shard);
  expect([...device.alive.keys()]).toEqual(["notes/n", "todos/a", "todos/c"]);
});

test("[PU2] a late edit that lost everywhere is in the history once, also when it comes again after its log was trimmed", () => {
  const shard = shardOf();
  push(shard, alice, [mine("a", 10, { title: "new" }), mine("b", 10)]);
  const late = [
    edit("UPDATE", "a", 5, { title: "late" }),
    edit("DELETE", "b", 6),
    edit("UPDATE", "b", 7, { user_id: "alice" }),
  ];
  const pushLate = (edits: readonly Edit[]) => push(shard, alice, edits, "c-2");
  pushLate([...late, ...late]);
  pushLate(late.slice(0, 1));
  expect(historyOf(shard)).toEqual([
    `1 I a ${clockAt(10)}`,
    `2 I b ${clockAt(10)}`,
    `3 D b ${clockAt(6)}`,
    `4 U a ${clockAt(5)}`,
    `5 U b ${clockAt(7)}`,
  ]);
  for (const again of [late, late.toReversed(), late.slice(1)])
    expect(pushLate(again).acceptedCount).toBe(again.length);
  expect(historyOf(shard)).toEqual([]);
  expect(shard.head).toBe(5);
  // The same clock on another row is another edit.
  pushLate([edit("UPDATE", "a", 6, { title: "late" })]);
  expect(historyOf(shard)).toEqual([`6 U a ${clockAt(6)}`]);
});

test("[PU2] what was dropped with the change lists is still known by each client's clock", () => {
  const shard = shardOf({}, { listDeltas: 0 });
  push(shard, alice, [mine("a", 10, { title: "new" })]);
  const late = [edit("UPDATE", "a", 5, { title: "late" })];
  push(shard, alice, late, "c-2");
  expect(historyOf(shard)).toHaveLength(2);
  push(shard, alice, late, "c-2");
  expect(shard.ownerOf("c-2")).toBeUndefined();
  shard.rememberOwner("c-2", "alice");
  shard.rememberOwner("c-2", "mallory");
  expect(shard.ownerOf("c-2")).toBe("alice");
  push(shard, alice, late, "c-2");
  expect(historyOf(shard)).toEqual([]);
});

const STRICT = { ...tableOf("strict", { name: "string", n: "integer", j: "json" }), version: 3 };
const strictShard = () => {
  const table = { ...STRICT, columns: STRICT.columns.map((c) => (c.name === "name" ? { ...c, nullable: false } : c)) };
  return shardOf({ tables: [table, TODOS], owns: { strict: { index: 0, of: 1 }, todos: { index: 0, of: 1 } } });
};
const strict = (op: Edit["op"], columns: Record<string, unknown>, change: Partial<Edit> = {}): Edit => ({
  ...edit(op, "r", 1, columns as Record<string, Scalar>, "strict"),
  ...change,
});

test.each<[string, Edit, RegExp]>([
  ["UnknownTable", strict("INSERT", {}, { table: "nothing" }), /no table "nothing"/],
  ["UnknownTable", strict("INSERT", {}, { table: "constructor" }), /no table "constructor"/],
  ["UnknownColumn", strict("INSERT", { name: "x", colour: "red" }), /"strict" \(version 3\) has no column "colour"/],
  ["WrongType", strict("INSERT", { name: 5 }), /Column "name": 5 is not a value of type string/],
  ["WrongType", strict("INSERT", { name: "x", n: 1.5 }), /Column "n"/],
  ["WrongType", strict("INSERT", { name: "x", n: "9007199254740991" }), /Column "n"/],
  ["WrongType", strict("INSERT", { name: "x", j: '{ "spaced": 1 }' }), /Column "j"/],
  ["WrongType", strict("INSERT", { name: "x", j: {} }), /canonical values only/],
  ["WrongType", strict("INSERT", { name: "x", j: [1] }), /canonical values only/],
  ["NotNull", strict("INSERT", { n: 1 }), /"name" of table "strict" takes no NULL/],
  ["NotNull", strict("UPDATE", { name: null }), /takes no NULL/],
  ["BadRowId", strict("INSERT", { name: "x" }, { rowId: "" }), /1 to 512 bytes/],
  ["BadRowId", strict("INSERT", { name: "x" }, { rowId: "x".repeat(513) }), /1 to 512 bytes/],
  ["BadHlc", strict("INSERT", { name: "x" }, { hlc: HLC_ZERO }), /positive 63-bit/],
  ["BadHlc", strict("INSERT", { name: "x" }, { hlc: "8000000000000000" as HlcText }), /positive 63-bit/],
  ["ClockDrift", strict("INSERT", { name: "x" }, { hlc: clockAt(CLOCK_DRIFT_MS_MAX + 1) }), /60 s/],
  ["CellTooLarge", strict("INSERT", { name: "x".repeat(CELL_BYTES_MAX + 1) }), /"name"/],
  [
    "RowTooLarge",
    strict("INSERT", { name: "\u0001".repeat(CELL_BYTES_MAX), j: `"${"y".repeat(CELL_BYTES_MAX - 2)}"` }),
    /larger than/,
  ],
  ["WriteForbidden", strict("INSERT", { name: "x" }), /sync rules/],
  ["BadRequest", strict("DELETE", { name: "x" }), /names no columns/],
  ["BadRequest", strict("UPDATE", {}), /at least one column/],
])("[PU3] %s is refused by itself, with its id and a sentence; its neighbours land", (code, bad, message) => {
  const shard = strictShard();
  const claims = code === "WriteForbidden" ? alice : ADMIN;
  const good = [mine("before", 1), mine("after", 1)];
  const outcome = push(shard, claims, [good[0] as Edit, bad, good[1] as Edit], "c1");
  expect(outcome.acceptedCount).toBe(2);
  expect(outcome.rejected).toHaveLength(1);
  const [refused] = outcome.rejected;
  expect(refused).toMatchObject({ code, table: bad.table, rowId: bad.rowId, hlc: bad.hlc });
  expect(refused?.message).toMatch(message);
  expect(refused?.message).toMatch(/[.!?]$/);
  expect(isErrorCode(refused?.code ?? "")).toBe(true);
  const sent = Object.fromEntries(
    Object.entries(bad.columns).filter(([, v]) => typeof v !== "object" || v === null),
  ) as Edit["columns"];
  expect(refused?.deltaId).toBe(deltaId({ ...bad, columns: sent, clientId: "c1" as ClientId }));
  const device = new Device(ADMIN);
  device.pullAll(shard);
  expect([...device.alive.keys()]).toEqual(["todos/after", "todos/before"]);
});

test("[PU3] deltas of people: an id that is claimed has to be right, values are read by type, ids are answered", () => {
  const shard = shardOf();
  const loose = (rowId: string, deltaId: string, value: string): LooseDelta => ({
    letter: "I",
    table: "todos",
    rowId,
    hlc: clockAt(1),
    deltaId,
    columns: [
      { name: "user_id", value: "alice" },
      { name: "priority", value },
    ],
  });
  const idOf = (rowId: string) =>
    deltaId({
      clientId: "p" as ClientId,
      hlc: clockAt(1),
      table: "todos",
      rowId,
      columns: { priority: 7, user_id: "alice" },
    });
  const twice = {
    ...loose("d", "", "7"),
    columns: [
      { name: "title", value: "x" },
      { name: "title", value: "y" },
    ],
  };
  const deltas = [
    loose("a", "", "7"),
    loose("b", idOf("b"), "7"),
    loose("c", idOf("b"), "7"),
    twice,
    loose("e", "", "seven"),
  ];
  const outcome = unwrap(shard.push({ clientId: "p" as ClientId, claims: alice, nowMs: NOW, batches: [], deltas }));
  expect(outcome.accepted).toEqual([idOf("a"), idOf("b")]);
  expect(outcome.rejected.map((r) => [r.rowId, r.code])).toEqual([
    ["c", "DeltaIdMismatch"],
    ["d", "BadRequest"],
    ["e", "WrongType"],
  ]);
});

test("[PU3] a row at its limit can be deleted, and no row outgrows what SQLite takes", () => {
  const shard = shardOf();
  // Control characters take six bytes each in JSON: the worst that text can do.
  for (const [at, title] of [
    ["x", "\u0001"],
    ["y", "é"],
    ["z", '"'],
    ["w", "a"],
  ].entries())
    for (let size = 1 << 19; size > 1; size >>= 1)
      push(shard, alice, [
        mine(title[0] as string, at * 100 + Math.log2(size), { title: (title[1] as string).repeat(size) }),
      ]);
  const rows = shard.exportRows("todos", "", 10);
  expect(rows.length).toBe(4);
  for (const { id, state } of rows) {
    expect(Buffer.byteLength(state)).toBeLessThan(1_100_000);
    expect(push(shard, alice, [edit("DELETE", id, 10_000)]).rejected).toEqual([]);
  }
});

test("[PU4] a push with a row that lives elsewhere, or is on the move, writes nothing", () => {
  for (const slice of [
    { index: 0, of: 2 },
    { index: 0, of: 1, sealed: true },
  ]) {
    const shard = shardOf({ owns: { todos: slice, notes: { index: 0, of: 1 } } });
    const batches = batchDeltas(["a", "b", "c", "d"].map((id) => ({ ...mine(id, 1), clientId: "c" as ClientId })));
    expect(shard.push({ clientId: "c" as ClientId, claims: alice, nowMs: NOW, batches, deltas: [] })).toMatchObject({
      error: { code: "ShardMoved" },
    });
    expect(shard.status()).toMatchObject({ head: 0, tables: [] });
  }
});

test("[PU5] at its cap the log takes nothing, says when to come again, and takes again once it is flushed", () => {
  const shard = shardOf({}, { logBytesMax: 500 });
  let rows = 0;
  const input = () => ({
    clientId: "c" as ClientId,
    claims: alice,
    nowMs: NOW,
    deltas: [],
    batches: batchDeltas([{ ...mine(`r${rows}`, rows), clientId: "c" as ClientId }]),
  });
  while (shard.push(input()).ok) if (++rows > 100) expect.fail("never full");
  const before = shard.status();
  const refused = shard.push(input());
  expect(refused).toMatchObject({ error: { code: "LogFull", status: 429, details: { retryAfterSeconds: 5 } } });
  expect(shard.status()).toEqual(before);
  expect(historyOf(shard)).toHaveLength(rows);
  expect(shard.push(input()).ok).toBe(true);
});

test("rows written per delta are at most 1.2 in batches of 100 and more, for new rows, updates and deletes", () => {
  for (const size of [100, 1000]) {
    const sql = new NodeSqlStore();
    const shard = shardOf({}, {}, sql);
    const ids = Array.from({ length: size }, (_, n) => `row-${n}`);
    const cost = (edits: readonly Edit[], leased: boolean) => {
      if (leased) shard.lease(NOW, "x");
      const before = sql.rowsWritten;
      push(shard, alice, edits);
      return (sql.rowsWritten - before) / size;
    };
    expect(
      cost(
        ids.map((id) => mine(id, 1, { title: id })),
        false,
      ),
    ).toBeLessThanOrEqual(1.2);
    expect(
      cost(
        ids.map((id) => edit("UPDATE", id, 2, { title: "x" })),
        false,
      ),
    ).toBeLessThanOrEqual(1.2);
    expect(
      cost(
        ids.map((id) => edit("UPDATE", id, 3, { title: "y" })),
        true,
      ),
    ).toBeLessThanOrEqual(1.2);
    expect(
      cost(
        ids.map((id) => edit("DELETE", id, 4)),
        false,
      ),
    ).toBeLessThanOrEqual(1.2);
    expect(
      cost(
        ids.map((id) => edit("DELETE", id, 4)),
        false,
      ),
    ).toBe(0);
  }
});

test("text and numbers come back from the shard as they went in", () => {
  const odd = ["\u0000\u0001\u001f\u007f", '"\\/\b\n', "\u2028\uffff\u{1f600}é", "", "null", "1e5"];
  const table = tableOf("odd", { s: "string", n: "number" });
  const shard = shardOf({ tables: [table], owns: { odd: { index: 0, of: 1 } } });
  const numbers = [5e-324, 1.7976931348623157e308, -0.1, 1e21, 123456789012345680000, 9007199254740991];
  push(
    shard,
    ADMIN,
    odd.map((s, at) => edit("INSERT", `row-${at}`, at, { s, n: numbers[at] as number }, "odd")),
  );
  // A second edit reads the stored row and writes it again.
  push(shard, ADMIN, [edit("UPDATE", "row-4", 99, { n: 1 }, "odd")]);
  const device = new Device(ADMIN);
  device.pullAll(shard);
  odd.forEach((s, at) => {
    const key = `odd/row-${at}`;
    expect(device.cell(key, "s")).toBe(s);
    if (s !== "null") expect(device.cell(key, "n")).toBe(numbers[at]);
  });
  const batch = shard.lease(NOW, "t");
  if (typeof batch === "string") return expect.fail(batch);
  const { page } = historyPageOf(shard, "t", table, 0 as Seq);
  const logged = page.flatMap(({ batch: b }: { batch: DeltaBatch }) =>
    b.columns.find((c) => c.name === "s")?.values.slice(0, 6),
  );
  expect(logged.slice(0, 6)).toEqual(odd);
});

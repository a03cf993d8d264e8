/** A real shard that loses its storage, and is rebuilt from a lake that its own flushes and checkpoints made. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type FlushSource,
  flushOnce,
  type PackedRow,
  rowHash,
  ShardEngine,
  type SqlStore,
  TableDigest,
} from "../core/index.ts";
import { ADMIN, clockAt, Device, type Edit, edit, NOTES, NodeSqlStore, push, shardOf, TODOS } from "../core/testing.ts";
import {
  type ClientId,
  hlcMillis,
  type LakeSyncError,
  ok,
  packHlc,
  type Result,
  type Seq,
  unwrap,
} from "../schemas/index.ts";
import { IcebergAdapter } from "./adapter.ts";
import { readCheckpoint, writeCheckpoint } from "./checkpoint/index.ts";
import { manifestKey } from "./checkpoint/keys.ts";
import { identOf, lakeContent, watermarkOf } from "./iceberg/index.ts";
import { initParquetInNode } from "./node.ts";
import { type RebuildOptions, type RebuildTarget, rebuildShard } from "./rebuild.ts";
import { sourceOf } from "./testing/checkpoint-kit.ts";
import { readTable, testLake } from "./testing/lake.ts";

initParquetInNode();
/** Gateway time. */
const NOW = 1_800_000_000_000;
const TABLES = [NOTES, TODOS];
const RULES = { buckets: [{ name: "all", tables: ["todos", "notes"], filters: [], write: [] }] };
const place = { gatewayId: "demo", shard: "main" };

const plain = async <T>(body: () => T): Promise<Result<T, LakeSyncError>> => {
  try {
    return ok(body());
  } catch (error) {
    return { ok: false, error: error as LakeSyncError };
  }
};

/** @param engine asked anew at each call, since it may start again */
function targetOf(engine: () => ShardEngine, shard = "main"): RebuildTarget {
  return {
    gatewayId: "demo",
    shard,
    begin: (at, top, force) => plain(() => engine().beginRebuild(at, 0, top, force)),
    clocks: (at, table, clocks) => plain(() => engine().rebuildClocks(at, table, clocks)),
    rows: (step, table, rows) => plain(() => engine().rebuildRows(step, table, rows)),
    edits: (step, table, edits, watermark) => plain(() => engine().rebuildEdits(step, table, edits, watermark)),
    digests: (tables) => plain(() => Object.fromEntries(tables.map((t) => [t, engine().rebuiltDigest(t)]))),
    end: (at) => plain(() => engine().endRebuild(at)),
  };
}

const flushSource = (
  engine: ShardEngine,
  shard: string,
  lease: (token: string) => ReturnType<ShardEngine["lease"]>,
): FlushSource => ({
  gatewayId: "demo",
  shard,
  lease: (token) => plain(() => lease(token)),
  renew: (token) => plain(() => engine.renew(token, 0)),
  flushRows: (token, table, after) => plain(() => engine.flushRows(token, table, after)),
  flushHistory: (token, table, after) => plain(() => engine.flushHistory(token, table, after)),
  settle: (token, results) => plain(() => engine.settle(token, results, 0)),
});

type Stored = [string, number, string, number, number, [string | 0, number, number[], unknown[]][], object?];

/** A row as it is compared: everything but where in the order each cell came, which only cursors of before would ask for. */
function rowsOf(engine: ShardEngine, table: string) {
  return engine.exportRows(table, "", 1e6).map(({ id, seq, state }: PackedRow) => {
    const [inserted, , deleted, , , layers, grave] = JSON.parse(state) as Stored;
    const cells = layers.map(([stamp, , columns, values]) => ({
      stamp: stamp === 0 ? inserted : stamp,
      columns,
      values,
    }));
    return { id, seq, inserted, deleted, cells, grave };
  });
}

function world(shard = "main") {
  let dying = false;
  const fault = async (point: string) => {
    if (dying && point === "flush: between history and rows") throw new Error("killed");
  };
  const lake = testLake({ fault });
  const adapter = new IcebergAdapter(lake.deps);
  const engine = shardOf({ rules: RULES, shard });
  /** The shard's rows as of the newest edits that the lake's history has. */
  const landed = new Map<string, ReturnType<typeof rowsOf>>();
  const watermark = async (table: string): Promise<number> => {
    const loaded = await lake.deps.catalogue.load(identOf(lake.deps, table, "changes"));
    return loaded.ok ? watermarkOf(loaded.value.metadata, shard) : 0;
  };
  let tokens = 0;
  /** Rows as they were at the end of each lease. */
  const ends = new Map<number, Map<string, ReturnType<typeof rowsOf>>>();
  const flush = async (of = engine, dies = false) => {
    dying = dies;
    let before = new Map<string, ReturnType<typeof rowsOf>>();
    const token = `t${++tokens}`;
    const source = flushSource(of, shard, (t) => {
      const leased = of.lease(Number.MAX_SAFE_INTEGER / 2 + tokens * 1e9, t);
      if (typeof leased === "string") return leased;
      // A lease that is taken again keeps its end.
      const { to } = leased.lease;
      before = ends.get(to) ?? new Map(TABLES.map(({ table }) => [table, rowsOf(of, table)]));
      ends.set(to, before);
      return leased;
    });
    const marks = await Promise.all(TABLES.map(({ table }) => watermark(table)));
    const flushing = flushOnce({ source, destination: adapter, clock: lake.clock as never, token });
    const errors = await flushing.then(
      (summary) => summary.errors,
      (error) => [(error as Error).message],
    );
    expect(errors.filter((error) => error !== "killed")).toEqual([]);
    for (const [at, { table }] of TABLES.entries())
      if ((await watermark(table)) > (marks[at] as number)) landed.set(table, before.get(table) ?? []);
    dying = false;
  };
  const checkpoint = async () => {
    const options = { mapVersion: async () => 1, force: true, chunkChars: 600 };
    const landed = async (seq: Seq) => {
      while (engine.status().flushed < seq) await flush();
      return ok(undefined);
    };
    const source = { ...sourceOf(engine), shard, gatewayId: "demo", landed };
    unwrap(await writeCheckpoint({ ...lake.deps, clock: lake.clock as never }, source, options));
  };
  const deps = { store: lake.deps.store, history: adapter };
  return { lake, adapter, engine, landed, flush, checkpoint, deps };
}

const options: RebuildOptions = { mapVersion: 1, tables: TABLES };

/** Goes on call after call, the shard starting again in between. */
async function rebuilt(
  it: ReturnType<typeof world>,
  more: Partial<RebuildOptions> = {},
  sql: SqlStore = new NodeSqlStore(),
) {
  let engine = shardOf({ rules: RULES }, {}, sql);
  for (let calls = 1; ; calls++) {
    const report = unwrap(
      await rebuildShard(
        it.deps,
        targetOf(() => engine),
        { ...options, ...more },
      ),
    );
    if (report.state === "rebuilt") return { engine, report, calls };
    expect(engine.pull({ claims: ADMIN, fingerprint: "", tables: [], maxBytes: 1000 }).ok).toBe(false);
    engine = new ShardEngine(sql);
  }
}

/** The lake's rows are the shard's, and no edit stands twice in its history. */
async function expectInStep(it: ReturnType<typeof world>, engine: ShardEngine) {
  for (const table of TABLES) {
    const content = await lakeContent(it.lake.deps, table);
    const { content: kept, rows } = engine.digest(table.table);
    expect(content?.counted ?? new TableDigest().content, table.table).toBe(kept);
    expect(rows).toBe(engine.countDigest(table.table).rows);
    if (!content) continue;
    const history = await readTable(it.lake.deps, table.table, "changes");
    const edits = history.map((row) => `${row._hlc} ${row._client_id} ${row._id}`);
    expect(edits.filter((key, at) => edits.indexOf(key) !== at)).toEqual([]);
  }
}

const editArb = fc
  .record({
    op: fc.constantFrom("INSERT" as const, "INSERT" as const, "UPDATE" as const, "UPDATE" as const, "DELETE" as const),
    row: fc.constantFrom("a", "b", "c", "d", "é"),
    ms: fc.integer({ min: -50, max: 50 }),
    table: fc.constantFrom("todos", "todos", "notes"),
    user: fc.option(fc.constantFrom("u", "v")),
    text: fc.option(fc.constantFrom("x", "y", "")),
    priority: fc.option(fc.integer({ min: 0, max: 3 })),
  })
  .map(({ op, row, ms, table, user, text, priority }): Edit => {
    const cells = table === "todos" ? { user_id: user, title: text, priority } : { user_id: user, body: text };
    return { ...edit(op, row, ms, op === "DELETE" ? {} : cells, table), hlc: clockAt(ms) };
  });
const stepArb = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      push: fc.array(editArb, { minLength: 1, maxLength: 4 }),
      client: fc.constantFrom("c1", "c2"),
    }),
  },
  { weight: 2, arbitrary: fc.constant("flush" as const) },
  { weight: 1, arbitrary: fc.constant("killed flush" as const) },
  { weight: 1, arbitrary: fc.constant("checkpoint" as const) },
);

test("[L7] [V1] a shard that is lost at any moment is rebuilt as it was when it was last flushed, cell by cell, tombstones too, and goes on", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(stepArb, { minLength: 1, maxLength: 14 }),
      fc.record({
        jobRows: fc.constantFrom(1, 3, 1000),
        pageEdits: fc.constantFrom(1, 2, 1000),
        noCheckpoint: fc.boolean(),
      }),
      fc.array(editArb, { minLength: 1, maxLength: 6 }),
      async (steps, more, after) => {
        const it = world();
        let moments = 0;
        /** No two edits of a client have one stamp. */
        const apart = (edits: readonly Edit[]) =>
          edits.map((e) => ({ ...e, hlc: packHlc(hlcMillis(e.hlc), ++moments) }));
        for (const step of steps) {
          if (step === "flush") await it.flush();
          else if (step === "killed flush") await it.flush(it.engine, true);
          else if (step === "checkpoint") await it.checkpoint();
          else push(it.engine, ADMIN, apart(step.push), step.client);
        }
        const old = it.engine.head;
        const device = new Device(ADMIN);
        device.pullAll(it.engine);
        const { engine, report } = await rebuilt(it, more);
        for (const { table } of TABLES) {
          expect(rowsOf(engine, table), table).toEqual(it.landed.get(table) ?? []);
          expect(String(engine.digest(table)), table).toBe(String(engine.countDigest(table)));
        }
        const made = more.noCheckpoint ? undefined : await readCheckpoint(it.deps.store, place);
        expect(report.checkpoint).toBe(made?.seq ?? 0);
        // Seqs are above all that were given out, and a device of before has to start over.
        expect(engine.head).toBeGreaterThan(old);
        if (old > 0) expect(engine.remembers(old)).toBe(false);
        const fresh = new Device(ADMIN);
        fresh.pullAll(engine);
        // It goes on: what it had handed over halfway, and what comes now, is in the lake once.
        push(engine, ADMIN, apart(after), "c3");
        await it.flush(engine);
        await it.flush(engine);
        await expectInStep(it, engine);
        fresh.pullAll(engine);
        const zero = new Device(ADMIN);
        zero.pullAll(engine);
        expect(fresh.alive).toEqual(zero.alive);
      },
    ),
    { numRuns: Number(process.env.LAKESYNC_CASES ?? 150) },
  );
}, 300_000);

test("[L7] rows that a shard took over from others are rebuilt from the history of those", async () => {
  const lake = testLake();
  const adapter = new IcebergAdapter(lake.deps);
  const flushAll = async (engine: ShardEngine, shard: string) => {
    const source = flushSource(engine, shard, (token) => engine.lease(0, token));
    const { state } = await flushOnce({ source, destination: adapter, clock: lake.clock as never, token: "t" });
    expect(state).toBe("flushed");
  };
  const old = shardOf({ rules: RULES, shard: "common" });
  const ids = Array.from({ length: 40 }, (_, n) => `row-${n}`);
  push(
    old,
    ADMIN,
    ids.map((id, n) => edit("INSERT", id, n, { title: id })),
  );
  push(old, ADMIN, [edit("DELETE", "row-3", 100), edit("UPDATE", "row-4", 101, { priority: 4 })]);
  await flushAll(old, "common");
  const config = { rules: RULES, shard: "todos.2.1", owns: { todos: { index: 1, of: 2 } } };
  const half = shardOf(config);
  const rows = old.exportRows("todos", "", 1000).filter(({ id }) => rowHash(id) % 2 === 1);
  half.importRows("todos", rows, old.head);
  const mine = rows.map(({ id }) => id);
  push(half, ADMIN, [
    edit("UPDATE", mine[0] as string, 200, { title: "later" }),
    edit("DELETE", mine[1] as string, 201),
  ]);
  await flushAll(half, "todos.2.1");
  const lost = rowsOf(half, "todos");
  const again = shardOf(config);
  const target = targetOf(() => again, "todos.2.1");
  const deps = { store: lake.deps.store, history: adapter };
  const report = unwrap(await rebuildShard(deps, target, { mapVersion: 2, tables: [TODOS], pageEdits: 7 }));
  expect(report).toMatchObject({ state: "rebuilt", checkpoint: 0, verified: ["todos"] });
  expect(rowsOf(again, "todos")).toEqual(lost);
});

test("[L7] [V1] what is not as the digest says is not put into service; a shard that is not empty is not emptied unasked", async () => {
  const it = world();
  push(it.engine, ADMIN, [edit("INSERT", "a", 1, { title: "a" }), edit("INSERT", "b", 2, { title: "b" })]);
  await it.checkpoint();
  const manifest = await readCheckpoint(it.deps.store, place);
  const todos = manifest?.tables.find(({ table }) => table === "todos");
  const [info] = todos?.chunks ?? [];
  if (!manifest || !todos || !info) throw new Error("no checkpoint");
  // A manifest that names one chunk too few.
  const damaged = { ...manifest, tables: [{ ...todos, chunks: [] }] };
  unwrap(
    await it.deps.store.put(manifestKey(place), new TextEncoder().encode(JSON.stringify(damaged)), {
      contentType: "application/json",
    }),
  );
  const engine = shardOf({ rules: RULES });
  const go = (more: Partial<RebuildOptions> = {}) =>
    rebuildShard(
      it.deps,
      targetOf(() => engine),
      { ...options, ...more },
    );
  expect(await go()).toMatchObject({ ok: false, error: { code: "Corrupt", details: { table: "todos" } } });
  const pushed = engine.push({ clientId: "c" as ClientId, claims: ADMIN, nowMs: NOW, batches: [], deltas: [] });
  expect(!pushed.ok && pushed.error.code).toBe("Unavailable");
  expect(unwrap(await go({ force: true, noCheckpoint: true }))).toMatchObject({
    state: "rebuilt",
    verified: ["todos"],
  });
  expect(rowsOf(engine, "todos")).toEqual(rowsOf(it.engine, "todos"));
  expect(await go()).toMatchObject({ ok: false, error: { code: "Conflict" } });
  // A step that comes late, of a rebuild that is over.
  expect(() => engine.rebuildRows({ at: "{}", next: "{}" }, "todos", [])).toThrow("is over");
});

test("[F1] [L7] an edit that lost everywhere, and comes again after a rebuild from a checkpoint, is in the history once", async () => {
  const it = world();
  push(it.engine, ADMIN, [edit("INSERT", "a", 1, { title: "a" })], "c1");
  push(it.engine, ADMIN, [edit("UPDATE", "a", 50, { title: "newer" })], "c1");
  const loser = [edit("UPDATE", "a", 20, { title: "older" })];
  push(it.engine, ADMIN, loser, "c2");
  await it.checkpoint();
  const { engine } = await rebuilt(it);
  push(engine, ADMIN, loser, "c2");
  await it.flush(engine);
  await expectInStep(it, engine);
});

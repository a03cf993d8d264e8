/** Rows leave a real shard and come back, beside a shard from which no row ever leaves, over one lake. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type FlushSource,
  flushOnce,
  indexedColumns,
  type PackedRow,
  restoreRows,
  ShardEngine,
  type ShardLimits,
  TableDigest,
} from "../../core/index.ts";
import {
  ADMIN,
  Device,
  type Edit,
  edit,
  NOW,
  NodeSqlStore,
  push as pushInto,
  shardOf,
  tableOf,
  user,
} from "../../core/testing.ts";
import {
  batchDeltas,
  CHECKPOINT_GRACE_MS,
  type Claims,
  type ClientId,
  HOT_GRACE_MS,
  HOT_ORPHAN_AGE_MS,
  hlcMillis,
  type LakeSyncError,
  ok,
  packHlc,
  type Result,
  type Seq,
  type SyncRules,
  unwrap,
} from "../../schemas/index.ts";
import { IcebergAdapter } from "../adapter.ts";
import { getChunk, getColdRuns, objectsIn, readCheckpoint, writeCheckpoint } from "../checkpoint/index.ts";
import { lakeContent } from "../iceberg/index.ts";
import { initParquetInNode } from "../node.ts";
import { type RebuildTarget, rebuildShard } from "../rebuild.ts";
import { sourceOf } from "../testing/checkpoint-kit.ts";
import { testLake } from "../testing/lake.ts";
import { type LeavingSource, leaveShard, mergeRuns, readCold, sweepRuns } from "./index.ts";

initParquetInNode();

const WINDOW_MS = 100;
const plainTable = tableOf("todos", { user_id: "string", title: "string", priority: "integer" });
const TODOS = { ...plainTable, shards: 1, hot: { ageMs: WINDOW_MS } };
const OWN: SyncRules = {
  buckets: [{ name: "own", tables: ["todos"], filters: [{ column: "user_id", op: "eq", value: "jwt:sub" }] }],
};
const owns = { todos: { index: 0, of: 1 } };
const HOT = { rules: OWN, tables: [TODOS], owns };
const LIMITS: Partial<ShardLimits> = { leaveEdits: 1, leaseMs: 0 };
const place = { gatewayId: "demo", shard: "main" };

const plain = async <T>(body: () => T): Promise<Result<T, LakeSyncError>> => {
  try {
    return ok(body());
  } catch (error) {
    return { ok: false, error: error as LakeSyncError };
  }
};

type Stored = [string, number, string, number, number, [string | 0, number, number[], unknown[]][], object?];
/** A row as it is compared: stamps, cells and what decides about a dead one; not where in the order it came. */
function stateOf({ id, state }: PackedRow) {
  const [inserted, , deleted, , , layers, grave] = JSON.parse(state) as Stored;
  const cells = layers
    .flatMap(([stamp, , columns, values]) =>
      columns.map((column, k) => [column, values[k], stamp === 0 ? inserted : stamp] as const),
    )
    .sort(([a], [b]) => a - b);
  return [id, { inserted, deleted, cells, grave }] as const;
}

/** A shard with a hot window, one without, what they flush into, and devices. */
class World {
  readonly lake = testLake();
  readonly adapter = new IcebergAdapter(this.lake.deps);
  readonly sql = new NodeSqlStore();
  engine = shardOf(HOT, LIMITS, this.sql);
  /** Takes the same pushes, and keeps every row. */
  readonly control = shardOf({ ...HOT, tables: [{ ...plainTable, shards: 1 }] });
  now = NOW;
  #names = 0;
  /** Reads of the store since the beginning. */
  chunksRead = 0;
  thawed = 0;
  left = 0;
  merged = 0;

  reopen(): void {
    this.engine = new ShardEngine(this.sql, LIMITS);
  }

  /** As the shard's Durable Object does it. @param race happens while rows are read from the store */
  async push(claims: Claims, edits: readonly Edit[], clientId: string, race?: () => Promise<unknown>): Promise<void> {
    const batches = batchDeltas(edits.map((each) => ({ ...each, clientId: clientId as ClientId })));
    let raced = race;
    for (let rounds = 0; ; rounds++) {
      expect(rounds).toBeLessThan(20);
      const { version, asks } = this.engine.coldAsks({ batches, deltas: [] });
      if (asks.length === 0) break;
      // Whoever forgets to fetch them is turned away.
      const early = this.engine.push({ clientId: clientId as ClientId, claims, nowMs: this.now, batches, deltas: [] });
      expect(!early.ok && early.error.code).toBe("Unavailable");
      const found = await readCold(this.lake.deps.store, place, TODOS, asks, 1);
      this.chunksRead += found.chunks;
      await raced?.();
      raced = undefined;
      this.engine.thaw(version, "todos", found.asked, found.rows);
      this.thawed += found.rows.length;
    }
    const outcome = pushInto(this.engine, claims, edits, clientId, this.now);
    expect(outcome).toEqual(pushInto(this.control, claims, edits, clientId, this.now));
  }

  async flush(): Promise<void> {
    const { engine } = this;
    const source: FlushSource = {
      ...place,
      lease: (token) => plain(() => engine.lease(this.now, token)),
      renew: (token) => plain(() => engine.renew(token, this.now)),
      flushRows: (token, table, after) => plain(() => engine.flushRows(token, table, after)),
      flushHistory: (token, table, after) => plain(() => engine.flushHistory(token, table, after)),
      settle: (token, results) => plain(() => engine.settle(token, results, this.now)),
    };
    const token = `t${++this.#names}`;
    const { errors } = await flushOnce({ source, destination: this.adapter, clock: { now: () => this.now }, token });
    expect(errors).toEqual([]);
  }

  /** @param between happens at each call of the shard */
  async leave(
    between: () => Promise<unknown> = async () => undefined,
    size: { runRows?: number; chunkChars?: number } = {},
  ): Promise<Result<{ left: number }, LakeSyncError>> {
    const { engine } = this;
    const source: LeavingSource = {
      ...place,
      begin: async (token) => {
        await between();
        return plain(() => {
          const schema = engine.leaveBegin(token, this.now);
          return schema && { schema, indexed: indexedColumns(OWN, schema) };
        });
      },
      rows: async (token, after) => {
        await between();
        return plain(() => engine.leavingRows(token, after, 150));
      },
      leave: async (...args) => {
        await between();
        return plain(() => engine.leave(...args));
      },
      end: async (token) => {
        await between();
        return plain(() => engine.leaveEnd(token));
      },
    };
    const done = await leaveShard(this.lake.deps, source, size);
    if (done.ok) this.left += done.value.left;
    return done;
  }

  /** Runs behind each other become one, or several. @param killed before the shard hears of it */
  async merge(
    which: { from: number; count: number; runRows?: number },
    between: () => Promise<unknown> = async () => undefined,
    killed = false,
  ): Promise<number> {
    const { engine } = this;
    const done = await mergeRuns(
      this.lake.deps,
      {
        ...place,
        begin: async () => {
          await between();
          const runs = engine.coldRuns("todos").slice(which.from, which.from + which.count);
          return ok(runs.length > 1 ? { schema: TODOS, indexed: indexedColumns(OWN, TODOS), runs } : undefined);
        },
        merged: async (...args) => {
          await between();
          if (killed) throw new Error("killed");
          return plain(() => engine.mergeRuns(...args, this.now));
        },
      },
      { chunkChars: 60, runRows: which.runRows ?? 1000 },
    ).catch(() => ok({ merged: 0, into: 0 }));
    this.merged += unwrap(done).merged;
    return unwrap(done).merged;
  }

  /** @param laterMs than now @returns how many objects nobody needed any more */
  async sweep(laterMs = 0): Promise<number> {
    this.lake.clock.ms += 2 * HOT_ORPHAN_AGE_MS;
    const known = () => plain(() => this.engine.knownRuns(this.now + laterMs));
    return unwrap(await sweepRuns(this.lake.deps, place, known));
  }

  /** Folders of runs in the bucket. */
  async folders(): Promise<string[]> {
    const found = new Set<string>();
    for await (const objects of objectsIn(this.lake.deps.store, { ...place, cold: true }))
      for (const { run } of objects) found.add(run);
    return [...found].sort();
  }

  async checkpoint(between?: () => void): Promise<void> {
    const options = { mapVersion: async () => 1, force: true, chunkChars: 300 };
    const source = {
      ...sourceOf(this.engine, between, 200),
      landed: async (seq: Seq) => {
        while (this.engine.status().flushed < seq) await this.flush();
        return ok(undefined);
      },
    };
    const written = await writeCheckpoint(this.lake.deps, source, options);
    if (!written.ok) expect(written.error.code).toBe("Conflict"); // rows left that had changed since it was begun
  }

  /** Every row of the hot shard, wherever it is. */
  async rows(): Promise<Map<string, ReturnType<typeof stateOf>[1]>> {
    const rows = new Map<string, ReturnType<typeof stateOf>[1]>();
    for (const { name, chunks } of this.engine.coldRuns("todos"))
      for (const chunk of chunks) {
        const { batches, rest } = await getChunk(
          this.lake.deps.store,
          { ...place, cold: true, run: name },
          "todos",
          chunk,
        );
        for (const row of restoreRows(TODOS, batches, rest)) rows.set(...stateOf(row));
      }
    for (const row of this.engine.exportRows("todos", "", 1e6)) rows.set(...stateOf(row));
    return rows;
  }

  /** Ids of rows. */
  changedAfter(seq: number): string[] {
    return this.engine.exportRows("todos", "", 1e6).flatMap((row) => (row.seq > seq ? [row.id] : []));
  }

  /** A device that asks for what has left as well. */
  async whole(): Promise<Device | undefined> {
    const manifest = await readCheckpoint(this.lake.deps.store, place);
    const held = manifest?.tables.find(({ table }) => table === "todos");
    if (!manifest || !held || !this.engine.remembers(manifest.seq)) return undefined;
    const run = { ...place, run: manifest.run };
    const device = new Device(ADMIN);
    const install = (batches: Parameters<Device["install"]>[0]) =>
      device.install(batches, { at: "tail", seq: manifest.seq, exact: false }, this.engine.fingerprint(ADMIN));
    for (const { name, chunks } of held.cold ? await getColdRuns(this.lake.deps.store, run, held.cold) : [])
      for (const chunk of chunks)
        install((await getChunk(this.lake.deps.store, { ...place, cold: true, run: name }, "todos", chunk)).batches);
    for (const chunk of [...held.chunks, ...held.late])
      install((await getChunk(this.lake.deps.store, run, "todos", chunk)).batches);
    device.pullAll(this.engine);
    return device;
  }

  /** What the shard without a window shows a token. */
  expected(claims: Claims): Device["alive"] {
    const device = new Device(claims);
    device.pullAll(this.control);
    return device.alive;
  }

  /** Another shard in this one's place, from what the lake has. */
  async rebuilt(noCheckpoint: boolean): Promise<ShardEngine> {
    const engine = shardOf(HOT, LIMITS);
    const target: RebuildTarget = {
      ...place,
      begin: (at, top, force) => plain(() => engine.beginRebuild(at, 0, top, force)),
      clocks: (at, table, clocks) => plain(() => engine.rebuildClocks(at, table, clocks)),
      rows: (step, table, rows) => plain(() => engine.rebuildRows(step, table, rows)),
      edits: (step, table, edits, watermark) => plain(() => engine.rebuildEdits(step, table, edits, watermark)),
      digests: (tables) => plain(() => Object.fromEntries(tables.map((t) => [t, engine.rebuiltDigest(t)]))),
      end: (at) => plain(() => engine.endRebuild(at)),
    };
    const deps = { store: this.lake.deps.store, history: this.adapter };
    const options = { mapVersion: 1, tables: [TODOS], noCheckpoint };
    while (unwrap(await rebuildShard(deps, target, options)).state === "more");
    return engine;
  }

  /** Nothing that leaves makes a difference, in the shards, in the lake and by their digests. */
  async expectSame(): Promise<void> {
    const control = this.control.exportRows("todos", "", 1e6).map(stateOf);
    expect([...(await this.rows())].sort(byId)).toEqual(control.sort(byId));
    expect(String(this.engine.digest("todos"))).toBe(String(this.control.countDigest("todos")));
    expect(String(this.engine.countDigest("todos"))).toBe(String(this.control.countDigest("todos")));
  }
}

const byId = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : 1);

const editArb = fc.record({
  op: fc.constantFrom("INSERT" as const, "INSERT" as const, "UPDATE" as const, "UPDATE" as const, "DELETE" as const),
  row: fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "é", "z"),
  /** Before now. */
  late: fc.constantFrom(0, 0, 0, 150, 400),
  user_id: fc.constantFrom("alice", "bob"),
  named: fc.boolean(),
  title: fc.constantFrom("x", "y", null),
  priority: fc.constantFrom(1, 2, null),
});
type Plan = typeof editArb extends fc.Arbitrary<infer T> ? T : never;
const pushArb = fc.record({
  do: fc.constant("push" as const),
  /** Mostly an admin, whose edits land. */
  by: fc.constantFrom("root", "root", "root", "alice", "bob"),
  edits: fc.array(editArb, { minLength: 1, maxLength: 4 }),
});
const simple = <T extends string>(name: T) => fc.record({ do: fc.constant(name) });
const commandArb = fc.oneof(
  { weight: 8, arbitrary: pushArb },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("repeat" as const), which: fc.nat(9) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("leave" as const), runRows: fc.constantFrom(1, 2, 1000) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("age" as const), runRows: fc.constantFrom(1, 2, 1000) }) },
  { weight: 2, arbitrary: simple("flush" as const) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(30, 120, 300) }) },
  { weight: 2, arbitrary: simple("pull" as const) },
  { weight: 1, arbitrary: simple("reopen" as const) },
  { weight: 1, arbitrary: simple("checkpoint" as const) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("merge" as const),
      from: fc.constantFrom(0, 0, 0, 1, 2),
      count: fc.constantFrom(2, 3, 10),
      runRows: fc.constantFrom(1, 3, 1000),
      killed: fc.constantFrom(false, false, false, true),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sweep" as const), late: fc.boolean() }) },
);
type Command = typeof commandArb extends fc.Arbitrary<infer T> ? T : never;

const claimsOf = (name: string): Claims => (name === "root" ? ADMIN : user(name));

/** Runs a schedule; a push and the leaving of rows are each in the midst of what comes next. */
class Schedule {
  readonly it = new World();
  readonly #waiting: Command[];
  readonly #sent: { by: string; edits: Edit[] }[] = [];
  readonly devices = ["root", "alice", "bob"].map((name) => ({
    device: new Device(claimsOf(name)),
    parted: false,
    began: 0,
  }));
  #stamps = 0;
  #leaving = false;
  #depth = 0;

  constructor(commands: readonly Command[]) {
    this.#waiting = [...commands];
  }

  async run(): Promise<void> {
    while (this.#waiting.length > 0) await this.#next();
  }

  /** The next command, in the midst of another. */
  async #meanwhile(): Promise<void> {
    const [next] = this.#waiting;
    if (!next || (this.#leaving && next.do === "reopen")) return;
    this.#depth++;
    await this.#next();
    this.#depth--;
  }

  #edit({ op, row, late, named, ...cells }: Plan): Edit {
    const { user_id, ...rest } = cells;
    const columns = op === "DELETE" ? {} : named || op === "INSERT" ? { user_id, ...rest } : rest;
    // No two edits of a client have one stamp.
    return { ...edit(op, row, 0, columns), hlc: packHlc(hlcMillis(packHlc(this.it.now - late, 0)), ++this.#stamps) };
  }

  async #next(): Promise<void> {
    const { it } = this;
    const command = this.#waiting.shift();
    it.now += 1;
    if (!command) return;
    if (command.do === "push") {
      const edits = command.edits.map((plan) => this.#edit(plan));
      this.#sent.push({ by: command.by, edits });
      await it.push(claimsOf(command.by), edits, `c-${command.by}`, () => this.#meanwhile());
    } else if (command.do === "repeat") {
      const sent = this.#sent[command.which % Math.max(1, this.#sent.length)];
      if (sent) await it.push(claimsOf(sent.by), sent.edits, `c-${sent.by}`);
    } else if (command.do === "leave" || command.do === "age") {
      if (command.do === "age") await it.flush();
      if (command.do === "age") it.now += WINDOW_MS + 20;
      const outer = this.#leaving;
      this.#leaving = true;
      const done = await it.leave(() => this.#meanwhile(), { runRows: command.runRows, chunkChars: 60 });
      if (!done.ok) expect(done.error.code).toBe("LeaseLost");
      this.#leaving = outer;
    } else if (command.do === "flush") await it.flush();
    else if (command.do === "wait") it.now += command.ms;
    else if (command.do === "reopen") it.reopen();
    else if (command.do === "checkpoint") await it.checkpoint();
    else if (command.do === "merge") {
      const outer = this.#leaving;
      this.#leaving = true;
      await it.merge(command, () => this.#meanwhile(), command.killed);
      this.#leaving = outer;
    } else if (command.do === "sweep") {
      // Nobody who began before the grace period is still at it.
      if (this.#depth === 0) await it.sweep(command.late ? HOT_GRACE_MS + 1 : 0);
    } else this.pull();
  }

  /** What a device holds is as it is, and may be seen; one that was never away for long has all of it. */
  pull(): void {
    for (const entry of this.devices) {
      const { device } = entry;
      const expected = this.it.expected(device.claims);
      for (let pages = 0, more = true; more; pages++) {
        expect(pages).toBeLessThan(50);
        // One that begins while rows are away starts with the window.
        if (device.position === undefined) {
          entry.parted = this.it.engine.coldRuns("todos").length > 0;
          entry.began = this.it.engine.head;
        }
        const page = device.pullPage(this.it.engine);
        more = page === "expired" || page.hasMore;
      }
      if (!entry.parted) expect(device.alive).toEqual(expected);
      for (const [key, row] of device.alive) expect(row, key).toEqual(expected.get(key));
      for (const id of this.it.changedAfter(entry.began))
        if (expected.has(`todos/${id}`)) expect([...device.alive.keys()]).toContain(`todos/${id}`);
    }
  }
}

const settings = { numRuns: Number(process.env.LAKESYNC_CASES ?? 150) };
let thaws = 0;
let merges = 0;

test("[HW2] [HW3] [M1] [V1] [L7] whatever leaves and comes back, shard, lake and devices are as if no row had ever left", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(commandArb, { minLength: 5, maxLength: 40, size: "max" }), async (commands) => {
      const schedule = new Schedule(commands);
      const { it } = schedule;
      await schedule.run();
      await it.expectSame();
      schedule.pull();
      await it.flush();
      await it.flush();
      const content = await lakeContent(it.lake.deps, plainTable);
      expect(content?.counted ?? new TableDigest().content).toBe(it.control.digest("todos").content);
      await it.checkpoint();
      const whole = await it.whole();
      expect(whole?.alive).toEqual(it.expected(ADMIN));
      thaws += it.thawed;
      merges += it.merged;
      await it.sweep(HOT_GRACE_MS + 1);
      // [L7] Lost and rebuilt, with and without the checkpoint, it is the same again, in the shard all of it.
      for (const noCheckpoint of [false, true]) {
        const again = await it.rebuilt(noCheckpoint);
        expect(again.exportRows("todos", "", 1e6).map(stateOf).sort(byId)).toEqual(
          it.control.exportRows("todos", "", 1e6).map(stateOf).sort(byId),
        );
      }
    }),
    settings,
  );
  expect(thaws).toBeGreaterThan(settings.numRuns);
  expect(merges).toBeGreaterThan(settings.numRuns / 4);
}, 600_000);

const ids = Array.from({ length: 40 }, (_, n) => `row-${String(n).padStart(2, "0")}`);
const inserts = (from = 0, count = ids.length) =>
  ids.slice(from, from + count).map((id, n) => ({
    ...edit("INSERT", id, from + n, { user_id: "alice", title: id }),
    hlc: packHlc(NOW + from, n),
  }));
const here = (it: World) => it.engine.exportRows("todos", "", 1e6).map(({ id }) => id);

/** Some time after the last flush. */
async function aged(it: World): Promise<void> {
  await it.flush();
  it.now += WINDOW_MS + 1;
}

test("[HW1] rows leave that nobody touched for the window, and that are flushed; not the others", async () => {
  const it = new World();
  await it.push(ADMIN, inserts(0, 20), "c-root");
  it.now += WINDOW_MS + 1;
  expect(unwrap(await it.leave()).left).toBe(0); // of the lake's nothing is known yet
  await aged(it);
  await it.push(ADMIN, inserts(20, 10), "c-root");
  await it.push(ADMIN, [{ ...edit("UPDATE", "row-03", 0, { title: "again" }), hlc: packHlc(it.now, 0) }], "c-root");
  await it.flush();
  it.now += WINDOW_MS - 1;
  expect(unwrap(await it.leave()).left).toBe(19);
  expect(here(it)).toEqual(["row-03", ...ids.slice(20, 30)]);
  expect(it.engine.status().tables).toEqual([{ table: "todos", rows: 11, left: 19 }]);
  it.now += 2;
  expect(unwrap(await it.leave()).left).toBe(11);
  expect(here(it)).toEqual([]);
  await it.expectSame();
});

test("[HW1] what a destination has given up stays", async () => {
  const it = new World();
  await it.push(ADMIN, inserts(0, 5), "c-root");
  const { lease } = it.engine.lease(it.now, "t") as { lease: { token: string } };
  const error = { message: "never", hopeless: true };
  expect(it.engine.settle(lease.token, [{ table: "todos", error }], it.now)).toBe("trimmed");
  await it.push(ADMIN, inserts(5, 5), "c-root");
  await aged(it);
  expect(unwrap(await it.leave()).left).toBe(5);
  expect(here(it)).toEqual(ids.slice(0, 5));
});

test("[HW2] a run that was read before others began to let rows go is turned away, and nothing older comes up", async () => {
  const it = new World();
  const title = (text: string) => ({ ...edit("UPDATE", "row-00", 0, { title: text }), hlc: packHlc(it.now, 0) });
  await it.push(ADMIN, inserts(0, 2), "c-root");
  await aged(it);
  let calls = 0;
  // Between reading and leaving of the first, a second is through twice, with a change in between.
  const slow = await it.leave(async () => {
    if (++calls !== 3) return;
    expect(unwrap(await it.leave()).left).toBe(2);
    await it.push(ADMIN, [title("newer")], "c-root");
    await aged(it);
    expect(unwrap(await it.leave()).left).toBe(1);
  });
  expect(!slow.ok && slow.error.code).toBe("LeaseLost");
  it.now += 5;
  await it.push(ADMIN, [{ ...title("x"), columns: { priority: 1 } }], "c-root");
  await it.expectSame();
  expect(it.thawed).toBe(2);
});

test("[HW2] an edit reads what it needs: one chunk for a row that left, none for a row that is new", async () => {
  const it = new World();
  await it.push(ADMIN, inserts(0, 30), "c-root");
  await aged(it);
  unwrap(await it.leave(undefined, { runRows: 10, chunkChars: 300 }));
  expect(it.engine.coldRuns("todos")[0]?.chunks.length).toBeGreaterThan(1);
  await it.push(ADMIN, inserts(30, 10), "c-root");
  expect(it.chunksRead).toBe(0);
  await it.push(ADMIN, [{ ...edit("DELETE", "row-07", 0), hlc: packHlc(it.now, 0) }], "c-root");
  expect([it.chunksRead, it.thawed]).toEqual([1, 1]);
  await it.push(ADMIN, [{ ...edit("INSERT", "row-07", 0, { title: "again" }), hlc: packHlc(it.now, 1) }], "c-root");
  expect([it.chunksRead, it.thawed]).toEqual([1, 1]);
  await it.expectSame();
});

test("[HW2] [PU3] a token may write a row that left as it might write it before, and hears no more of it", async () => {
  const it = new World();
  await it.push(user("alice"), inserts(0, 3), "c-alice");
  await aged(it);
  unwrap(await it.leave());
  const late = (by: string, n: number) => ({
    ...edit("UPDATE", ids[n] as string, 0, { title: by }),
    hlc: packHlc(it.now, n),
  });
  // The shard from which nothing left says the same of each (World.push).
  await it.push(user("bob"), [late("bob", 0)], "c-bob");
  await it.push(user("alice"), [late("alice", 1)], "c-alice");
  const bob = new Device(user("bob"));
  expect(bob.pullAll(it.engine)).toEqual([]);
  const alice = new Device(user("alice"));
  alice.pullAll(it.engine);
  expect([...alice.alive.keys()]).toEqual(["todos/row-00", "todos/row-01"]);
  await it.expectSame();
});

/** Five runs of rows, some of which are in several of them. */
async function runsOf(it: World): Promise<void> {
  for (let round = 0; round < 5; round++) {
    await it.push(ADMIN, inserts(round * 6, 6), "c-root");
    const late = { ...edit("UPDATE", ids[round] as string, 0, { title: `late ${round}` }), hlc: packHlc(it.now, 99) };
    await it.push(ADMIN, [late, { ...edit("DELETE", ids[12] as string, 0), hlc: packHlc(it.now, 100) }], "c-root");
    await aged(it);
    unwrap(await it.leave());
  }
  expect(it.engine.coldRuns("todos")).toHaveLength(5);
}

test("[HW2] [L7] runs are merged into fewer, which hold each row once; checkpoints that list the former go on", async () => {
  const it = new World();
  await runsOf(it);
  await it.checkpoint();
  const listed = (await it.whole())?.alive;
  expect(await it.merge({ from: 0, count: 5, runRows: 20 })).toBe(5);
  const merged = it.engine.coldRuns("todos");
  expect(merged.map(({ rows }) => rows)).toEqual([20, 10]);
  await it.expectSame();
  expect((await it.whole())?.alive).toEqual(listed);
  const again = await it.rebuilt(false);
  expect(String(again.countDigest("todos"))).toBe(String(it.control.countDigest("todos")));
  // A row is found in one place, and comes back as it was.
  const { asks } = it.engine.coldAsks({
    batches: batchDeltas([{ ...inserts(0, 1)[0], clientId: "c-x" } as never]),
    deltas: [],
  });
  expect(asks.map(({ places }) => places.length)).toEqual([1]);
  await it.push(
    ADMIN,
    [{ ...edit("UPDATE", ids[3] as string, 0, { priority: 1 }), hlc: packHlc(it.now, 1) }],
    "c-root",
  );
  it.reopen();
  await it.expectSame();
});

test("[HW2] runs that have changed since they were read are not replaced", async () => {
  const it = new World();
  await runsOf(it);
  let calls = 0;
  const other = async () => {
    if (++calls === 2) expect(await it.merge({ from: 1, count: 2 })).toBe(2);
  };
  expect(await it.merge({ from: 0, count: 3 }, other)).toBe(0);
  expect(it.engine.coldRuns("todos")).toHaveLength(4);
  await it.expectSame();
});

test("[HW2] [CK2] what nobody needs is removed: merged runs after their grace, and what the killed left; nothing else is", async () => {
  const it = new World();
  await runsOf(it);
  await it.checkpoint();
  const former = it.engine
    .coldRuns("todos")
    .map(({ name }) => name)
    .sort();
  await it.merge({ from: 0, count: 5 }, undefined, true);
  await it.merge({ from: 0, count: 5 });
  const [merged] = it.engine.coldRuns("todos").map(({ name }) => name);
  expect(await it.folders()).toHaveLength(7);
  // The killed one's go; the former are listed by the checkpoint, and may be being read.
  expect(await it.sweep()).toBeGreaterThan(0);
  expect(await it.folders()).toEqual([...former, merged].sort());
  expect(await it.sweep(HOT_GRACE_MS + 1)).toBe(0);
  await it.push(ADMIN, inserts(30, 1), "c-root");
  await it.checkpoint();
  expect(await it.sweep(HOT_GRACE_MS + 1)).toBe(0); // the checkpoint before it is kept for downloads
  it.lake.clock.ms += CHECKPOINT_GRACE_MS;
  await it.push(ADMIN, inserts(31, 1), "c-root");
  await it.checkpoint();
  expect(await it.sweep()).toBe(0);
  expect(await it.sweep(HOT_GRACE_MS + 1)).toBeGreaterThan(0);
  expect(await it.folders()).toEqual([merged]);
  await it.expectSame();
  expect((await it.whole())?.alive).toEqual(it.expected(ADMIN));
});

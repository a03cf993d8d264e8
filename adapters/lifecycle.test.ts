/** Two tiers under random schedules, killed anywhere: readers see one table, rows are where their age says. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { DatabaseAdapter } from "../core/index.ts";
import { FlushScript, NOW, NodeSqlStore, rowOf, tableOf } from "../core/testing.ts";
import { hlcMillis, OPS, type Scalar, type Stamp, stampClient, stampHlc, unwrap } from "../schemas/index.ts";
import { LifecycleAdapter, migrateToTier } from "./index.ts";
import { Fuse, lakeLike, mortal, readAll, rowsOfScript, SqliteAdapter, survives } from "./testing.ts";

const TABLE = tableOf("items", { title: "string", votes: "integer" });
const MAX_AGE = 1000;
/** Edits are made at NOW - 1,000,000 + n; one step of the schedule's clock makes all that is there so far old. */
const START = NOW - 1_000_000;

type Kind = "a database that keeps stamps" | "a lake";

/** Two tiers, opened anew by each process. */
function tiers(kind: Kind) {
  const stores = { hot: new NodeSqlStore(), cold: new NodeSqlStore() };
  const hot = new SqliteAdapter(stores.hot);
  const cold: DatabaseAdapter =
    kind === "a lake" ? lakeLike(new SqliteAdapter(stores.cold)) : new SqliteAdapter(stores.cold);
  const open = (fuse = new Fuse()) =>
    new LifecycleAdapter({
      hot: { adapter: mortal(hot, fuse), maxAgeMs: MAX_AGE },
      cold: { adapter: mortal(cold, fuse) },
    });
  return { hot, cold, open };
}

/** Ids of live rows whose newest edit is older than the tier's age. */
function dueIn(script: FlushScript, to: number, nowMs: number): string[] {
  const byRow = Map.groupBy(script.stamped(to), ({ row }) => row);
  return [...byRow].flatMap(([id, edits]) => {
    const { alive, cells } = rowOf(edits);
    const inserts = edits.filter(({ letter }) => letter === "I").map(({ stamp }) => stamp);
    const newest = [...inserts, ...Object.values(cells).map(({ stamp }) => stamp)].sort().at(-1) as Stamp;
    return alive && hlcMillis(stampHlc(newest)) < nowMs - MAX_AGE ? [id] : [];
  });
}

const schedule = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("edit" as const),
        op: fc.constantFrom(...OPS),
        rowId: fc.constantFrom("a", "b", "é"),
        cells: fc.record(
          { title: fc.constantFrom(null, "x", "y"), votes: fc.constantFrom(null, 1, 2) },
          { requiredKeys: [] },
        ),
        client: fc.constantFrom("c", "d"),
        late: fc.constantFrom(0, 0, 1, 3, 10, 2005),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant("flush" as const),
        dies: fc.oneof(fc.constant(0), fc.nat(40)),
        again: fc.boolean(),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("move" as const), dies: fc.oneof(fc.constant(0), fc.nat(30)) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(900, 2000) }) },
  ),
  { minLength: 3, maxLength: 60, size: "max" },
);

test.each<Kind>(["a database that keeps stamps", "a lake"])(
  "[F1] whatever is edited, flushed, moved and killed, readers see the rows of the oracle, cold being %s",
  async (kind) => {
    await fc.assert(
      fc.asyncProperty(schedule, async (steps) => {
        const { hot, cold, open } = tiers(kind);
        const script = new FlushScript(TABLE);
        let [clock, flushed] = [0, 0];
        unwrap(await open().ensureSchema(TABLE));
        for (const step of steps) {
          if (step.do === "wait") clock += step.ms;
          if (step.do === "edit") {
            const cells = Object.fromEntries(Object.entries(step.cells)) as Record<string, Scalar>;
            if (step.op === "UPDATE" && Object.keys(cells).length === 0) cells.votes = 5;
            const ms = START + ++clock - step.late - NOW;
            script.edit(step.op, step.rowId, step.op === "DELETE" ? {} : cells, step.client, ms);
          }
          if (step.do === "flush" && script.head > flushed) {
            const batch = script.batch(flushed);
            const before = rowsOfScript(script, flushed);
            const after = rowsOfScript(script);
            if (step.dies > 0) {
              await survives(async () => unwrap(await open(new Fuse(step.dies)).insertDeltas(batch)));
              // Each row is as it was, or as it will be.
              for (const [id, cells] of Object.entries(await readAll(open(), TABLE)))
                expect([before[id], after[id]]).toContainEqual(cells);
            }
            unwrap(await open().insertDeltas(batch));
            if (step.again) unwrap(await open().insertDeltas(batch));
            flushed = script.head;
            // A row is in one tier, or the same in both.
            const [inHot, inCold] = [await readAll(hot, TABLE), await readAll(cold, TABLE)];
            for (const id of Object.keys(inHot)) if (inCold[id]) expect(inCold[id]).toEqual(inHot[id]);
            for (const id of Object.keys(inCold)) expect(Object.keys(after)).toContain(id);
            // Nothing that cold lent stays in hot.
            const { stamps } = unwrap(await hot.getLatestState({ table: TABLE, limit: 10 }));
            for (const stamp of stamps) expect(["c", "d"]).toContain(stampClient(stamp));
          }
          if (step.do === "move") {
            const nowMs = START + clock;
            if (step.dies > 0)
              await survives(async () => unwrap(await open(new Fuse(step.dies)).migrateToTier(TABLE, nowMs)));
            expect(await readAll(open(), TABLE)).toEqual(rowsOfScript(script, flushed));
            const due = dueIn(script, flushed, nowMs);
            unwrap(await open().migrateToTier(TABLE, nowMs));
            const [inHot, inCold] = [Object.keys(await readAll(hot, TABLE)), Object.keys(await readAll(cold, TABLE))];
            for (const id of due) expect(inCold).toContain(id);
            for (const id of due) expect(inHot).not.toContain(id);
          }
          if (flushed > 0) expect(await readAll(open(), TABLE)).toEqual(rowsOfScript(script, flushed));
        }
      }),
      { numRuns: 60 },
    );
  },
);

test("only what is due moves, and killed before or after any call the next run ends it", async () => {
  for (let dies = 1; ; dies++) {
    const { hot, cold, open } = tiers("a lake");
    const script = new FlushScript(TABLE);
    for (let at = 0; at < 6; at++) script.edit("INSERT", `row-${at}`, { votes: at }, "c", START + at * 500 - NOW);
    const nowMs = START + 2700;
    unwrap(await open().ensureSchema(TABLE));
    unwrap(await open().insertDeltas(script.batch()));
    const fuse = new Fuse(dies);
    await survives(() => open(fuse).migrateToTier(TABLE, nowMs));
    expect(await readAll(open(), TABLE)).toEqual(rowsOfScript(script));
    const [moved] = unwrap(await migrateToTier(open(), { tables: [TABLE], nowMs }));
    if (!fuse.burnt) expect(moved).toEqual({ table: "items", moved: 0, kept: 0 });
    expect(Object.keys(await readAll(hot, TABLE))).toEqual(["row-4", "row-5"]);
    expect(Object.keys(await readAll(cold, TABLE))).toEqual(["row-0", "row-1", "row-2", "row-3"]);
    expect(await readAll(open(), TABLE)).toEqual(rowsOfScript(script));
    if (!fuse.burnt) {
      expect(dies).toBeGreaterThan(10);
      return;
    }
  }
});

test("a row that is deleted while it moves does not come back", async () => {
  const { hot, cold, open } = tiers("a lake");
  const script = new FlushScript(TABLE).edit("INSERT", "a", { votes: 1 }).edit("INSERT", "b", { votes: 2 });
  unwrap(await open().ensureSchema(TABLE));
  unwrap(await open().insertDeltas(script.batch()));
  script.edit("DELETE", "a").edit("UPDATE", "b", { votes: 3 });
  // The flush happens after the mover has read what is due, and before it writes.
  let flushed = false;
  const slow: DatabaseAdapter = new Proxy(cold, {
    get: (target, name) =>
      name !== "insertDeltas"
        ? Reflect.get(target, name)
        : async (batch: Parameters<DatabaseAdapter["insertDeltas"]>[0]) => {
            if (!flushed) unwrap(await open().insertDeltas(script.batch(2)));
            flushed = true;
            return cold.insertDeltas(batch);
          },
  });
  const mover = new LifecycleAdapter({ hot: { adapter: hot, maxAgeMs: 0 }, cold: { adapter: slow } });
  expect(unwrap(await mover.migrateToTier(TABLE, NOW))).toEqual({ table: "items", moved: 0, kept: 2 });
  expect(await readAll(open(), TABLE)).toEqual({ b: [null, 3] });
  expect(await readAll(cold, TABLE)).toEqual({ b: [null, 3] });
});

test("what cannot be a hot tier is refused with the remedy", () => {
  const { cold, hot } = tiers("a lake");
  expect(() => new LifecycleAdapter({ hot: { adapter: cold, maxAgeMs: 1 }, cold: { adapter: hot } })).toThrow(
    /Postgres or MySQL/,
  );
  expect(() => new LifecycleAdapter({ hot: { adapter: hot, maxAgeMs: Number.NaN }, cold: { adapter: cold } })).toThrow(
    /maxAgeMs/,
  );
});

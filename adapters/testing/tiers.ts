/** What two tiers promise, over random schedules of edits, flushes, moves and kills, whatever they are made of. */
import fc from "fast-check";
import { expect } from "vitest";
import type { DatabaseAdapter } from "../../core/index.ts";
import { FlushScript, NOW, rowOf, tableOf } from "../../core/testing.ts";
import { hlcMillis, OPS, type Scalar, type Stamp, stampClient, stampHlc, unwrap } from "../../schemas/index.ts";
import { LifecycleAdapter } from "../index.ts";
import { Fuse, mortal, survives } from "./mortal.ts";
import { readAll, rowsOfScript } from "./rows.ts";

const TABLE = tableOf("items", { title: "string", votes: "integer" });
const MAX_AGE = 1000;
/** Edits are made at NOW - 1,000,000 + n; one step of the schedule's clock makes all that is there so far old. */
const START = NOW - 1_000_000;
let tables = 0;

/** As another process would open them; it dies when its fuse says so. */
const openTiers = (hot: DatabaseAdapter, cold: DatabaseAdapter, fuse: Fuse) =>
  new LifecycleAdapter({
    hot: { adapter: mortal(hot, fuse), maxAgeMs: MAX_AGE },
    cold: { adapter: mortal(cold, fuse) },
  });

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

/**
 * [F1] Readers see the rows of the oracle, after each step and each kill; a row is in one tier, or the same in both; what is
 * due moves. @param make two tiers; tables of each run have names of their own
 */
export async function tiersAreOneTable(
  make: () => { readonly hot: DatabaseAdapter; readonly cold: DatabaseAdapter },
  runs: number,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(schedule, async (steps) => {
      const table = { ...TABLE, table: `items${++tables}` };
      const { hot, cold } = make();
      const open = (fuse = new Fuse()) => openTiers(hot, cold, fuse);
      const script = new FlushScript(table);
      let [clock, flushed] = [0, 0];
      unwrap(await open().ensureSchema(table));
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
            for (const [id, cells] of Object.entries(await readAll(open(), table)))
              expect([before[id], after[id]]).toContainEqual(cells);
          }
          unwrap(await open().insertDeltas(batch));
          if (step.again) unwrap(await open().insertDeltas(batch));
          flushed = script.head;
          // A row is in one tier, or the same in both.
          const [inHot, inCold] = [await readAll(hot, table), await readAll(cold, table)];
          for (const id of Object.keys(inHot)) if (inCold[id]) expect(inCold[id]).toEqual(inHot[id]);
          for (const id of Object.keys(inCold)) expect(Object.keys(after)).toContain(id);
          // Nothing that cold lent stays in hot.
          const { stamps } = unwrap(await hot.getLatestState({ table: table, limit: 10 }));
          for (const stamp of stamps) expect(["c", "d"]).toContain(stampClient(stamp));
        }
        if (step.do === "move") {
          const nowMs = START + clock;
          if (step.dies > 0)
            await survives(async () => unwrap(await open(new Fuse(step.dies)).migrateToTier(table, nowMs)));
          expect(await readAll(open(), table)).toEqual(rowsOfScript(script, flushed));
          const due = dueIn(script, flushed, nowMs);
          unwrap(await open().migrateToTier(table, nowMs));
          const [inHot, inCold] = [Object.keys(await readAll(hot, table)), Object.keys(await readAll(cold, table))];
          for (const id of due) expect(inCold).toContain(id);
          for (const id of due) expect(inHot).not.toContain(id);
        }
        if (flushed > 0) expect(await readAll(open(), table)).toEqual(rowsOfScript(script, flushed));
      }
    }),
    { numRuns: runs },
  );
}

/**
 * Any history of two shards' flushes, with compaction, expiry, orphan removal and manifest rewriting between them and in
 * the middle of each other, killed anywhere, through a catalogue in bad weather, while readers hold old snapshots: every
 * snapshot that is retained, and every one that a reader within its grace period holds, has the rows of the oracle.
 */
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { OPS } from "../../schemas/index.ts";
import {
  currentSnapshot,
  type FaultPoint,
  identOf,
  KINDS,
  liveEntries,
  MAINTENANCE_FAULT_POINTS,
  type TableKind,
} from "../iceberg/index.ts";
import { initParquetInNode } from "../node.ts";
import { tableSchema } from "../testing/lake.ts";
import { GRACE_MS, type Job, MaintenanceWorld } from "../testing/maintenance-world.ts";
import type { Edit, ShardModel, Weather } from "../testing.ts";
import type { CompactOptions } from "./index.ts";

beforeAll(initParquetInNode);

const TODOS = tableSchema([
  { id: 1, name: "title", type: "string", nullable: true },
  { id: 2, name: "votes", type: "integer", nullable: true },
]);
/** So small that a handful of rows passes through every class, layer and row group. */
const OPTIONS: CompactOptions = {
  targetRows: 10,
  minInputs: 2,
  groupRows: 2,
  deleteRatio: 0.3,
  maxDepth: 1,
  deleteFilesMax: 1,
};

type Step =
  | { readonly do: "edits"; readonly shard: number; readonly edits: readonly Edit[] }
  | { readonly do: "flush"; readonly shard: number; readonly kills: readonly number[] }
  | { readonly do: "maintain"; readonly job: Job; readonly kind: TableKind; readonly kills: readonly number[] }
  | {
      readonly do: "race";
      readonly shard: number;
      readonly edits: readonly Edit[];
      readonly job: Job;
      readonly rival: Job;
      readonly kind: TableKind;
      readonly how: "a flush in the job" | "the job in a flush" | "a job in a job";
      readonly at: number;
    }
  | { readonly do: "open"; readonly kind: TableKind; readonly at: number }
  | { readonly do: "wait"; readonly ms: number };

const shard = fc.integer({ min: 0, max: 1 });
const kind = fc.constantFrom<TableKind>("main", "main", "changes");
const job = fc.constantFrom<Job>("compact", "compact", "compact", "expire", "orphans", "manifests");
const kills = fc.array(fc.nat({ max: 12 }), { maxLength: 2 });
const edits = fc.array(
  fc.record({
    op: fc.constantFrom(...OPS),
    rowId: fc.constantFrom("a", "b", "c", "d", "e", "f", "é", "\u{1F600}", "\uFFFD"),
    cells: fc.record({ title: fc.option(fc.constantFrom("", "x", "é🎬")), votes: fc.integer() }, { requiredKeys: [] }),
  }),
  { minLength: 2, maxLength: 6, size: "max" },
);
const constant = <T extends string>(name: T) => fc.constant(name);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: constant("edits"), shard, edits }) },
  { weight: 6, arbitrary: fc.record({ do: constant("flush"), shard, kills }) },
  { weight: 6, arbitrary: fc.record({ do: constant("maintain"), job, kind, kills }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: constant("race"),
      shard,
      edits,
      job,
      rival: job,
      kind,
      how: fc.constantFrom("a flush in the job", "the job in a flush", "a job in a job"),
      at: fc.nat({ max: 10 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: constant("open"), kind, at: fc.nat({ max: 9 }) }) },
  { weight: 3, arbitrary: fc.record({ do: constant("wait"), ms: fc.constantFrom(500, 6_000, 9_000, 21_000) }) },
);
const WEATHER: Weather[] = ["fine", "fine", "fine", "fine", "conflict", "landed in silence", "lost in silence"];

async function flushOne(world: MaintenanceWorld, shard: ShardModel, kills: readonly number[] = []): Promise<void> {
  const batch = shard.lease();
  for (const kill of kills) await world.killed(kill, () => world.flush(batch));
  await world.flush(batch);
  shard.acknowledge(batch.toSeq);
}

/** A row belongs to one shard; each has its own ids. */
function edit(world: MaintenanceWorld, { shard, edits }: { shard: number; edits: readonly Edit[] }): void {
  for (const each of edits) world.shards[shard]?.edit({ ...each, rowId: `${each.rowId}${shard}` });
}

async function run(world: MaintenanceWorld, step: Step): Promise<void> {
  switch (step.do) {
    case "edits":
      // A row belongs to one shard; each has its own ids.
      for (const edit of step.edits) world.shards[step.shard]?.edit({ ...edit, rowId: `${edit.rowId}${step.shard}` });
      return;
    case "flush":
      return flushOne(world, world.shards[step.shard] as ShardModel, step.kills);
    case "maintain":
      for (const kill of step.kills) await world.killed(kill, () => world.maintain(step.job, step.kind));
      await world.maintain(step.job, step.kind);
      return;
    case "race": {
      const shard = world.shards[step.shard] as ShardModel;
      edit(world, step);
      const batch = shard.lease();
      const flush = () => world.flush(batch);
      const job = () => world.maintain(step.job, step.kind);
      const rival = () => world.maintain(step.rival, step.kind);
      if (step.how === "a flush in the job") await world.racing(step.at, flush, job);
      if (step.how === "the job in a flush") await world.racing(step.at, job, flush);
      if (step.how === "a job in a job") await world.racing(step.at, rival, job);
      await flush();
      shard.acknowledge(batch.toSeq);
      return;
    }
    case "open":
      return world.open(step.kind, step.at);
    case "wait":
      world.wait(step.ms);
  }
}

test("[L3] [L5] [F1] [L2] any history, maintained, killed, raced and in any weather, keeps every row at every snapshot", async () => {
  const reached = new Set<FaultPoint>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 25, maxLength: 50, size: "max" }),
      fc.array(fc.constantFrom(...WEATHER), { maxLength: 100, size: "max" }),
      fc.nat(),
      async (steps, weather, seed) => {
        const world = new MaintenanceWorld(seed, TODOS, OPTIONS, weather);
        for (const each of steps) {
          await run(world, each);
          if (each.do === "maintain" || each.do === "race") {
            expect(await world.check(1)).toBeUndefined();
            expect(await world.readAll()).toBeUndefined();
          }
        }
        expect(await world.check()).toBeUndefined();
        for (const shard of world.shards) await flushOne(world, shard);
        await world.settle();
        expect(await world.check()).toBeUndefined();
        expect(await world.orphans()).toEqual([]);
        for (const kind of KINDS) await expectFewFiles(world, kind);
        for (const point of world.reached) reached.add(point);
      },
    ),
    { numRuns: Number(process.env.LAKE_RUNS ?? 10), endOnFailure: true },
  );
  expect(MAINTENANCE_FAULT_POINTS.filter((point) => !reached.has(point))).toEqual([]);
}, 240_000);

/** A class holds fewer than two files, a key lies in fewer than two large ones, and delete files are few. */
async function expectFewFiles(world: MaintenanceWorld, kind: TableKind): Promise<void> {
  const { deps } = world.lake;
  const loaded = await deps.catalogue.load(identOf(deps, "todos", kind));
  if (!loaded.ok) return;
  const snapshot = currentSnapshot(loaded.value.metadata);
  const files = await liveEntries(deps.store, snapshot, "data");
  const rows = files.reduce((sum, { data_file }) => sum + data_file.record_count, 0);
  expect(files.length).toBeLessThanOrEqual(Math.ceil(rows / 5) + 3);
  expect((await liveEntries(deps.store, snapshot, "deletes")).length).toBeLessThanOrEqual(2);
}

test.each<Job>(["compact", "expire", "orphans", "manifests"])(
  "[L3] [L5] %s killed between any two steps and repeated leaves every row, and no orphan in the end",
  async (job) => {
    for (let kill = 0; ; kill++) {
      const world = new MaintenanceWorld(kill, TODOS, OPTIONS);
      const shard = world.shards[0] as ShardModel;
      for (let flush = 0; flush < 5; flush++) {
        for (const rowId of ["a", "b", "c", `n${flush}`]) shard.edit({ op: "INSERT", rowId, cells: { votes: flush } });
        if (flush > 2) shard.edit({ op: "DELETE", rowId: `n${flush - 1}`, cells: {} });
        // The orphan of one killed, for orphan removal to find.
        await world.killed(2, () => world.flush(shard.lease()));
        await flushOne(world, shard);
      }
      world.wait(30_000);
      await world.open("main", 3);
      const died = await world.killed(kill, async () => {
        await world.maintain(job, "main");
        world.wait(GRACE_MS + 1);
        await world.open("main", 1);
        await world.maintain(job, "main"); // what the first marked, this one sweeps
      });
      expect(await world.readAll()).toBeUndefined();
      await world.maintain(job, "main");
      expect(await world.check()).toBeUndefined();
      await world.settle();
      expect(await world.check()).toBeUndefined();
      expect(await world.orphans()).toEqual([]);
      if (!died) return expect(kill).toBeGreaterThan(0);
    }
  },
);

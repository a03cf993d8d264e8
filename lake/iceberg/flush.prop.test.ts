/**
 * Any history of two shards' edits, flushed with kills between any two steps, redelivered, grown, raced by each other and
 * by a compaction, through a catalogue in bad weather: the lake holds what the shards hold, and each edit once.
 */
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import type { FlushBatch } from "../../core/index.ts";
import { type Column, hlcToBigInt, OPS, type Scalar, unwrap } from "../../schemas/index.ts";
import { initParquetInNode } from "../node.ts";
import { compactNaively } from "../testing/compact-naively.ts";
import { readTable, type TestLake, tableSchema, testLake } from "../testing/lake.ts";
import { type Edit, ShardModel, type Weather } from "../testing.ts";
import { FAULT_POINTS, type FaultPoint, flushToIceberg, identOf, watermarkOf } from "./index.ts";

beforeAll(initParquetInNode);

const COLUMNS: Column[] = [
  { id: 1, name: "title", type: "string", nullable: true },
  { id: 2, name: "votes", type: "integer", nullable: true },
];
const LATER: Column = { id: 3, name: "added", type: "boolean", nullable: true };

class Killed extends Error {}

type Step =
  | { readonly do: "edit"; readonly shard: number; readonly edit: Edit }
  | { readonly do: "flush"; readonly shard: number; readonly kills: readonly number[]; readonly grows: boolean }
  | {
      readonly do: "race";
      readonly shard: number;
      readonly with: "shard" | "compaction" | "itself";
      readonly at: number;
    }
  | { readonly do: "add column" }
  | { readonly do: "compact" };

const shardNumber = fc.integer({ min: 0, max: 1 });
const edit = fc.record({
  op: fc.constantFrom(...OPS),
  rowId: fc.constantFrom("a", "b", "c", "d", "é", "\u{1F600}", "\uFFFD"),
  cells: fc.record(
    {
      title: fc.option(fc.constantFrom("", "x", "long ".repeat(9), "é🎬")),
      votes: fc.option(fc.constantFrom<Scalar>(0, -5, "9223372036854775807")),
    },
    { requiredKeys: [] },
  ),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant("edit" as const), shard: shardNumber, edit }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("flush" as const),
      shard: shardNumber,
      kills: fc.array(fc.nat({ max: 20 }), { maxLength: 3 }),
      grows: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("race" as const),
      shard: shardNumber,
      with: fc.constantFrom("shard" as const, "compaction" as const, "itself" as const),
      at: fc.nat({ max: 18 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: "add column" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "compact" as const }) },
);
const WEATHER: Weather[] = ["fine", "fine", "fine", "fine", "conflict", "landed in silence", "lost in silence"];

class World {
  readonly lake: TestLake;
  readonly shards: ShardModel[];
  readonly weather: Weather[];
  readonly reached = new Set<FaultPoint>();
  /** What happens at the n-th fault point from now. */
  #at: { left: number; then: () => Promise<void> } | undefined;

  constructor(seed: number, weather: Weather[]) {
    this.weather = [...weather];
    this.lake = testLake({ seed, weather: () => this.weather.shift() ?? "fine", fault: (point) => this.#fault(point) });
    this.shards = ["one", "two"].map((name) => new ShardModel(name, tableSchema(COLUMNS)));
  }

  async #fault(point: FaultPoint): Promise<void> {
    this.reached.add(point);
    if (!this.#at || this.#at.left-- > 0) return;
    const { then } = this.#at;
    this.#at = undefined;
    await then();
  }

  async at(left: number, then: () => Promise<void>, body: () => Promise<void>): Promise<void> {
    this.#at = { left, then };
    await body();
    this.#at = undefined;
  }

  async flush(batch: FlushBatch): Promise<void> {
    expect(unwrap(await flushToIceberg(batch, this.lake.deps)).watermark).toBe(batch.toSeq);
  }

  async run(step: Step): Promise<void> {
    const { deps } = this.lake;
    switch (step.do) {
      case "edit":
        // A row belongs to one shard; each has its own ids.
        return (this.shards[step.shard] as ShardModel).edit({ ...step.edit, rowId: `${step.edit.rowId}${step.shard}` });
      case "flush": {
        const shard = this.shards[step.shard] as ShardModel;
        let batch = shard.lease();
        for (const kill of step.kills) {
          const die = async () => {
            throw new Killed();
          };
          await this.at(kill, die, () =>
            this.flush(batch).catch((error) => {
              if (!(error instanceof Killed)) throw error;
            }),
          );
          if (!step.grows) continue;
          shard.edit({ op: "INSERT", rowId: `grown${step.shard}`, cells: { votes: kill } });
          batch = shard.lease();
        }
        await this.flush(batch);
        shard.acknowledge(batch.toSeq);
        return this.check();
      }
      case "race": {
        const shard = this.shards[step.shard] as ShardModel;
        const other = this.shards[1 - step.shard] as ShardModel;
        const batch = shard.lease();
        const rival = other.lease();
        const act = {
          shard: () => this.flush(rival),
          compaction: () => compactNaively(deps, "todos", "main"),
          itself: () => this.flush(batch),
        }[step.with];
        await this.at(step.at, act, () => this.flush(batch));
        shard.acknowledge(batch.toSeq);
        return this.check();
      }
      case "add column":
        for (const shard of this.shards) shard.table = tableSchema([...COLUMNS, LATER], 2);
        return;
      case "compact":
        await compactNaively(deps, "todos", "main");
        await compactNaively(deps, "todos", "changes");
        return this.check();
    }
  }

  /** The lake is what the shards were at the watermarks of its tables. */
  async check(): Promise<void> {
    const { deps } = this.lake;
    const main = await deps.catalogue.load(identOf(deps, "todos", "main"));
    const changes = await deps.catalogue.load(identOf(deps, "todos", "changes"));
    if (!changes.ok) return;
    const history = await readTable(deps, "todos", "changes");
    const rows = main.ok ? await readTable(deps, "todos", "main") : [];
    for (const shard of this.shards) {
      const held = watermarkOf(changes.value.metadata, shard.name);
      const seqs = history.filter((row) => row._shard === shard.name).map((row) => row._seq as number);
      expect(seqs.sort((a, b) => a - b)).toEqual(shard.log.slice(0, held).map((entry) => entry.seq));
    }
    const expected = this.shards.flatMap((shard) => [
      ...shard.rowsAt(watermarkOf(changes.value.metadata, shard.name)).values(),
    ]);
    const wanted = expected.map(({ rowId, seq, hlc, cells }) => ({
      _id: rowId,
      _seq: seq,
      _hlc: hlcToBigInt(hlc).toString(),
      title: cells.title ?? null,
      votes: cells.votes ?? null,
    }));
    const plain = rows.map(({ _id, _seq, _hlc, title, votes }) => ({ _id, _seq, _hlc: String(_hlc), title, votes }));
    const order = (a: { _id?: unknown }, b: { _id?: unknown }) => (String(a._id) < String(b._id) ? -1 : 1);
    expect(plain.sort(order)).toEqual(wanted.sort(order));
  }
}

test("[F1] [L2] any history, killed, redelivered, raced and in any weather, arrives exactly once", async () => {
  const reached = new Set<FaultPoint>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 4, maxLength: 40 }),
      fc.array(fc.constantFrom(...WEATHER), { maxLength: 30 }),
      fc.nat(),
      async (steps, weather, seed) => {
        const world = new World(seed, weather);
        for (const each of steps) await world.run(each);
        for (const shard of world.shards) await world.flush(shard.lease());
        await world.check();
        for (const point of world.reached) reached.add(point);
      },
    ),
    { numRuns: Number(process.env.LAKE_RUNS ?? 60) },
  );
  expect([...reached].sort()).toEqual([...FAULT_POINTS].sort());
});

test("[F1] a flush killed between any two steps and repeated leaves each delta once", async () => {
  for (let kill = 0; ; kill++) {
    const world = new World(kill, []);
    for (const rowId of ["a", "b", "c"])
      await world.run({ do: "edit", shard: 0, edit: { op: "INSERT", rowId, cells: { title: rowId } } });
    await world.run({ do: "flush", shard: 0, kills: [], grows: false });
    await world.run({ do: "edit", shard: 0, edit: { op: "UPDATE", rowId: "a", cells: { votes: 1 } } });
    await world.run({ do: "edit", shard: 0, edit: { op: "DELETE", rowId: "b", cells: {} } });
    let died = false;
    const die = async () => {
      died = true;
      throw new Killed();
    };
    const batch = (world.shards[0] as ShardModel).lease();
    await world.at(kill, die, () => world.flush(batch).catch(() => {}));
    if (!died) {
      expect(kill).toBeGreaterThanOrEqual(FAULT_POINTS.length);
      return;
    }
    await world.flush(batch);
    await world.check();
  }
});

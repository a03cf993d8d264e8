/**
 * The whole flush in one process, from a shard's log to Iceberg tables in the embedded catalogue, killed at every named
 * point in turn, and once more at the same point when it is tried again. Between the kills devices go on pushing. In the
 * end the lake holds each row as the shard does, and each edit once.
 */
import { beforeAll, expect, test } from "vitest";
import {
  applyEdit,
  CONSUMER_FAULTS,
  cellOf,
  emptyRow,
  type FlushSource,
  type FlushSummary,
  failedFlush,
  flushOnce,
  isAlive,
  type RowState,
  ShardEngine,
} from "../core/index.ts";
import { NodeSqlStore } from "../core/testing.ts";
import {
  catalogueOf,
  currentSchema,
  currentSnapshot,
  EmbeddedCatalogue,
  FAULT_POINTS,
  fieldsOf,
  IcebergAdapter,
  identOf,
  type LakeDeps,
  MemoryStore,
  scanSnapshot,
  type TableKind,
} from "../lake/index.ts";
import { initParquetInNode } from "../lake/node.ts";
import {
  batchDeltas,
  type ClientId,
  cellsAt,
  clientOf,
  type Delta,
  err,
  FLUSH_LEASE_MS,
  type HlcText,
  isLakeSyncError,
  type LakeSyncError,
  makeStamp,
  ok,
  packHlc,
  type Result,
  type Scalar,
  type TableSchema,
  unwrap,
} from "../schemas/index.ts";

beforeAll(initParquetInNode);

const START = 1_795_000_000_000;
const NOTES: TableSchema = {
  table: "notes",
  version: 1,
  columns: [
    { id: 1, name: "text", type: "string", nullable: true },
    { id: 2, name: "rank", type: "integer", nullable: true },
  ],
  lastColumnId: 2,
  shards: 0,
};
const TAGS: TableSchema = { ...NOTES, table: "tags" };
const CATALOGUE_FAULTS = [
  "catalogue: after metadata files, before pointers",
  "catalogue: after pointers, before answer",
] as const;

class Killed extends Error {}

class Loop {
  readonly clock = { ms: START, now: () => ++this.clock.ms };
  readonly engine = new ShardEngine(new NodeSqlStore());
  readonly client = "device" as ClientId;
  readonly edits: Delta[] = [];
  readonly deps: LakeDeps;
  kills: string[] = [];
  passed = new Set<string>();
  #count = 0;

  constructor() {
    const fault = async (point: string): Promise<void> => {
      this.passed.add(point);
      if (this.kills[0] !== point) return;
      this.kills.shift();
      throw new Killed(point);
    };
    this.fault = fault;
    const store = new MemoryStore({ clock: this.clock });
    const newId = () => `00000000-0000-4000-8000-${String(++this.#count).padStart(12, "0")}`;
    const catalogue = new EmbeddedCatalogue({
      sql: new NodeSqlStore(),
      store,
      gatewayId: "demo",
      clock: this.clock,
      newId,
      fault,
    });
    const chance = () => (++this.#count % 97) / 97;
    this.deps = { store, catalogue: catalogueOf(catalogue), clock: this.clock, chance, sleep: async () => {}, fault };
    const whole = { index: 0, of: 1 };
    const rules = { buckets: [] };
    this.engine.configure({
      gatewayId: "demo",
      shard: "common",
      version: 1,
      rulesVersion: 1,
      rules,
      tables: [NOTES, TAGS],
      owns: { notes: whole, tags: whole },
    });
  }

  readonly fault: (point: string) => Promise<void>;

  push(
    edits: readonly (readonly [op: Delta["op"], table: string, rowId: string, columns?: Record<string, Scalar>])[],
  ): void {
    const deltas = edits.map(
      ([op, table, rowId, columns = {}]): Delta => ({
        op,
        table,
        rowId,
        columns,
        clientId: this.client,
        hlc: packHlc(this.clock.now(), 0),
      }),
    );
    const claims = { sub: "root", role: "admin" as const };
    const outcome = unwrap(
      this.engine.push({
        clientId: this.client,
        claims,
        nowMs: this.clock.now(),
        batches: batchDeltas(deltas),
        deltas: [],
      }),
    );
    expect(outcome.rejected).toEqual([]);
    this.edits.push(...deltas);
  }

  #source(): FlushSource {
    const { engine, clock } = this;
    const answer = async <T>(body: () => T): Promise<Result<T, LakeSyncError>> => {
      try {
        return ok(body());
      } catch (error) {
        if (isLakeSyncError(error)) return err(error);
        throw error;
      }
    };
    return {
      gatewayId: "demo",
      shard: "common",
      lease: (token) => answer(() => engine.lease(clock.now(), token)),
      renew: (token) => answer(() => engine.renew(token, clock.now())),
      // Pages of one log row, so that there is a kill between pages.
      flushRows: (token, table, after) => answer(() => engine.flushRows(token, table, after, 1)),
      flushHistory: (token, table, after) => answer(() => engine.flushHistory(token, table, after, 1)),
      settle: (token, results) => answer(() => engine.settle(token, results, clock.now())),
    };
  }

  /** One consumer's life; a kill ends it without a word. */
  async consume(): Promise<FlushSummary | "killed"> {
    const { clock, deps, fault } = this;
    const token = `token-${++this.#count}`;
    try {
      return await flushOnce({ source: this.#source(), destination: new IcebergAdapter(deps), clock, token, fault });
    } catch (error) {
      if (error instanceof Killed) return "killed";
      return failedFlush(error);
    }
  }

  /** Consumers come again, each after the last one's lease, until all is flushed. */
  async drain(): Promise<void> {
    for (let n = 0; n < 20; n++) {
      const summary = await this.consume();
      if (summary !== "killed" && summary.state === "empty") return;
      this.clock.ms += FLUSH_LEASE_MS + 1;
    }
    throw new Error(`never drained: ${JSON.stringify(this.engine.status())}`);
  }

  async lake(table: string, kind: TableKind): Promise<Record<string, Scalar>[]> {
    const { metadata } = unwrap(await this.deps.catalogue.load(identOf(this.deps, table, kind)));
    const fields = fieldsOf(currentSchema(metadata), kind);
    const rows: Record<string, Scalar>[] = [];
    for await (const { columns } of scanSnapshot(this.deps.store, currentSnapshot(metadata), { columns: fields }))
      for (let at = 0; at < (columns[0]?.length ?? 0); at++)
        rows.push(Object.fromEntries(fields.map((f, of) => [f.name, columns[of]?.[at] as Scalar])));
    return rows;
  }

  /** Live rows of the shard, as an unfiltered client would pull them. */
  shardRows(table: string): Map<string, Record<string, Scalar>> {
    const states = new Map<string, RowState>();
    const page = unwrap(
      this.engine.pull({ claims: { sub: "root", role: "admin" }, fingerprint: "", tables: [table], maxBytes: 1 << 24 }),
    );
    expect(page.hasMore).toBe(false);
    for (const batch of page.batches)
      for (const [at, id] of batch.rowIds.entries()) {
        const state = states.get(id) ?? emptyRow();
        states.set(id, state);
        applyEdit(
          state,
          batch.ops[at] as "I" | "U" | "D",
          makeStamp(batch.hlcs[at] as HlcText, clientOf(batch, at)),
          cellsAt(batch, at),
          0,
        );
      }
    return new Map(
      [...states]
        .filter(([, s]) => isAlive(s))
        .map(([id, s]) => [id, { text: cellOf(s, "text") ?? null, rank: cellOf(s, "rank") ?? null }]),
    );
  }

  async expectEqual(): Promise<void> {
    for (const table of ["notes", "tags"]) {
      const rows = await this.lake(table, "main");
      const inLake = new Map(rows.map(({ _id, text = null, rank = null }) => [String(_id), { text, rank }]));
      expect(rows.length, `${table}: a row twice in the lake`).toBe(inLake.size);
      expect(inLake).toEqual(this.shardRows(table));
      const history = (await this.lake(table, "changes")).map((r) => `${r._op} ${r._id} ${r._hlc}`).sort();
      const pushed = this.edits
        .filter((e) => e.table === table)
        .map((e) => `${e.op} ${e.rowId} ${BigInt(`0x${e.hlc}`)}`)
        .sort();
      expect(history).toEqual(pushed);
    }
  }
}

/** Inserts, then everything that can happen to rows that the lake already holds. */
async function scenario(loop: Loop, kills: string[]): Promise<void> {
  const ids = [...Array(6).keys()].map((n) => `r${n}`);
  loop.push(ids.map((id, n) => ["INSERT", "notes", id, { text: id, rank: n }]));
  loop.push([["INSERT", "tags", "t1", { text: "one" }]]);
  await loop.drain();
  loop.kills = kills;
  loop.push([
    ["UPDATE", "notes", "r0", { rank: 10 }],
    ["DELETE", "notes", "r1"],
    ["INSERT", "notes", "new", { text: "new" }],
    ["UPDATE", "tags", "t1", { text: "uno" }],
  ]);
  loop.push([
    ["UPDATE", "notes", "r2", { text: null }],
    ["INSERT", "notes", "brief", {}],
    ["DELETE", "notes", "brief"],
  ]);
  await loop.consume();
  // The world goes on while the consumer is dead: rows of the lease change again.
  loop.push([
    ["UPDATE", "notes", "r0", { rank: 11 }],
    ["INSERT", "notes", "r1", { text: "again" }],
    ["DELETE", "notes", "r3"],
    ["UPDATE", "notes", "r2", { rank: 22 }],
    ["DELETE", "tags", "t1"],
  ]);
  await loop.drain();
  expect(loop.kills, "the point was passed").toEqual([]);
  await loop.expectEqual();
}

const POINTS = [...CONSUMER_FAULTS, ...FAULT_POINTS, ...CATALOGUE_FAULTS];

for (const point of POINTS) {
  test(`[F1] [F2] [L1] killed at "${point}", the flush comes again and the lake equals the shard`, async () => {
    await scenario(new Loop(), [point]);
  });
  test(`[F1] killed at "${point}" twice running, likewise`, async () => {
    await scenario(new Loop(), [point, point]);
  });
}

test("[F1] no kill: the scenario itself passes every named point", async () => {
  const loop = new Loop();
  await scenario(loop, []);
  expect([...loop.passed].sort()).toEqual([...POINTS].sort());
});

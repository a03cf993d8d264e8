/** Checkpoints of a real shard engine, made while others push, over a store in memory. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type CheckpointManifest, restoreRows, type ShardEngine } from "../../core/index.ts";
import { ADMIN, Device, edit, push, shardOf, TODOS, user } from "../../core/testing.ts";
import { ok, type SyncRules, unwrap } from "../../schemas/index.ts";
import { MemoryStore } from "../store/index.ts";
import { served, sourceOf } from "../testing/checkpoint-kit.ts";
import { getChunk, readCheckpoint, writeCheckpoint } from "./index.ts";

const NOW = 1_800_000_000_000;
const ALL: SyncRules = { buckets: [{ name: "all", tables: ["todos", "notes"], filters: [], write: [] }] };
const place = { gatewayId: "demo", shard: "main" };

function world(rules?: SyncRules) {
  let nowMs = NOW;
  let chance = 0;
  const clock = { now: () => nowMs };
  const store = new MemoryStore({ clock });
  const engine = shardOf(rules ? { rules } : {});
  const deps = { store, clock, chance: () => (++chance * 0.618034) % 1 };
  const wait = (ms: number): void => {
    nowMs += ms;
  };
  return { store, engine, deps, clock, wait };
}

const options = { mapVersion: async () => 1, force: true };

const insertMany = (engine: ShardEngine, from: number, count: number, owner = (n: number) => `user-${n % 7}`) =>
  push(
    engine,
    ADMIN,
    Array.from({ length: count }, (_, at) => {
      const n = from + at;
      return edit("INSERT", `row-${String(n).padStart(6, "0")}`, n, { user_id: owner(n), title: `t${n}`, priority: n });
    }),
  );

/** A device that starts from the checkpoint and then pulls. */
async function bootstrapped(
  { store, engine }: ReturnType<typeof world>,
  manifest: CheckpointManifest,
  claims = ADMIN,
): Promise<Device> {
  const device = new Device(claims);
  const batches = await served(store, manifest, engine, claims);
  if (batches) device.install(batches, { at: "tail", seq: manifest.seq, exact: false }, engine.fingerprint(claims));
  device.pullAll(engine);
  return device;
}

function fromZero(engine: ShardEngine, claims = ADMIN): Device {
  const device = new Device(claims);
  device.pullAll(engine);
  return device;
}

const editArb = fc.record({
  op: fc.constantFrom("INSERT" as const, "INSERT" as const, "UPDATE" as const, "DELETE" as const),
  row: fc.nat(11),
  ms: fc.nat(400),
  table: fc.constantFrom("todos", "notes"),
  user_id: fc.constantFrom("alice", "bob", null),
  value: fc.nat(5),
});
type Plan = typeof editArb extends fc.Arbitrary<infer T> ? T : never;

const toEdit = ({ op, row, ms, table, user_id, value }: Plan) => {
  const text = table === "todos" ? { title: `t${value}`, priority: value } : { body: `b${value}` };
  return edit(op, `r${row}`, ms, op === "DELETE" ? {} : { user_id, ...text }, table);
};

const RULES: SyncRules[] = [
  {
    buckets: [
      { name: "own", tables: ["todos", "notes"], filters: [{ column: "user_id", op: "eq", value: "jwt:sub" }] },
    ],
  },
  {
    buckets: [
      { name: "own", tables: ["todos"], filters: [{ column: "user_id", op: "in", value: "jwt:team" }] },
      { name: "notes", tables: ["notes"], filters: [] },
    ],
  },
];
/** Rules without an equality. */
const COMPARING: SyncRules[] = [
  [
    { column: "priority", op: "gt" as const, value: 1 },
    { column: "priority", op: "lte" as const, value: "jwt:most" },
    { column: "user_id", op: "neq" as const, value: "bob" },
  ],
  [
    { column: "user_id", op: "neq" as const, value: "bob" },
    { column: "title", op: "gte" as const, value: "t3" },
  ],
  [{ column: "title", op: "lt" as const, value: "t2" }],
].map((filters) => ({
  buckets: [
    { name: "some", tables: ["todos"], filters },
    { name: "own", tables: ["todos"], filters: [{ column: "user_id", op: "eq", value: "jwt:sub" }] },
    { name: "late", tables: ["notes"], filters: [{ column: "body", op: "gte", value: "b3" }] },
  ],
}));

test("[CK1] [PL7] checkpoint plus tail is a pull from zero, for every token, with pushes at every step of the way", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...RULES, ...COMPARING),
      fc.array(fc.array(editArb, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 25 }),
      fc.nat(12),
      fc.constantFrom(1, 60, 1 << 20),
      fc.constantFrom(1, 3, 1000),
      async (rules, batches, before, chars, jobRows) => {
        const it = world(rules);
        const waiting = batches.map((plans) => plans.map(toEdit));
        const pushNext = () => {
          const edits = waiting.shift();
          if (edits) push(it.engine, ADMIN, edits);
        };
        for (let at = 0; at < before; at++) pushNext();
        const source = sourceOf(it.engine, pushNext, chars);
        let state = "more";
        while (state === "more")
          state = unwrap(await writeCheckpoint(it.deps, source, { ...options, chunkChars: chars, jobRows })).state;
        const manifest = (await readCheckpoint(it.store, place)) as CheckpointManifest;
        const half = waiting.length >> 1;
        while (waiting.length > half) pushNext();
        for (const claims of [
          ADMIN,
          user("alice", { team: ["alice", "bob"], most: 4 }),
          user("bob", { team: [], most: 2 }),
          user("eve"),
        ]) {
          if (!RULES.includes(rules)) expect(await served(it.store, manifest, it.engine, claims)).toBeDefined();
          const device = await bootstrapped(it, manifest, claims);
          expect(device.alive).toEqual(fromZero(it.engine, claims).alive);
          // Of rows that it may not see it never heard.
          if (claims.sub === "eve" && RULES.includes(rules))
            expect([...device.rows.keys()].filter((key) => key.startsWith("todos/"))).toEqual([]);
        }
      },
    ),
    { numRuns: 120 },
  );
}, 300_000);

test("[CK1] a row that changes while it is read stands in the checkpoint as it is at the checkpoint's seq", async () => {
  const it = world(ALL);
  insertMany(it.engine, 0, 50);
  let calls = 0;
  const between = () => {
    if (++calls > 12) return;
    push(it.engine, ADMIN, [edit("UPDATE", "row-000003", 1000 + calls, { title: `again ${calls}` })]);
    push(it.engine, ADMIN, [edit("DELETE", `row-0000${10 + calls}`, 1000 + calls)]);
    insertMany(it.engine, 100 + calls, 1);
  };
  unwrap(await writeCheckpoint(it.deps, sourceOf(it.engine, between, 200), { ...options, chunkChars: 500 }));
  const manifest = (await readCheckpoint(it.store, place)) as CheckpointManifest;
  expect(manifest.seq).toBe(it.engine.head);
  const device = new Device(ADMIN);
  for (const batch of (await served(it.store, manifest, it.engine, ADMIN)) ?? [])
    device.install([batch], { at: "tail", seq: manifest.seq, exact: true }, it.engine.fingerprint(ADMIN));
  expect(device.alive).toEqual(fromZero(it.engine).alive);
  expect(device.pullAll(it.engine)).toEqual([]);
});

/** A store that counts what is read of it. */
function counted(store: MemoryStore) {
  const reads = { bytes: 0, gets: 0 };
  const counting = new Proxy(store, {
    get: (target, name) =>
      name === "get"
        ? async (...args: Parameters<MemoryStore["get"]>) => {
            const got = await target.get(...args);
            reads.gets++;
            if (got.ok) reads.bytes += got.value.length;
            return got;
          }
        : Reflect.get(target, name),
  });
  return { counting, reads };
}

test.each([
  ["by equality", [{ column: "user_id", op: "eq" as const, value: "jwt:sub" }]],
  [
    "by comparing",
    [
      { column: "priority", op: "gte" as const, value: 7000 },
      { column: "priority", op: "lt" as const, value: "jwt:below" },
    ],
  ],
])(
  "[PL7] a user who may see 100 rows of 20,000 %s is served by the index: some kilobytes, and rows of nobody else",
  async (_, filters) => {
    const it = world({ buckets: [{ name: "some", tables: ["todos"], filters }] });
    for (let at = 0; at < 20_000; at += 2000)
      insertMany(it.engine, at, 2000, (n) => (n % 200 === 0 ? "alice" : `user-${n % 500}`));
    unwrap(await writeCheckpoint(it.deps, sourceOf(it.engine), options));
    const manifest = (await readCheckpoint(it.store, place)) as CheckpointManifest;
    const { counting, reads } = counted(it.store);
    const claims = user("alice", { below: 7100 });
    const batches = await served(counting, manifest, it.engine, claims);
    const ids = batches?.flatMap((batch) => batch.rowIds);
    expect(ids).toHaveLength(100);
    expect(ids?.sort()).toEqual([...fromZero(it.engine, claims).alive.keys()].map((key) => key.slice(6)).sort());
    expect(reads.bytes).toBeLessThan(16 * 1024);
  },
);

test("[CK1] a checkpoint in several goes is the same as in one, and a draft that is too old is begun anew", async () => {
  const it = world(ALL);
  insertMany(it.engine, 0, 3000);
  const goes = { ...options, jobRows: 1000, chunkChars: 4000 };
  const source = sourceOf(it.engine, () => undefined, 4000);
  const states: string[] = [];
  do states.push(unwrap(await writeCheckpoint(it.deps, source, goes)).state);
  while (states.at(-1) === "more" && states.length < 20);
  expect(states).toEqual(["more", "more", "more", "written"].slice(-states.length));
  expect(states.length).toBeGreaterThan(2);
  const first = (await readCheckpoint(it.store, place)) as CheckpointManifest;
  expect(first.tables.find((t) => t.table === "todos")?.rows).toBe(3000);
  expect((await bootstrapped(it, first)).alive).toEqual(fromZero(it.engine).alive);
  expect(unwrap(await writeCheckpoint(it.deps, source, goes)).state).toBe("more");
  it.wait(2 * 3600_000);
  expect(unwrap(await writeCheckpoint(it.deps, source, { ...options, jobRows: 1e9 })).state).toBe("written");
});

test("[CK2] an old checkpoint outlives the next by a grace period, so that a download goes on; then it is gone", async () => {
  const it = world(ALL);
  const keys = async () => unwrap(await it.store.list("")).objects.map((object) => object.key);
  const grace = { ...options, graceMs: 10_000 };
  insertMany(it.engine, 0, 10);
  unwrap(await writeCheckpoint(it.deps, sourceOf(it.engine), grace));
  const first = (await readCheckpoint(it.store, place)) as CheckpointManifest;
  it.wait(4 * 3600_000);
  insertMany(it.engine, 10, 10);
  unwrap(await writeCheckpoint(it.deps, sourceOf(it.engine), grace));
  // Whoever began with the first goes on with it.
  expect((await bootstrapped(it, first)).alive).toEqual(fromZero(it.engine).alive);
  it.wait(9_000);
  unwrap(await writeCheckpoint(it.deps, sourceOf(it.engine), grace));
  expect((await keys()).some((key) => key.includes(first.run))).toBe(true);
  it.wait(2_000);
  unwrap(await writeCheckpoint(it.deps, sourceOf(it.engine), grace));
  expect((await keys()).some((key) => key.includes(first.run))).toBe(false);
});

test("a run that is killed leaves the checkpoint in force, and its objects go", async () => {
  const it = world(ALL);
  insertMany(it.engine, 0, 100);
  unwrap(await writeCheckpoint(it.deps, sourceOf(it.engine), options));
  const before = await readCheckpoint(it.store, place);
  let calls = 0;
  const dying = sourceOf(
    it.engine,
    () => {
      if (++calls === 6) throw new Error("killed");
    },
    300,
  );
  await expect(writeCheckpoint(it.deps, dying, { ...options, chunkChars: 300 })).rejects.toThrow("killed");
  expect(await readCheckpoint(it.store, place)).toEqual(before);
  const count = async () => unwrap(await it.store.list("")).objects.length;
  const left = await count();
  it.wait(30 * 3600_000);
  unwrap(await writeCheckpoint(it.deps, sourceOf(it.engine), options));
  expect(await count()).toBeLessThan(left);
});

test("a chunk and what lies beside it are the rows of the shard, dead ones and seqs too", async () => {
  const it = world(ALL);
  insertMany(it.engine, 0, 30);
  push(it.engine, ADMIN, [edit("DELETE", "row-000004", 500), edit("UPDATE", "row-000005", 501, { title: "x" })]);
  push(it.engine, ADMIN, [edit("UPDATE", "never", 502, { title: "no insert" })]);
  push(it.engine, ADMIN, [edit("DELETE", "row-000006", 503), edit("INSERT", "row-000006", 504, { priority: null })]);
  unwrap(await writeCheckpoint(it.deps, sourceOf(it.engine), { ...options, chunkChars: 400 }));
  const manifest = (await readCheckpoint(it.store, place)) as CheckpointManifest;
  const other = shardOf({ rules: ALL });
  for (const { table, chunks } of manifest.tables)
    for (const info of chunks) {
      const { batches, rest } = await getChunk(it.store, { ...place, run: manifest.run }, table, info);
      if (table === "todos") other.importRows(table, restoreRows(TODOS, batches, rest), manifest.seq);
    }
  type State = [string, number, string, number, number, [string, number, object][]];
  const rowsOf = (engine: ShardEngine) =>
    engine.checkpointRows("todos", "", 1 << 20).rows.map(({ id, seq, state }) => {
      const [inserted, , deleted, , , layers] = JSON.parse(state) as State;
      return { id, seq, inserted, deleted, layers: layers.map(([stamp, , ...cells]) => [stamp, cells]) };
    });
  expect(rowsOf(other)).toEqual(rowsOf(it.engine));
  expect(rowsOf(other)).toHaveLength(31);
});

test("[V1] a checkpoint's manifest carries its rows' digests, in one go or several, with pushes at every step", async () => {
  const it = world(ALL);
  insertMany(it.engine, 0, 300);
  let calls = 0;
  const between = () => {
    if (++calls % 3 === 0 && calls < 30) push(it.engine, ADMIN, [edit("UPDATE", "row-000003", calls, { title: "x" })]);
  };
  const goes = { ...options, jobRows: 100, chunkChars: 4000 };
  for (const busy of [between, undefined]) {
    // Nothing is pushed once everything is known as it is at one seq: the shard's digest stays that of the checkpoint.
    const { landed, clocks } = sourceOf(it.engine);
    const source = { ...sourceOf(it.engine, busy, 2000), landed, clocks };
    while (unwrap(await writeCheckpoint(it.deps, source, goes)).state === "more");
    const manifest = (await readCheckpoint(it.store, place)) as CheckpointManifest;
    const digests = manifest.tables.map(({ table, digest }) => [table, digest]);
    expect(digests).toEqual(["notes", "todos"].map((table) => [table, String(it.engine.countDigest(table))]));
  }
});

test("[V1] rows that are not what the shard's digest says do not become a checkpoint", async () => {
  const it = world(ALL);
  insertMany(it.engine, 0, 100);
  unwrap(await writeCheckpoint(it.deps, sourceOf(it.engine), options));
  const sound = await readCheckpoint(it.store, place);
  const source = sourceOf(it.engine);
  const lying: typeof source = {
    ...source,
    rows: async (table, after) => {
      const { rows, ...page } = unwrap(await source.rows(table, after));
      return ok({ ...page, rows: rows.map((row) => ({ ...row, state: row.state.replace('"t42"', '"T42"') })) });
    },
  };
  const refused = await writeCheckpoint(it.deps, lying, options);
  expect(!refused.ok && refused.error).toMatchObject({ code: "Corrupt", details: { table: "todos" } });
  expect(await readCheckpoint(it.store, place)).toEqual(sound);
  expect(unwrap(await writeCheckpoint(it.deps, source, options)).state).toBe("written");
});

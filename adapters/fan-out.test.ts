/** Secondaries that are down, slow or killed: the primary does not wait, and they end with what it has. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { DatabaseAdapter } from "../core/index.ts";
import { FlushScript, NodeSqlStore, tableOf } from "../core/testing.ts";
import { deltasOf, err, LakeSyncError, OPS, type Scalar, type Seq, unwrap } from "../schemas/index.ts";
import { CompositeAdapter, catchUp, FanOutAdapter } from "./index.ts";
import { Fuse, lakeLike, mortal, readAll, rowsOfScript, SqliteAdapter, survives } from "./testing.ts";

const TABLE = tableOf("items", { title: "string", votes: "integer" });
const database = () => new SqliteAdapter(new NodeSqlStore());

/** Every edit of a shard, as an adapter has it. */
async function historyOf(adapter: DatabaseAdapter, shard = "main") {
  const query = { table: TABLE, shard, afterSeq: 0 as Seq, limit: 100_000 };
  const { batch, seqs } = unwrap(await adapter.queryDeltasSince(query));
  return [...deltasOf(batch)].map((delta, at) => ({ ...delta, seq: seqs[at] }));
}

const unreachable = (adapter: DatabaseAdapter, isDown: () => boolean): DatabaseAdapter =>
  new Proxy(adapter, {
    get: (target, name) => {
      const member = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return async (...args: unknown[]) =>
        isDown() ? err(new LakeSyncError("DestinationUnavailable", "It is down.")) : member.apply(target, args);
    },
  });

test("[F2] a secondary that is down holds nothing up, its lag shows, and it catches up from where it was", async () => {
  const [primary, steady, shaky] = [database(), database(), database()];
  let down = false;
  const fanOut = new FanOutAdapter({ primary, secondaries: [unreachable(shaky, () => down), steady] });
  const scripts = ["one", "two"].map((shard) => new FlushScript(TABLE, { shard }));
  const flushed = [0, 0];
  unwrap(await fanOut.ensureSchema(TABLE));
  for (let day = 0; day < 6; day++) {
    down = day > 0 && day < 5;
    for (const [of, script] of scripts.entries()) {
      for (let at = 0; at < 5; at++) script.edit("INSERT", `${of}-${day}-${at}`, { title: `day ${day}`, votes: at });
      if (day > 0) script.edit("DELETE", `${of}-${day - 1}-0`).edit("UPDATE", `${of}-0-1`, { votes: day });
      unwrap(await fanOut.insertDeltas(script.batch(flushed[of])));
      flushed[of] = script.head;
    }
    const reports = await catchUp(fanOut, { tables: [TABLE] });
    expect(reports.map(({ error }) => error?.code)).toEqual([down ? "DestinationUnavailable" : undefined, undefined]);
    for (const script of scripts)
      expect(await historyOf(steady, script.shard)).toEqual(await historyOf(primary, script.shard));
    if (down) expect(await fanOut.lag(TABLE)).toMatchObject({ ok: false, error: { code: "DestinationUnavailable" } });
    if (day === 4) {
      down = false;
      const lags = unwrap(await fanOut.lag(TABLE));
      expect(lags.map(({ secondary, shard, seqs }) => ({ secondary, shard, seqs }))).toEqual([
        { secondary: 0, shard: "one", seqs: 28 },
        { secondary: 0, shard: "two", seqs: 28 },
      ]);
      for (const { oldestMs } of lags) expect(oldestMs).toBeGreaterThan(0);
    }
  }
  expect(unwrap(await fanOut.lag(TABLE))).toEqual([]);
  for (const each of [primary, steady, shaky])
    expect(await readAll(each, TABLE)).toEqual({
      ...rowsOfScript(scripts[0] as FlushScript),
      ...rowsOfScript(scripts[1] as FlushScript),
    });
});

test("a secondary that is added late, and then made primary, has everything", async () => {
  const [old, next] = [database(), database()];
  const script = new FlushScript(TABLE);
  for (let at = 0; at < 50; at++) script.edit("INSERT", `row-${at}`, { votes: at });
  for (let at = 0; at < 50; at += 5) script.edit("DELETE", `row-${at}`);
  unwrap(await old.ensureSchema(TABLE));
  unwrap(await old.insertDeltas(script.batch()));
  const before = new FanOutAdapter({ primary: old, secondaries: [next] });
  await before.catchUp(TABLE);
  const after = new FanOutAdapter({ primary: next, secondaries: [old] });
  const done = script.head;
  script.edit("UPDATE", "row-1", { title: "after the change" }).edit("INSERT", "row-0", { votes: 7 });
  unwrap(await after.insertDeltas(script.batch(done)));
  await after.catchUp(TABLE);
  for (const each of [old, next]) expect(await readAll(each, TABLE)).toEqual(rowsOfScript(script));
  expect(await historyOf(old)).toEqual(await historyOf(next));
});

test("[F1] flushed and caught up at random, killed anywhere, a secondary of any kind ends like the oracle", async () => {
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        op: fc.constantFrom(...OPS),
        rowId: fc.constantFrom("a", "b", "é"),
        cells: fc.record(
          { title: fc.constantFrom(null, "x", "y"), votes: fc.constantFrom(null, 1) },
          { requiredKeys: [] },
        ),
        late: fc.constantFrom(0, 0, 2, 20),
      }),
    },
    { weight: 2, arbitrary: fc.constant("flush" as const) },
    { weight: 2, arbitrary: fc.record({ dies: fc.nat(25) }) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 4, maxLength: 40, size: "max" }),
      fc.boolean(),
      async (steps, lake) => {
        const [primary, secondary] = [database(), database()];
        const [first, second] = lake ? [lakeLike(primary), secondary] : [primary, lakeLike(secondary)];
        const open = (fuse = new Fuse()) =>
          new FanOutAdapter({ primary: mortal(first, fuse), secondaries: [mortal(second, fuse)] });
        const script = new FlushScript(TABLE);
        let flushed = 0;
        unwrap(await open().ensureSchema(TABLE));
        for (const each of [...steps, "flush" as const, { dies: 0 }]) {
          if (each === "flush") {
            if (script.head > flushed) unwrap(await open().insertDeltas(script.batch(flushed)));
            flushed = script.head;
          } else if ("op" in each) {
            const cells = Object.fromEntries(Object.entries(each.cells)) as Record<string, Scalar>;
            if (each.op === "UPDATE" && Object.keys(cells).length === 0) cells.votes = 5;
            script.edit(
              each.op,
              each.rowId,
              each.op === "DELETE" ? {} : cells,
              "c",
              script.head - 1_000_000 - each.late,
            );
          } else if (await survives(() => open(new Fuse(each.dies)).catchUp(TABLE))) {
            expect(await readAll(secondary, TABLE)).toEqual(rowsOfScript(script, flushed));
          }
        }
        expect(await readAll(secondary, TABLE)).toEqual(rowsOfScript(script));
        expect(await historyOf(secondary)).toEqual(await historyOf(primary));
        expect(unwrap(await open().lag(TABLE))).toEqual([]);
      },
    ),
    { numRuns: 150 },
  );
});

test("a table in two routes is refused at once, one in none when it is used", async () => {
  const [one, other] = [database(), database()];
  const twice = () =>
    new CompositeAdapter({
      routes: [
        { tables: ["a", "b"], adapter: one },
        { tables: ["b"], adapter: other },
      ],
    });
  expect(twice).toThrow(expect.objectContaining({ code: "Misconfigured", details: { table: "b" } }));
  const adapter = new CompositeAdapter({ routes: [{ tables: ["items"], adapter: one }] });
  const script = new FlushScript(TABLE).edit("INSERT", "a", { votes: 1 });
  unwrap(await adapter.ensureSchema(TABLE));
  unwrap(await adapter.insertDeltas(script.batch()));
  expect(await readAll(one, TABLE)).toEqual({ a: [null, 1] });
  const stray = new FlushScript(tableOf("stray", { title: "string" })).edit("INSERT", "a", { title: "x" });
  for (const answer of [await adapter.ensureSchema(stray.table), await adapter.insertDeltas(stray.batch())])
    expect(answer).toMatchObject({ ok: false, error: { code: "Misconfigured", details: { table: "stray" } } });
});

/** A real database, killed and started again in the middle of flushes while pushes go on. */
import { expect } from "vitest";
import { type DatabaseAdapter, flushOnce } from "../../core/index.ts";
import { rowOf } from "../../core/testing.ts";
import {
  type ClientId,
  compareCodePoints,
  type Delta,
  deltasOf,
  makeStamp,
  packHlc,
  type Scalar,
  type Seq,
  unwrap,
} from "../../schemas/index.ts";
import { FlushedShard, TABLE } from "./flushed-shard.ts";

const KILLS = 20;
const CLIENT = "client-1" as ClientId;
const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

interface Killable {
  kill(): Promise<void>;
  restart(): Promise<void>;
}

/** Twenty times; in the end every acknowledged delta is there once. */
export async function killedInFlushes(server: Killable, adapter: DatabaseAdapter): Promise<void> {
  const shard = new FlushedShard(TABLE);
  let edits = 0;
  const start = Date.now() - 1_000_000;
  const pushSome = () => {
    const batch = Array.from({ length: 300 }, (): Delta => {
      const at = edits++;
      const op = at % 11 === 10 ? "DELETE" : at % 3 === 0 ? "INSERT" : "UPDATE";
      const columns: Record<string, Scalar> = op === "DELETE" ? {} : at % 2 === 0 ? { title: `t${at}` } : { votes: at };
      return {
        op,
        table: "todos",
        rowId: `row-${(at * 7) % 1000}`,
        hlc: packHlc(start + Math.floor(at / 1000), at % 1000),
        clientId: CLIENT,
        columns,
      };
    });
    shard.push(CLIENT, batch);
  };

  let done = false;
  let flushing = false;
  let attempt = 0;
  const states = new Set<string>();
  const errors = new Set<string>();
  const flusher = (async () => {
    while (!done || shard.engine.unflushed.deltas > 0) {
      flushing = true;
      const source = shard.source();
      const clock = { now: () => Date.now() };
      const summary = await flushOnce({ source, destination: adapter, clock, token: `t${++attempt}` });
      flushing = false;
      states.add(summary.state);
      for (const error of summary.errors) errors.add(error);
      await wait(5);
    }
  })();
  const pusher = (async () => {
    while (!done) {
      pushSome();
      await wait(20);
    }
  })();
  let lag = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    await wait(20 + (kill % 5) * 23);
    while (!flushing) await wait(1);
    await wait(kill % 7);
    await server.kill();
    pushSome();
    await wait(30);
    lag = Math.max(lag, shard.engine.status().unflushedDeltas);
    await server.restart();
  }
  done = true;
  await Promise.all([flusher, pusher]);

  // The shard kept what the database could not take, and said why.
  expect(lag).toBeGreaterThan(0);
  expect(states).toContain("failed");
  for (const error of errors) expect(error).toMatch(/^todos: DestinationUnavailable: /);
  expect(shard.engine.status().setAside).toEqual([]);

  const held: (Delta & { seq: number })[] = [];
  for (let afterSeq = 0 as Seq; ; ) {
    const page = unwrap(await adapter.queryDeltasSince({ table: TABLE, shard: "main", afterSeq, limit: 5000 }));
    if (page.seqs.length === 0) break;
    for (const delta of deltasOf(page.batch)) held.push({ ...delta, seq: held.length + 1 });
    expect(page.seqs[0]).toBe(afterSeq + 1);
    afterSeq = page.seqs.at(-1) as Seq;
  }
  expect(held.length).toBe(shard.acknowledged.length);
  const key = ({ op, rowId, hlc, columns }: Delta) => JSON.stringify([op, rowId, hlc, columns]);
  expect(held.map(key).sort()).toEqual(shard.acknowledged.map(key).sort());

  const expected = [...Map.groupBy(shard.acknowledged, ({ rowId }) => rowId)]
    .map(([rowId, of]) => {
      const stamped = of.map(({ op, hlc, clientId, columns }) => ({
        letter: op[0] as "I" | "U" | "D",
        row: rowId,
        stamp: makeStamp(hlc, clientId),
        columns,
      }));
      return { rowId, row: rowOf(stamped) };
    })
    .filter(({ row }) => row.alive)
    .sort((a, b) => compareCodePoints(a.rowId, b.rowId))
    .map(({ rowId, row }) => [rowId, row.cells.title?.value ?? null, row.cells.votes?.value ?? null]);
  const page = unwrap(await adapter.getLatestState({ table: TABLE, limit: 5000 }));
  expect(page.rowIds.map((rowId, at) => [rowId, page.columns[0]?.values[at], page.columns[1]?.values[at]])).toEqual(
    expected,
  );
}

/**
 * A shard that flushes into a real PostgreSQL in which others edit the same rows, and takes in what they do. Everything may die
 * before or after any call; in the end both hold the same, and every edit by SQL is in the history once.
 */
import { expect, inject, test } from "vitest";
import { PostgresAdapter, PostgresFeed } from "../../adapters/index.ts";
import { Fuse, freshDatabase, mortal, onPostgres, readAll, survives } from "../../adapters/testing.ts";
import { type DatabaseAdapter, flushOnce, type PushEdits, takeEdits } from "../../core/index.ts";
import { rowOf } from "../../core/testing.ts";
import {
  type ClientId,
  compareCodePoints,
  type Delta,
  deltasOf,
  FLUSH_LEASE_MS,
  letterOf,
  makeStamp,
  ok,
  packHlc,
  type Scalar,
  unwrap,
} from "../../schemas/index.ts";
import { Random } from "../kernel/random.ts";
import { FlushedShard, TABLE } from "./flushed-shard.ts";

const DEVICE = "device-1" as ClientId;
const STEPS = 60;

async function run(seed: number): Promise<void> {
  const { url } = await freshDatabase(inject("postgresUrl"));
  const adapter = new PostgresAdapter({ connectionString: url });
  const feed = new PostgresFeed({ connectionString: url });
  unwrap(await adapter.ensureSchema(TABLE));
  unwrap(await feed.follow(TABLE));
  const random = new Random(seed, "feed");
  const shard = new FlushedShard(TABLE);
  const known = new Set<string>();
  const foreign: Delta[] = [];
  const push: PushEdits = async (clientId, batch) => {
    const edits = [...deltasOf(batch)];
    shard.push(clientId, edits);
    for (const edit of edits) {
      if (!known.has(edit.hlc + edit.rowId)) foreign.push(edit);
      known.add(edit.hlc + edit.rowId);
    }
    return ok([]);
  };
  let attempts = 0;
  const flush = async (destination: DatabaseAdapter) => {
    const clock = { now: () => Date.now() };
    const token = `t${++attempts}`;
    return (await flushOnce({ source: shard.source(), destination, clock, token, atOnce: true })).state;
  };
  const take = async (fuse: Fuse) => {
    const pushed: PushEdits = async (...edits) => {
      fuse.step();
      const answer = await push(...edits);
      fuse.step();
      return answer;
    };
    unwrap(await takeEdits(mortal(feed, fuse), TABLE, pushed, () => Date.now()));
  };
  const row = () => `r${random.int(0, 5)}`;
  let edits = 0;
  /** What others did, as they see it: each statement that changed something. */
  const said: [string, string, Record<string, Scalar>][] = [];
  const bySql = async () => {
    const id = row();
    const value = ++edits;
    const set = random.int(0, 1) === 0 ? { title: `sql ${value}` } : { votes: value };
    const [[name, to]] = Object.entries(set) as [[string, Scalar]];
    const quoted = `'${to}'`;
    switch (random.int(0, 3)) {
      case 0: {
        const done = await onPostgres(url, `DELETE FROM todos WHERE _id = '${id}' RETURNING 1`);
        if (done.length > 0) said.push(["DELETE", id, {}]);
        return;
      }
      case 1: {
        const insert = `INSERT INTO todos (_id, ${name}) VALUES ('${id}', ${quoted}) ON CONFLICT DO NOTHING RETURNING 1`;
        if ((await onPostgres(url, insert)).length > 0) said.push(["INSERT", id, set]);
        return;
      }
      default: {
        const update = `UPDATE todos SET ${name} = ${quoted} WHERE _id = '${id}' RETURNING 1`;
        if ((await onPostgres(url, update)).length > 0) said.push(["UPDATE", id, set]);
      }
    }
  };
  const byDevice = () => {
    const op = (["INSERT", "UPDATE", "UPDATE", "DELETE"] as const)[random.int(0, 3)] ?? "UPDATE";
    const value = ++edits;
    const columns: Record<string, Scalar> =
      op === "DELETE" ? {} : random.int(0, 1) === 0 ? { title: `device ${value}` } : { votes: value };
    // Sometimes by a device that was offline for a while, or whose clock is ahead.
    const hlc = packHlc(Date.now() + random.int(0, 2) * 2000 - 3000, value);
    shard.push(DEVICE, [{ op, table: "todos", rowId: row(), hlc, clientId: DEVICE, columns }]);
  };
  for (let step = 0; step < STEPS; step++) {
    const fuse = new Fuse(random.int(0, 2) === 0 ? random.int(1, 6) : 0);
    switch (random.int(0, 5)) {
      case 0:
      case 1:
        await bySql();
        break;
      case 2:
      case 3:
        byDevice();
        break;
      case 4:
        if (!(await survives(() => flush(mortal(adapter, fuse))))) shard.later += FLUSH_LEASE_MS + 1;
        break;
      default:
        await survives(() => take(fuse));
    }
  }
  // Nobody edits any more: it comes to rest after one round, and what the round flushed does not come back.
  for (let round = 0; round < 2; round++) {
    await take(new Fuse());
    // What a flush that died had begun comes first.
    for (let flushes = 0; flushes < 2; flushes++) expect(await flush(adapter)).toMatch(/^(flushed|empty)$/);
    expect(shard.engine.unflushed.deltas).toBe(0);
    expect(unwrap(await feed.backlog(TABLE)), `seed ${seed}`).toMatchObject({ waiting: 0, refused: 0 });
  }
  expect(
    foreign.map(({ op, rowId, columns }) => [op, rowId, columns]),
    `seed ${seed}: each edit by SQL, once, in order`,
  ).toEqual(said);
  const history = await onPostgres(
    url,
    "SELECT _client_id, _hlc, _id, count(*)::int AS n FROM todos__changes GROUP BY 1, 2, 3",
  );
  const own = history.filter(({ _client_id }) => _client_id !== DEVICE);
  expect([own.length, history.filter(({ n }) => n !== 1)]).toEqual([said.length, []]);
  const wanted = [...Map.groupBy(shard.acknowledged, ({ rowId }) => rowId)]
    .sort(([a], [b]) => compareCodePoints(a, b))
    .flatMap(([id, deltas]) => {
      const stamped = deltas.map(({ op, rowId, hlc, clientId, columns }) => ({
        letter: letterOf(op),
        row: rowId,
        stamp: makeStamp(hlc, clientId),
        columns,
      }));
      const { alive, cells } = rowOf(stamped);
      return alive ? [[id, TABLE.columns.map(({ name }) => cells[name]?.value ?? null)]] : [];
    });
  expect(await readAll(adapter, TABLE), `seed ${seed}`).toEqual(Object.fromEntries(wanted));
  await feed.close();
  await adapter.close();
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  "[F1] [M2] devices and SQL edit the same rows, with deaths between any two calls: seed %i",
  (seed) => run(seed),
);

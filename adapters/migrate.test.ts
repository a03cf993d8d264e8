/** From one backend to another, stopped and killed on the way. */
import { expect, test } from "vitest";
import { FlushScript, NOW, NodeSqlStore, tableOf } from "../core/testing.ts";
import { unwrap } from "../schemas/index.ts";
import { LifecycleAdapter, type MigrationProgress, migrateAdapter } from "./index.ts";
import { Fuse, lakeLike, mortal, readAll, rowsOfScript, SqliteAdapter, survives } from "./testing.ts";

const TABLE = tableOf("items", { title: "string", votes: "integer" });
const database = () => new SqliteAdapter(new NodeSqlStore());

async function filled(edits: number) {
  const from = database();
  const scripts = ["one", "two"].map((shard) => new FlushScript(TABLE, { shard }));
  unwrap(await from.ensureSchema(TABLE));
  for (const script of scripts) {
    for (let at = 0; at < edits; at++)
      script.edit(
        at % 7 === 6 ? "DELETE" : at % 3 === 0 ? "INSERT" : "UPDATE",
        `${script.shard}-${at % 40}`,
        at % 7 === 6 ? {} : { votes: at },
      );
    unwrap(await from.insertDeltas(script.batch()));
  }
  const rows = { ...rowsOfScript(scripts[0] as FlushScript), ...rowsOfScript(scripts[1] as FlushScript) };
  return { from, scripts, rows };
}

test("killed before or after any call, a migration goes on, ends equal, and repeats without effect", async () => {
  const { from, rows } = await filled(60);
  for (let dies = 1; ; dies++) {
    const to = database();
    const fuse = new Fuse(dies);
    await survives(() => migrateAdapter({ from: mortal(from, fuse), to: mortal(lakeLike(to), fuse), tables: [TABLE] }));
    const progress: MigrationProgress[] = [];
    const options = { from, to, tables: [TABLE], onProgress: (each: MigrationProgress) => progress.push(each) };
    const [first] = unwrap(await migrateAdapter(options));
    expect(await readAll(to, TABLE)).toEqual(rows);
    expect(progress.at(-1)).toMatchObject({ phase: "comparing", seqs: 120, seqsOf: 120 });
    progress.length = 0;
    expect(unwrap(await migrateAdapter(options))).toEqual([first]);
    expect(progress.every(({ phase, done }) => phase === "comparing" || done === 0)).toBe(true);
    if (!fuse.burnt) {
      expect(dies).toBeGreaterThan(15);
      return;
    }
  }
});

test("stopped, it says so; what came meanwhile is copied by the next call", async () => {
  const { from, scripts, rows } = await filled(30);
  const to = database();
  const stop = new AbortController();
  const stopped = await migrateAdapter({
    from,
    to,
    tables: [TABLE],
    onProgress: () => stop.abort(),
    signal: stop.signal,
  });
  expect(stopped).toMatchObject({ ok: false, error: { code: "Unavailable", retryable: true } });
  const [script] = scripts as [FlushScript];
  script.edit("INSERT", "late", { title: "late" });
  unwrap(await from.insertDeltas(script.batch(30)));
  unwrap(await migrateAdapter({ from, to, tables: [TABLE] }));
  expect(await readAll(to, TABLE)).toEqual({ ...rows, late: ["late", null] });
});

test("a destination with rows of its own is told from one that is equal", async () => {
  const { from } = await filled(10);
  const to = database();
  const own = new FlushScript(TABLE, { shard: "own" }).edit("INSERT", "mine", { votes: 1 });
  unwrap(await to.ensureSchema(TABLE));
  unwrap(await to.insertDeltas(own.batch()));
  expect(await migrateAdapter({ from, to, tables: [TABLE] })).toMatchObject({
    ok: false,
    error: { code: "Conflict", details: { table: "items" } },
  });
});

test("both tiers of a lifecycle go over, and so do rows that no history tells of", async () => {
  const { from: hot, rows } = await filled(60);
  const cold = database();
  const tiers = new LifecycleAdapter({ hot: { adapter: hot, maxAgeMs: 0 }, cold: { adapter: lakeLike(cold) } });
  const { moved } = unwrap(await tiers.migrateToTier(TABLE, NOW - 1_000_000 + 40));
  expect(moved).toBeGreaterThan(0);
  const to = database();
  unwrap(await migrateAdapter({ from: tiers, to, tables: [TABLE] }));
  expect(await readAll(to, TABLE)).toEqual(rows);
  const archive = database();
  unwrap(await migrateAdapter({ from: cold, to: archive, tables: [TABLE] }));
  expect(await readAll(archive, TABLE)).toEqual(await readAll(cold, TABLE));
});

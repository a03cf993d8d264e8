/** Two tiers under random schedules, killed anywhere: readers see one table, rows are where their age says. */
import { expect, test } from "vitest";
import type { DatabaseAdapter } from "../core/index.ts";
import { FlushScript, NOW, NodeSqlStore, tableOf } from "../core/testing.ts";
import { unwrap } from "../schemas/index.ts";
import { LifecycleAdapter, migrateToTier } from "./index.ts";
import { Fuse, lakeLike, mortal, readAll, rowsOfScript, SqliteAdapter, survives, tiersAreOneTable } from "./testing.ts";

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

test.each<Kind>(["a database that keeps stamps", "a lake"])(
  "[F1] whatever is edited, flushed, moved and killed, readers see the rows of the oracle, cold being %s",
  (kind) => tiersAreOneTable(() => tiers(kind), 60),
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

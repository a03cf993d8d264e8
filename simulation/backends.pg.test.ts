/** Postgres and Iceberg together, both real: in tiers, one following the other, and one left for the other. */
import { randomInt } from "node:crypto";
import pg from "pg";
import { beforeAll, expect, inject, test } from "vitest";
import { FanOutAdapter, type MigrationProgress, migrateAdapter, PostgresAdapter } from "../adapters/index.ts";
import { readAll, rowsOfScript, tiersAreOneTable } from "../adapters/testing.ts";
import type { DatabaseAdapter } from "../core/index.ts";
import { FlushScript, tableOf } from "../core/testing.ts";
import { IcebergAdapter } from "../lake/index.ts";
import { initParquetInNode, testLake } from "../lake/testing.ts";
import { unwrap } from "../schemas/index.ts";

beforeAll(initParquetInNode);

async function postgres(): Promise<PostgresAdapter> {
  const schema = `backends_${process.pid}_${randomInt(2 ** 40)}`;
  const client = new pg.Client({ connectionString: inject("postgresUrl") });
  await client.connect();
  await client.query(`CREATE SCHEMA ${schema}`);
  await client.end();
  return new PostgresAdapter({ connectionString: inject("postgresUrl"), schema });
}

const lake = (): DatabaseAdapter => new IcebergAdapter(testLake().deps, "demo");

test("[F1] hot in Postgres and cold in Iceberg are one table, whatever is edited, flushed, moved and killed", async () => {
  const hot = await postgres();
  const cold = lake();
  await tiersAreOneTable(() => ({ hot, cold }), 12);
  await hot.close();
});

test("[F2] each of the two follows the other", async () => {
  for (const turn of [0, 1]) {
    const pair = [await postgres(), lake()] as const;
    const fanOut = new FanOutAdapter({
      primary: pair[turn] as DatabaseAdapter,
      secondaries: [pair[1 - turn] as DatabaseAdapter],
    });
    const table = tableOf("items", { title: "string", votes: "integer" });
    const script = new FlushScript(table);
    unwrap(await fanOut.ensureSchema(table));
    for (let round = 0; round < 4; round++) {
      const from = script.head;
      for (let at = 0; at < 40; at++) {
        const row = `row-${(at * 7 + round) % 25}`;
        if ((at + round) % 6 === 0) script.edit("DELETE", row, {}, "d");
        else
          script.edit(
            at % 2 ? "UPDATE" : "INSERT",
            row,
            at % 3 ? { votes: at } : { title: `${round}` },
            "c",
            script.head - 1_000_000 - (at % 5) * 30,
          );
      }
      unwrap(await fanOut.insertDeltas(script.batch(from)));
      if (round === 1) continue; // behind by two flushes at the next
      for (const { error } of await fanOut.catchUp(table)) expect(error).toBeUndefined();
      for (const each of pair) expect(await readAll(each, table, 1000)).toEqual(rowsOfScript(script));
      expect(unwrap(await fanOut.lag(table))).toEqual([]);
    }
    await fanOut.close();
  }
});

test("200,000 rows go from Iceberg to Postgres and back, interrupted three times each way, and end equal", async () => {
  const table = tableOf("items", { title: "string", votes: "integer", done: "boolean" });
  const [first, middle, last] = [lake(), await postgres(), lake()];
  const script = new FlushScript(table, { gatewayId: "demo" });
  for (let at = 0; at < 200_000; at++)
    script.edit(
      "INSERT",
      `row-${at}`,
      { title: `title of ${at}`, votes: at, done: at % 2 === 0 },
      `c${Math.floor(at / 5000)}`,
    );
  for (let at = 0; at < 20_000; at++)
    script.edit(at % 2 ? "UPDATE" : "DELETE", `row-${at * 10}`, at % 2 ? { votes: -at } : {}, "late");
  unwrap(await first.ensureSchema(table));
  unwrap(await first.insertDeltas(script.batch()));
  const legs = [];
  for (const [from, to] of [
    [first, middle],
    [middle, last],
  ] as const) {
    const seen: number[] = [];
    for (let interruption = 0; interruption < 3; interruption++) {
      const stop = new AbortController();
      let steps = 0;
      const onProgress = ({ seqs }: MigrationProgress) => {
        seen.push(seqs);
        if (++steps === 3) stop.abort();
      };
      const stopped = await migrateAdapter({ from, to, tables: [table], onProgress, signal: stop.signal });
      expect(stopped).toMatchObject({ ok: false, error: { code: "Unavailable" } });
    }
    // Each call went on where the one before it stopped.
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(new Set(seen).size).toBeGreaterThan(5);
    legs.push(unwrap(await migrateAdapter({ from, to, tables: [table] })));
  }
  expect(legs[1]).toEqual(legs[0]);
  expect(legs[0]).toMatchObject([{ table: "items", rows: 190_000, edits: 220_000 }]);
  await middle.close();
}, 300_000);

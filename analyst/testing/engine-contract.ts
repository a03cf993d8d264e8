/** What every SQL engine below the analyst does. */
import { tableFromIPC } from "@uwdata/flechette";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LakeType } from "../../lake/index.ts";
import type { Scalar } from "../../schemas/index.ts";
import { QUERY_SCHEMA, SQL_TYPES, type SqlEngine } from "../engine.ts";
import { needsOf, PLAN_SETTINGS, RUN_SETTINGS } from "../plan.ts";

const VALUES: Readonly<Record<string, { type: LakeType; values: Scalar[]; out: unknown[] }>> = {
  id: { type: "string", values: ["a", "\u{10FFFF} \uFEFF", ""], out: ["a", "\u{10FFFF} \uFEFF", ""] },
  whole: { type: "long", values: [7, "9007199254740993", null], out: [7, 9007199254740993n, null] },
  real: { type: "double", values: [1.5, null, -0.1], out: [1.5, null, -0.1] },
  yes: { type: "boolean", values: [true, false, null], out: [true, false, null] },
  moment: {
    type: "timestamptz",
    values: [1_768_480_200_123_456, -1, null],
    out: ["2026-01-15T12:30:00.123456Z", "1969-12-31T23:59:59.999999Z", null],
  },
  raw: { type: "binary", values: ["AP8=", "", null], out: [[0, 255], [], null] },
};
const NAMES = Object.keys(VALUES);

export function engineContract(name: string, open: () => Promise<SqlEngine>): void {
  describe(`SQL engine: ${name}`, () => {
    let engine: SqlEngine;
    beforeAll(async () => {
      engine = await open();
      await engine.run(`CREATE SCHEMA ${QUERY_SCHEMA}`);
      await engine.run(`USE memory.${QUERY_SCHEMA}`);
      const columns = NAMES.map((each) => `"${each}" ${SQL_TYPES[VALUES[each]?.type ?? "string"]}`);
      await engine.run(`CREATE TABLE "all" (${columns.join(", ")}, missing BIGINT)`);
      await engine.insert(
        "all",
        [
          ...NAMES.map((each) => ({ name: each, ...(VALUES[each] as (typeof VALUES)[string]) })),
          { name: "missing", type: "long" as const, values: undefined },
        ],
        3,
      );
    });
    afterAll(() => engine.close());

    test("[M5] values of every type, null among them, come out as they went in", async () => {
      const { names, types, values } = await engine.query('SELECT * FROM "all"');
      expect(names).toEqual([...NAMES, "missing"]);
      expect(types).toEqual([...NAMES.map((each) => SQL_TYPES[VALUES[each]?.type ?? "string"]), "BIGINT"]);
      const plain = (value: unknown) => (value instanceof Uint8Array ? [...value] : value);
      expect(values.map((column) => column.map(plain))).toEqual([
        ...NAMES.map((each) => VALUES[each]?.out),
        [null, null, null],
      ]);
    });

    test("more rows than fit into a chunk arrive, in several inserts", async () => {
      await engine.run("CREATE TABLE many (n BIGINT)");
      for (let from = 0; from < 10_000; from += 5000) {
        const values = Array.from({ length: 5000 }, (_, at) => from + at);
        await engine.insert("many", [{ name: "n", type: "long", values }], 5000);
      }
      const { values } = await engine.query(
        "SELECT count(*) AS c, sum(n)::BIGINT AS s, min(n) AS a, max(n) AS z FROM many",
      );
      expect(values).toEqual([[10_000], [49_995_000], [0], [9999]]);
    });

    test("sums, averages and dates are plain; an answer is Arrow too", async () => {
      const answer = await engine.query("SELECT sum(real) AS s, count(*) AS n, DATE '2026-01-31' AS d FROM \"all\"");
      expect(answer.values).toEqual([[1.4], [3], ["2026-01-31"]]);
      expect(tableFromIPC(answer.arrow()).getChild("n")?.toArray()).toHaveLength(1);
    });

    test("a plan over empty tables names columns and predicates of each scan", async () => {
      await engine.run("CREATE TABLE orders (_id VARCHAR, votes BIGINT, title VARCHAR, made TIMESTAMP)");
      await engine.run("CREATE TABLE people (_id VARCHAR, name VARCHAR)");
      await engine.run(PLAN_SETTINGS);
      const tables = new Map([
        ["orders", ["_id", "votes", "title", "made"]],
        ["people", ["_id", "name"]],
      ]);
      const plan = async (sql: string) =>
        Object.fromEntries(
          [...(await needsOf(engine, sql, tables))].map(([table, { columns, predicates }]) => [
            table,
            [[...columns].sort(), predicates.map(({ column, op, value }) => `${column} ${op} ${value}`)],
          ]),
        );
      expect(
        await plan("SELECT count(*) FROM orders WHERE votes > 10 AND title = 'it''s AND' AND made >= '2026-01-01'"),
      ).toEqual({
        orders: [
          ["made", "title", "votes"],
          expect.arrayContaining(["votes > 10", "title = it's AND", "made >= 2026-01-01 00:00:00"]),
        ],
      });
      expect(
        await plan(
          "WITH o AS (SELECT * FROM orders) SELECT p.name, max(votes) FROM o JOIN people p USING (_id) GROUP BY 1",
        ),
      ).toEqual({ orders: [["_id", "votes"], []], people: [["_id", "name"], []] });
      expect(
        await plan("SELECT title FROM orders WHERE votes > 1 UNION SELECT title FROM orders WHERE votes < 0"),
      ).toEqual({
        orders: [["title", "votes"], []],
      });
      await engine.run(RUN_SETTINGS);
    });

    test("SQL that is wrong rejects, and the engine goes on", async () => {
      await expect(engine.query("SELECT nope")).rejects.toThrow(/nope/);
      expect((await engine.query("SELECT 1 AS one")).values).toEqual([[1]]);
    });
  });
}

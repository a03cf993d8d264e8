/** Rows of a real MariaDB that clients pull by a source's name. */
import { createConnection } from "mysql2/promise";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { Column, ColumnType } from "../../schemas/index.ts";
import { unwrap } from "../../schemas/index.ts";
import { agreesWithRules, startMariadb, type TestMariadb } from "../testing.ts";
import { MySQLSource } from "./source.ts";

let mariadb: TestMariadb;
const without = process.env.LAKESYNC_WITHOUT_MARIADB === "1";

beforeAll(async () => {
  if (!without) mariadb = await startMariadb();
});
afterAll(() => mariadb?.stop());

async function world(...statements: string[]) {
  const connection = await createConnection({ uri: mariadb.url, multipleStatements: true });
  for (const statement of statements) await connection.query(statement);
  await connection.end();
  const source = new MySQLSource({ connectionString: mariadb.url }, "the source");
  onTestFinished(() => source.close());
  return source;
}

const columns = (types: Record<string, ColumnType>): Column[] =>
  Object.entries(types).map(([name, type], at) => ({ id: at + 1, name, type, nullable: true }));

const query = (text: string, types: Record<string, ColumnType> = {}) => ({
  schema: "test",
  query: text,
  key: "n",
  columns: columns(types),
});

/** All keys, in pages of so many. */
async function keysOf(source: MySQLSource, relation: ReturnType<typeof query>, limit: number): Promise<string[]> {
  const keys: string[] = [];
  for (let after: string | undefined; ; after = keys.at(-1)) {
    const { rowIds } = unwrap(await source.page(relation, [[]], after, limit));
    keys.push(...rowIds);
    if (rowIds.length < limit || keys.length > 50) return keys;
  }
}

const ROWS = `SELECT seq,
  ELT(1 + seq % 8, 'a', 'A', 'b', 'B ', 'Z', 'é', '', NULL), ELT(1 + seq % 7, 0, 2, 9007199254740993, -1, 9007199254740992, 10, NULL),
  ELT(1 + seq % 4, 0.1, 2, 3.5, NULL), ELT(1 + seq % 3, 1, 0, NULL) + 0,
  ELT(1 + seq % 4, '2026-01-01 00:00:00.000001', '2026-01-01 00:00:00', '1999-12-31 23:59:59', NULL)
  FROM seq_1_to_200`;

describe.skipIf(without)("a source in MariaDB", () => {
  test.each([
    [
      "its own types, text compared without case",
      "id int PRIMARY KEY, word varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, count bigint, price double, done boolean, due datetime(6)",
    ],
    [
      "types of others",
      "id decimal(20, 0) PRIMARY KEY, word varchar(40) CHARACTER SET latin1 COLLATE latin1_swedish_ci, count varchar(40), price float, done bit(1), due timestamp(6) NULL",
    ],
    [
      "decimals and text",
      "id int PRIMARY KEY, word text, count decimal(30, 0), price decimal(20, 5), done int, due varchar(40)",
    ],
  ])(
    "[PL3] [PL7] it leaves out no row that the rules show, and all others where it compares as they do: %s",
    async (_, types) => {
      const source = await world(
        "CREATE OR REPLACE DATABASE `the shop's`",
        `CREATE TABLE \`the shop's\`.things (${types})`,
        `SET time_zone = '+00:00'; INSERT INTO \`the shop's\`.things ${ROWS}`,
      );
      await agreesWithRules(source, "the shop's");
    },
  );

  test.each([
    [
      "whole numbers that a double cannot tell apart",
      "bigint",
      "9007199254740992, 9007199254740993, 9007199254740994, -5, 10, 9",
    ],
    ["decimals", "decimal(40, 20)", "1.00000000000000000001, 1.00000000000000000002, 9.5, 10.5"],
    ["doubles", "double", "0.1, 0.30000000000000004, 0.3, 100, 20"],
    ["text of digits", "varchar(40)", "'10', '9', '9007199254740993', '9007199254740992', '1e3'"],
    ["text without case", "varchar(40) COLLATE utf8mb4_general_ci", "'a', 'B', 'c', 'D', 'é', '-1 x'"],
    ["days", "datetime(6)", "'2026-01-01 00:00:00.000001', '2026-01-01', '1999-12-31'"],
  ])("[PL6] pages follow each other by key, each row once: %s", async (_, type, values) => {
    const rows = values.split(", ").map((value) => `(${value})`);
    const source = await world(
      `CREATE OR REPLACE TABLE test.pages (n ${type} PRIMARY KEY)`,
      `INSERT INTO test.pages VALUES ${rows.join(", ")}`,
    );
    const table = { schema: "test", table: "pages", key: "n", columns: [] };
    // An expression is compared by other rules than a column.
    const asked = ["SELECT n FROM test.pages -- by a comment", "SELECT coalesce(n, n) AS n FROM test.pages"];
    for (const relation of [table, ...asked.map((text) => query(text))]) {
      const all = await keysOf(source, relation as never, 100);
      expect(all).toHaveLength(rows.length);
      expect(await keysOf(source, relation as never, 1)).toEqual(all);
      expect(await keysOf(source, relation as never, 2)).toEqual(all);
    }
  });

  test("values come to the last digit, whatever the server's zone; extremes and unicode too", async () => {
    const types = {
      s: "string",
      i: "integer",
      f: "number",
      b: "boolean",
      t: "timestamp",
      j: "json",
      y: "bytes",
    } as const;
    const source = await world(
      "SET GLOBAL time_zone = '+09:00'",
      "CREATE OR REPLACE TABLE test.v (n int PRIMARY KEY, s text CHARACTER SET utf8mb4, i bigint, f double, b boolean, t timestamp(6) NULL, j json, y blob)",
      `SET time_zone = '+00:00'; INSERT INTO test.v VALUES
        (1, '\u{1f3ac} it''s "\\\\"', 9223372036854775807, 5e-324, true, '2026-01-31 08:00:00.123456', '{"b": [1.50]}', x'00FF22'),
        (2, '', -9223372036854775808, 0.1, false, NULL, 'null', ''), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`,
    );
    const relation = { schema: "test", table: "v", key: "n", columns: columns(types) };
    const { rows } = unwrap(await source.page(relation, [[]], undefined, 10));
    const day = BigInt(Date.parse("2026-01-31T08:00:00Z")) * 1000n + 123456n;
    expect(rows).toEqual([
      ['\u{1f3ac} it\'s "\\"', "9223372036854775807", 5e-324, true, Number(day), '{"b":[1.5]}', "AP8i"],
      ["", "-9223372036854775808", 0.1, false, null, null, ""],
      [null, null, null, null, null, null, null],
    ]);
  });

  test.each([
    ["SELECT 1 AS n, 'abc' AS x", "integer", /column x of row 1 is no integer/],
    ["SELECT 1 AS n, 9.7 AS x", "integer", /column x of row 1 is no integer/],
    ["SELECT 1 AS n, 18446744073709551615 AS x", "integer", /column x of row 1 is no integer/],
    ["SELECT NULL AS n, 1 AS x", "integer", /its key n has null, which is no row id/],
    ["SELECT 1 AS n, 'x' AS y", "string", /does not know a table, column/],
    ["SELECT n, x FROM nowhere", "string", /does not know a table, column/],
    ["SELECT 1 AS n, test.wipe() AS x", "string", /more than read rows/],
    ["SELECT 1 AS n, SLEEP(60) AS x", "integer", /a page took longer than 20 s/],
  ] as const)("[S5] what is wrong is told with the remedy: %s as %s", async (text, type, remedy) => {
    const source = await world(
      "CREATE OR REPLACE TABLE test.kept (n int)",
      "INSERT INTO test.kept VALUES (1)",
      "CREATE OR REPLACE FUNCTION test.wipe() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM test.kept; RETURN 1; END",
    );
    const page = await source.page(query(text, { x: type }), [[]], undefined, 10);
    expect(page).toMatchObject({
      ok: false,
      error: { code: "DestinationRefused", message: expect.stringMatching(remedy) },
    });
    expect(unwrap(await source.page(query("SELECT n FROM test.kept"), [[]], undefined, 10)).rowIds).toEqual(["1"]);
  });

  test("[S3] names are quoted, values are no SQL", async () => {
    const name = "a`b'; DROP TABLE test.kept; --";
    const quoted = `\`${name.replaceAll("`", "``")}\``;
    const evil = ["x' OR true --", "\\", "\\' OR 1=1 #", '"', "%", "?", "'; DROP TABLE test.kept; --"];
    const source = await world(
      "CREATE OR REPLACE TABLE test.kept (n int)",
      `CREATE OR REPLACE TABLE test.${quoted} (${quoted} varchar(60) PRIMARY KEY, word text)`,
    );
    const connection = await createConnection(mariadb.url);
    onTestFinished(() => connection.end());
    await connection.query(`INSERT INTO test.${quoted} VALUES ?`, [evil.map((word) => [word, word])]);
    const relation = { schema: "test", table: name, key: name, columns: columns({ word: "string" }) };
    const [column] = relation.columns as [Column];
    for (const word of evil) {
      const shown = unwrap(await source.page(relation, [[{ column, op: "eq", values: [word] }]], undefined, 10));
      expect(shown.rowIds).toEqual([word]);
      const none = unwrap(await source.page(relation, [[{ column, op: "in", values: [`${word}?`] }]], word, 10));
      expect(none.rowIds).toEqual([]);
    }
    await connection.query("SELECT n FROM test.kept");
  });
});

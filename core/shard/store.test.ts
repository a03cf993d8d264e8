import { expect, test } from "vitest";
import { NodeSqlStore } from "../testing.ts";
import { createTables, type PackedRow, readRows, rowsAfter, writeRows } from "./store.ts";

const COUNT = 450;

function filled(longAt: readonly number[]) {
  const sql = new NodeSqlStore();
  createTables(sql);
  const rows = Array.from({ length: COUNT }, (_, n): PackedRow => {
    const text = longAt.includes(n) ? "é".repeat(9000) : 'quoted " \n 日本 | , ';
    return { id: `zeile-${String(n).padStart(4, "0")}-ü|,"'`, seq: n + 1, state: JSON.stringify([n, text]) };
  });
  writeRows(sql, 7, rows);
  writeRows(sql, 8, [{ id: "another table's", seq: 1, state: "[]" }]);
  return { sql, rows };
}

test.each([
  { longAt: [], what: "short" },
  { longAt: [0, 199, 200, COUNT - 1], what: "short and long" },
])("rows that are $what come back as they were written, by id and in order", ({ longAt }) => {
  const { sql, rows } = filled(longAt);
  const ids = rows.map((r) => r.id);
  expect(readRows(sql, 7, [...ids, "not there"])).toEqual(rows);
  expect(readRows(sql, 7, [])).toEqual([]);
  expect(readRows(sql, 7, ["not there"])).toEqual([]);
  expect(rowsAfter(sql, 7, "", COUNT + 1)).toEqual(rows);
  expect(rowsAfter(sql, 7, ids[9] as string, 300)).toEqual(rows.slice(10, 310));
  expect(rowsAfter(sql, 7, ids.at(-1) as string, 10)).toEqual([]);
});

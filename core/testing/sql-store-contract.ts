/** What every `SqlStore` has to do; run for `node:sqlite` and for a Durable Object's storage. */
import { expect, test } from "vitest";
import type { SqlStore } from "../ports/index.ts";

/** @param withStore runs a body with a fresh, empty store */
export function sqlStoreContract(name: string, withStore: (body: (sql: SqlStore) => void) => Promise<void>): void {
  test(`${name}: gives rows of text, numbers, NULL and bytes as they were bound`, () =>
    withStore((sql) => {
      sql.exec("CREATE TABLE x (a TEXT, b REAL, c, d BLOB)");
      sql.exec("INSERT INTO x VALUES (?, ?, ?, ?)", "é\u{1f600}", 1.5, null, new Uint8Array([0, 255]));
      const [row] = sql.exec("SELECT * FROM x");
      expect(row).toMatchObject({ a: "é\u{1f600}", b: 1.5, c: null });
      expect(new Uint8Array(row?.d as Uint8Array)).toEqual(new Uint8Array([0, 255]));
    }));

  test(`${name}: a transaction that throws leaves nothing behind`, () =>
    withStore((sql) => {
      sql.exec("CREATE TABLE x (a)");
      const failing = () =>
        sql.transaction(() => {
          sql.exec("INSERT INTO x VALUES (1)");
          throw new Error("halfway");
        });
      expect(failing).toThrow("halfway");
      expect(sql.exec("SELECT * FROM x")).toEqual([]);
      expect(sql.transaction(() => sql.exec("INSERT INTO x VALUES (2) RETURNING a"))).toEqual([{ a: 2 }]);
      expect(sql.exec("SELECT a FROM x")).toEqual([{ a: 2 }]);
    }));

  test(`${name}: json_each, ->> and upsert work, and rows written are counted`, () =>
    withStore((sql) => {
      sql.exec("CREATE TABLE x (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID");
      const before = sql.rowsWritten;
      const upsert =
        "INSERT INTO x SELECT value ->> 0, value -> 1 FROM json_each(?) WHERE true ON CONFLICT (k) DO UPDATE SET v = excluded.v";
      sql.exec(
        upsert,
        JSON.stringify([
          ["a", ["é", 1.5]],
          ["b", []],
        ]),
      );
      expect(sql.rowsWritten - before).toBe(2);
      sql.exec(upsert, '[["a",{"1":null}]]');
      expect(sql.rowsWritten - before).toBe(3);
      expect(sql.exec("SELECT k, v FROM x ORDER BY k")).toEqual([
        { k: "a", v: '{"1":null}' },
        { k: "b", v: "[]" },
      ]);
      expect(sql.sizeBytes).toBeGreaterThan(0);
    }));
}

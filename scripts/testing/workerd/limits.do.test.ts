/**
 * What SQLite in a Durable Object refuses, here as in production. The limits in `schemas/` stand on these; a workerd that
 * moves one of them shows up here first.
 */

import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";

/** By its constructor's name: a service binding, being a proxy, says yes to every method. */
function isNamespace(binding: unknown): binding is DurableObjectNamespace {
  return binding?.constructor?.name === "DurableObjectNamespace";
}

function inSqlite<T>(work: (sql: SqlStorage) => T): Promise<T> {
  const namespace = Object.values(env).find(isNamespace);
  if (namespace === undefined) throw new Error("the Worker binds no Durable Object");
  const stub = namespace.get(namespace.newUniqueId());
  return runInDurableObject(stub, (_object, state) => work(state.storage.sql));
}

const parameters = (n: number) => Array.from({ length: n }, (_, i) => i);
const select = (n: number) => `SELECT 42 IN (${parameters(n).map(() => "?")}) AS found`;

test("a statement binds 100 parameters and refuses 101", async () => {
  expect(await inSqlite((sql) => sql.exec(select(100), ...parameters(100)).one().found)).toBe(1);
  await expect(inSqlite((sql) => sql.exec(select(101), ...parameters(101)).one())).rejects.toThrow(
    /too many SQL variables/i,
  );
});

test("a table has 100 columns and refuses 101", async () => {
  const create = (n: number) =>
    `CREATE TABLE wide (${parameters(n)
      .map((i) => `c${i}`)
      .join(", ")})`;
  await inSqlite((sql) => sql.exec(create(100)));
  await expect(inSqlite((sql) => sql.exec(create(101)))).rejects.toThrow(/too many columns/i);
});

test("a statement of 100 KB runs, a longer one is refused", async () => {
  const statement = (bytes: number) => `SELECT 1 AS one -- ${"x".repeat(bytes - "SELECT 1 AS one -- ".length)}`;
  expect(await inSqlite((sql) => sql.exec(statement(99_000)).one().one)).toBe(1);
  await expect(inSqlite((sql) => sql.exec(statement(110_000)).one())).rejects.toThrow(/too (big|large|long)/i);
});

test("integers above 2^53 come back as the nearest double", async () => {
  expect(await inSqlite((sql) => sql.exec("SELECT 9007199254740993 AS n").one().n)).toBe(9007199254740992);
});

test("a table WITHOUT ROWID bills one row written for an insert, an index one more", async () => {
  const written = await inSqlite((sql) => {
    sql.exec("CREATE TABLE bare (k TEXT PRIMARY KEY, v) WITHOUT ROWID");
    sql.exec("CREATE TABLE indexed (k TEXT PRIMARY KEY, v) WITHOUT ROWID");
    sql.exec("CREATE INDEX indexed_v ON indexed (v)");
    const insert = (table: string) => sql.exec(`INSERT INTO ${table} VALUES ('a', 1)`).rowsWritten;
    return { bare: insert("bare"), indexed: insert("indexed") };
  });
  expect(written).toEqual({ bare: 1, indexed: 2 });
});

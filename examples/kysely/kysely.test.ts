import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LocalDB, LocalTransport, SyncCoordinator } from "../../client/index.ts";
import { testGateway } from "../../client/testing.ts";
import { kyselyOn, schema } from "./main.ts";

const gateway = testGateway({
  lists: { name: "string" },
  todos: { list: "string", title: "string", done: "integer" },
});

async function device() {
  const db = await LocalDB.open({ name: "kysely", backend: "memory", schema });
  return { db, kysely: kyselyOn(db), sync: new SyncCoordinator(db, new LocalTransport(gateway.as())) };
}

test("[C8] what Kysely writes is tracked, arrives on another device, and fires its live queries", async () => {
  const [a, b] = [await device(), await device()];
  const titles: string[][] = [];
  const query = b.kysely.selectFrom("todos").select("title").where("done", "=", 0).orderBy("title").compile();
  b.db.live<{ title: string }>(query.sql, query.parameters as string[], (rows) =>
    titles.push(rows.map((row) => row.title)),
  );
  await a.kysely.insertInto("lists").values({ id: "l", name: "Groceries" }).execute();
  const inserted = await a.kysely
    .insertInto("todos")
    .values([
      { id: "1", list: "l", title: "Milk", done: 0 },
      { id: "2", list: "l", title: "Bread", done: 0 },
      { id: "3", list: "l", title: "Salt", done: 0 },
    ])
    .returning("id")
    .execute();
  expect(inserted.map((row) => row.id)).toEqual(["1", "2", "3"]);
  const { numUpdatedRows } = await a.kysely
    .updateTable("todos")
    .set({ done: 1 })
    .where("title", "=", "Milk")
    .executeTakeFirstOrThrow();
  expect(numUpdatedRows).toBe(1n);
  await a.kysely.deleteFrom("todos").where("id", "=", "3").execute();
  const waiting = await a.db.query<{ op: string }>("SELECT op FROM lakesync_outbox ORDER BY hlc");
  expect(waiting.map(({ op }) => op).join("")).toBe("IIIIUD");
  await a.sync.syncOnce();
  await b.sync.syncOnce();
  const joined = await b.kysely
    .selectFrom("todos")
    .innerJoin("lists", "lists.id", "todos.list")
    .select(["todos.title", "todos.done", "lists.name"])
    .orderBy("todos.title")
    .execute();
  expect(joined).toEqual([
    { title: "Bread", done: 0, name: "Groceries" },
    { title: "Milk", done: 1, name: "Groceries" },
  ]);
  await expect.poll(() => titles.at(-1)).toEqual(["Bread"]);
});

test("[C1] Kysely's transactions are LocalDB's: all of one is kept and waits to be sent, or nothing", async () => {
  const { db, kysely } = await device();
  const failing = kysely.transaction().execute(async (tx) => {
    await tx.insertInto("lists").values({ id: "a", name: "A" }).execute();
    throw new Error("changed my mind");
  });
  await expect(failing).rejects.toThrow("changed my mind");
  await Promise.all([
    kysely.transaction().execute(async (tx) => {
      await tx.insertInto("lists").values({ id: "b", name: "B" }).execute();
      await tx.insertInto("todos").values({ id: "b", list: "b", title: "B", done: null }).execute();
    }),
    kysely.insertInto("lists").values({ id: "c", name: "C" }).execute(),
  ]);
  expect((await kysely.selectFrom("lists").select("id").orderBy("id").execute()).map((row) => row.id)).toEqual([
    "b",
    "c",
  ]);
  expect(await db.query("SELECT count(*) AS n FROM lakesync_outbox")).toEqual([{ n: 3 }]);
  // A table that is not there is an error of the code of LakeSync.
  await expect(
    kysely
      .selectFrom("nobody" as "lists")
      .selectAll()
      .execute(),
  ).rejects.toMatchObject({ code: "BadRequest" });
});

test("the example runs by itself", () => {
  const output = execFileSync(process.execPath, [join(import.meta.dirname, "main.ts")], { encoding: "utf8" });
  expect(output).toContain("op: 'U'");
});

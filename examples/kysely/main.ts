/**
 * Kysely on top of LakeSync, in memory and by itself: `node examples/kysely/main.ts`.
 *
 * The tables are declared once; Kysely's types follow from them.
 */
import { Kysely } from "kysely";
import { defineTable, integer, LocalDB, type SqlValue, SyncTracker, text } from "../../client/index.ts";
import { lakesyncDialect } from "./dialect.ts";

export const schema = defineTable({
  lists: { name: text().notNull() },
  todos: { list: text().notNull(), title: text().notNull(), done: integer() },
});

/** What SQLite holds of a column: timestamps in microseconds, booleans as 0 and 1. */
type Stored<C> = C extends { readonly $types: { out: infer Out; null: infer Null } }
  ? (Out extends string ? string : Out extends Uint8Array ? Uint8Array : number) | Null
  : SqlValue;
type Tables<S> = { [T in keyof S]: { id: string } & { [C in keyof S[T]]: Stored<S[T][C]> } };

export const kyselyOn = (db: LocalDB): Kysely<Tables<typeof schema>> => new Kysely({ dialect: lakesyncDialect(db) });

if (import.meta.main) {
  const db = await LocalDB.open({ name: "kysely", backend: "memory", schema });
  const kysely = kyselyOn(db);
  await new SyncTracker(db).insert("lists", "l1", { name: "Groceries" });
  await kysely.insertInto("todos").values({ id: "t1", list: "l1", title: "Milk", done: 0 }).execute();
  const open = kysely
    .selectFrom("todos")
    .innerJoin("lists", "lists.id", "todos.list")
    .select(["todos.title", "lists.name"])
    .where("todos.done", "=", 0)
    .compile();
  const stop = db.live(open.sql, open.parameters as SqlValue[], (rows) => console.log("open:", rows));
  await kysely.updateTable("todos").set({ done: 1 }).where("id", "=", "t1").execute();
  await db.transaction(async (tx) => console.log("waiting:", await tx.query("SELECT op, row_id FROM lakesync_outbox")));
  stop();
  await db.close();
}

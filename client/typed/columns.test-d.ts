/** Checked by the compiler: nothing here runs. */
import { boolean, bytes, type createClient, defineTable, integer, json, number, text, timestamp } from "../index.ts";
import type { Client } from "./create-client.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <_T extends true>(): void => undefined;

const schema = defineTable({
  todos: {
    title: text().notNull(),
    done: boolean().notNull().default(false),
    rank: number().default(1),
    due: timestamp(),
    note: json<{ k: number }>(),
    icon: bytes(),
    big: integer(),
  },
  things: { id: integer().notNull(), name: text().default("x").notNull() },
});

declare const client: Client<typeof schema>;
declare const create: typeof createClient;

type Todo = Awaited<ReturnType<typeof client.todos.find>>[number];
is<
  Equal<
    Todo,
    {
      readonly id: string;
      readonly title: string;
      readonly done: boolean;
      readonly rank: number | null;
      readonly due: Date | null;
      readonly note: { k: number } | null;
      readonly icon: Uint8Array | null;
      readonly big: number | bigint | null;
    }
  >
>();
is<
  Equal<
    Awaited<ReturnType<typeof client.things.get>>,
    { readonly _id: string; readonly id: number | bigint; readonly name: string } | undefined
  >
>();

void client.todos.insert({ title: "milk" });
void client.todos.insert({ id: "1", title: "milk", due: "2026-01-31T08:00:00Z", rank: null, note: { k: 1 } });
void client.todos.update("1", { done: true });
void client.things.insert({ id: 7 });
void client.things.insert({ _id: "a", id: 7n, name: "y" });
void client.todos.find({ done: false }, { orderBy: ["rank", "desc"], limit: 3 });
void create({ name: "x", schema, url: "", gatewayId: "g", token: async ({ stale }) => String(stale) });

// @ts-expect-error a column that must not be NULL is needed
void client.todos.insert({ done: true });
// @ts-expect-error a wrong type
void client.todos.insert({ title: 5 });
// @ts-expect-error no such column
void client.todos.insert({ title: "a", colour: "red" });
// @ts-expect-error NULL in a column that must not be NULL
void client.todos.update("1", { title: null });
// @ts-expect-error another shape of JSON
void client.todos.update("1", { note: { k: "1" } });
// @ts-expect-error no such table
void client.lists;
// @ts-expect-error no such column to order by
void client.todos.find({}, { orderBy: "colour" });
// @ts-expect-error a default of another type
text().default(3);

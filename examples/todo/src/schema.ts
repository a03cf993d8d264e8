/**
 * The tables of the app. `scope` says who sees a row: "shared" everybody, "notice" everybody but only its `owner` may
 * change it, a user's name that user alone. The gateway's rules (../gateway.json) hold everyone to it.
 */
import { boolean, type Client, defineTable, number, type RowOf, text } from "lakesync/client";
import { useClient } from "lakesync/react";

export const schema = defineTable({
  lists: {
    name: text().notNull(),
    scope: text().notNull(),
    owner: text().notNull(),
    rank: number().notNull().default(0),
  },
  todos: {
    list: text().notNull(),
    title: text().notNull(),
    done: boolean().notNull().default(false),
    rank: number().notNull().default(0),
    scope: text().notNull(),
    owner: text().notNull(),
  },
});

export type Todo = RowOf<typeof schema.todos>;
export type List = RowOf<typeof schema.lists>;
export type AppClient = Client<typeof schema>;

/** The client of the device that a component belongs to, with the types of the tables. */
export const useApp = (): AppClient => useClient<typeof schema>();

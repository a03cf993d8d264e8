/** Checked by the compiler: nothing here runs. */
import type { ReactNode } from "react";
import { boolean, defineTable, text, timestamp } from "../index.ts";
import { LakeSyncProvider, useClient, useMutation, useQuery, useSyncStatus } from "./index.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <_T extends true>(): void => undefined;

const schema = defineTable({ todos: { title: text().notNull(), done: boolean(), due: timestamp() } });

export function Component(): ReactNode {
  const client = useClient<typeof schema>();
  const { rows, error } = useQuery(client.todos, { done: false }, { orderBy: ["due", "desc"], limit: 3 });
  is<
    Equal<
      (typeof rows)[number],
      { readonly id: string; readonly title: string; readonly done: boolean | null; readonly due: Date | null }
    >
  >();
  const code: string | undefined = error?.code;
  const counted = useQuery<{ n: number }>("SELECT count(*) AS n FROM todos WHERE done = ?", [true]).rows[0]?.n;
  is<Equal<typeof counted, number | undefined>>();
  const add = useMutation((title: string, done?: boolean) => client.todos.insert({ title, ...(done && { done }) }));
  is<Equal<Parameters<typeof add.mutate>, [title: string, done?: boolean | undefined]>>();
  is<Equal<ReturnType<typeof add.mutate>, Promise<string | undefined>>>();
  const { pending, rejections } = useSyncStatus();
  return `${code} ${counted} ${pending} ${rejections.length}`;
}

// @ts-expect-error no such column
export const wrongColumn = () => useQuery(useClient<typeof schema>().todos, { colour: "red" });
// @ts-expect-error a wrong type
export const wrongType = () => useQuery(useClient<typeof schema>().todos, { done: "no" });
// @ts-expect-error no such table
export const wrongTable = () => useClient<typeof schema>().lists;
// @ts-expect-error neither a client nor options
export const wrongProps = () => LakeSyncProvider({ children: null });
// @ts-expect-error a parameter that SQLite does not take
export const wrongParameter = () => useQuery("SELECT ?", [new Date()]);

/** The hooks in a real browser, under StrictMode, over a database in memory and a gateway that is a few lines of this file. */
import { createElement, memo, type ReactNode, StrictMode, useState } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HLC_ZERO } from "../../schemas/index.ts";
import {
  boolean,
  type Client,
  createClient,
  defineTable,
  type LocalGateway,
  LocalTransport,
  text,
  timestamp,
} from "../index.ts";
import { LakeSyncProvider, useClient, useMutation, useQuery, useSyncStatus } from "./index.ts";

const schema = defineTable({
  todos: { title: text().notNull(), done: boolean().notNull().default(false), due: timestamp() },
});
type App = Client<typeof schema>;

/** Takes every edit but those of a row called `forbidden`. */
const gateway: LocalGateway = {
  push: ({ batches }) => ({
    rejected: batches.flatMap((batch) =>
      batch.rowIds.flatMap((rowId, at) =>
        rowId === "forbidden"
          ? [
              {
                table: batch.table,
                rowId,
                hlc: batch.hlcs[at] ?? HLC_ZERO,
                code: "WriteForbidden" as const,
                message: "No.",
              },
            ]
          : [],
      ),
    ),
    serverHlc: HLC_ZERO,
    cursorHint: "1",
  }),
  pull: () => ({ batches: [], cursor: "1", hasMore: false, resync: false, serverHlc: HLC_ZERO }),
};

let names = 0;
const options = () => ({
  name: `react-${Date.now()}-${names++}`,
  backend: "memory" as const,
  schema,
  url: "http://localhost",
  gatewayId: "g",
  token: "t",
  autoSync: false,
  transport: new LocalTransport(gateway),
});

let client: App;
let root: Root;
let page: HTMLElement;
beforeEach(async () => {
  client = await createClient(options());
  page = document.body.appendChild(document.createElement("main"));
  root = createRoot(page);
});
afterEach(async () => {
  root.unmount();
  page.remove();
  await client.close().catch(() => undefined);
});

const show = (what: ReactNode) =>
  root.render(createElement(StrictMode, null, createElement(LakeSyncProvider<typeof schema>, { client }, what)));
const PATIENCE = { timeout: 10_000 };
const shows = (text: string) => expect.poll(() => page.textContent, PATIENCE).toBe(text);

function Titles({ done = false }: { done?: boolean }) {
  const { rows, loading, error } = useQuery(useClient<typeof schema>().todos, { done }, { orderBy: "title" });
  return error
    ? `error ${error.code}`
    : loading && rows.length === 0
      ? "loading"
      : rows.map((r) => r.title).join() || "none";
}

test("[C5] rows follow every commit; a change of parameters keeps the rows before until the new ones are there", async () => {
  let seen: string[] = [];
  const observer = new MutationObserver(() => seen.push(page.textContent ?? ""));
  observer.observe(page, { childList: true, characterData: true, subtree: true });
  show(createElement(Titles));
  await shows("none");
  await client.todos.insert({ id: "1", title: "milk" });
  await shows("milk");
  await client.todos.insert({ title: "bread", done: true });
  await client.todos.update("1", { title: "oat milk" });
  await shows("oat milk");
  seen = [];
  show(createElement(Titles, { done: true }));
  await shows("bread");
  expect(seen).toEqual(["bread"]);
  observer.disconnect();
});

test("StrictMode's two mounts and three components with one query leave one subscription; unmounting ends it", async () => {
  const live = vi.spyOn(client.db, "live");
  const begun = vi.spyOn(client.db, "onCommit");
  show([0, 1, 2].map((key) => createElement("p", { key }, createElement(Titles))));
  await shows("nonenonenone");
  expect(live).toHaveBeenCalledTimes(1);
  expect(begun).toHaveBeenCalledTimes(1);
  show(null);
  await shows("");
  const query = vi.spyOn(client.db, "query");
  await client.todos.insert({ title: "milk" });
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(query).not.toHaveBeenCalled();
});

test("a row that did not change is the same object: its component is not rendered again", async () => {
  const due = new Date("2026-05-01T08:00:00Z");
  await client.todos.insertMany(["a", "b", "c"].map((id) => ({ id, title: id, due })));
  const rendered: string[] = [];
  const Item = memo(({ row }: { row: { title: string } }) => {
    rendered.push(row.title);
    return row.title;
  });
  const List = () =>
    useQuery(useClient<typeof schema>().todos, {}, { orderBy: "id" }).rows.map((row) =>
      createElement(Item, { key: row.id, row }),
    );
  root.render(createElement(LakeSyncProvider<typeof schema>, { client }, createElement(List)));
  await shows("abc");
  rendered.length = 0;
  await client.todos.update("b", { title: "B" });
  await shows("aBc");
  expect(rendered).toEqual(["B"]);
});

test("SQL with parameters, and what a query builder compiled; an error is shown and goes when its cause goes", async () => {
  await client.todos.insertMany([{ title: "milk" }, { title: "bread" }]);
  const Counts = () => {
    const sql = useQuery<{ n: number }>("SELECT count(*) AS n FROM todos WHERE title <> ?", ["milk"]);
    const built = useQuery<{ n: number }>({
      sql: "SELECT count(*) AS n FROM todos WHERE title = ?",
      parameters: ["milk"],
    });
    const broken = useQuery<{ n: number }>("SELECT n FROM later");
    return `${sql.rows[0]?.n} ${built.rows[0]?.n} ${broken.error?.code ?? broken.rows[0]?.n}`;
  };
  show(createElement(Counts));
  await shows("1 1 BadRequest");
  await client.db.exec("CREATE TABLE later (n INTEGER)");
  await client.db.exec("INSERT INTO later VALUES (7)");
  await shows("1 1 7");
});

test("a mutation says that it runs and why it failed, and never rejects", async () => {
  const Form = () => {
    const { todos } = useClient<typeof schema>();
    const add = useMutation((id: string) => todos.insert({ id, title: "x" }));
    const state = add.error ? add.error.code : add.pending ? "pending" : "ready";
    return createElement("button", { type: "button", onClick: () => add.mutate("1"), onDoubleClick: add.reset }, state);
  };
  show(createElement(Form));
  await shows("ready");
  const button = page.querySelector("button") as HTMLButtonElement;
  button.click();
  await expect.poll(() => client.todos.get("1"), PATIENCE).toBeDefined();
  await shows("ready");
  button.click();
  await shows("Conflict");
  button.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
  await shows("ready");
});

test("[C6] the status follows what waits, what is refused and what is dismissed", async () => {
  const Status = () => {
    const { state, pending, rejections } = useSyncStatus();
    return `${state} ${pending} ${rejections.map((r) => r.code).join()}`;
  };
  show(createElement(Status));
  await shows("stopped 0 ");
  await client.todos.insert({ id: "1", title: "a" });
  await client.todos.insert({ id: "forbidden", title: "b" });
  await shows("stopped 2 ");
  await client.sync.syncOnce();
  await shows("stopped 0 WriteForbidden");
  await client.sync.dismiss();
  await shows("stopped 0 ");
  client.sync.startAutoSync();
  await shows("idle 0 ");
});

test("a provider with options opens once, shows what it waits for, and closes when it goes", async () => {
  let opened: App | undefined;
  const Inner = () => {
    opened = useClient<typeof schema>();
    return createElement(Titles);
  };
  const given = options();
  const element = (on: boolean) =>
    createElement(
      StrictMode,
      null,
      on &&
        createElement(LakeSyncProvider<typeof schema>, { options: given, fallback: "opening" }, createElement(Inner)),
    );
  root.render(element(true));
  await shows("opening");
  await shows("none");
  const first = opened as App;
  root.render(element(false));
  await expect.poll(() => first.db.query("SELECT 1").catch((e) => e.code), PATIENCE).toBe("Closed");
  root.render(element(true));
  await shows("none");
  expect(opened).not.toBe(first);
});

test("a provider that cannot open says why, and opens when it is asked again", async () => {
  let broken = true;
  const Failing = () => {
    const [given] = useState(() => ({
      ...options(),
      get schema() {
        if (broken) throw new Error("no");
        return schema;
      },
    }));
    const failed = (error: Error, retry: () => void) =>
      createElement("button", { type: "button", onClick: retry }, error.message);
    return createElement(LakeSyncProvider<typeof schema>, { options: given, failed }, createElement(Titles));
  };
  root.render(createElement(StrictMode, null, createElement(Failing)));
  await shows("Error: no");
  broken = false;
  page.querySelector("button")?.click();
  await shows("none");
});

test("a hook without a provider says what is missing", async () => {
  const failed = vi.fn();
  const bare = createRoot(page.appendChild(document.createElement("div")), { onUncaughtError: failed });
  bare.render(createElement(Titles));
  await expect.poll(() => failed.mock.calls[0]?.[0]?.message, PATIENCE).toContain("no LakeSyncProvider");
  bare.unmount();
});

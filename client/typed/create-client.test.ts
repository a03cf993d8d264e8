import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { boolean, bytes, createClient, defineTable, integer, json, LocalTransport, text, timestamp } from "../index.ts";
import { settled, testGateway } from "../testing.ts";

const schema = defineTable({
  todos: {
    title: text().notNull(),
    done: boolean().notNull().default(false),
    due: timestamp(),
    note: json<string[]>(),
    icon: bytes(),
    size: integer(),
  },
});
const types = Object.fromEntries(Object.entries(schema.todos).map(([name, { type }]) => [name, type]));

const open = (gateway = testGateway({ todos: types })) =>
  createClient({
    name: "app",
    backend: "memory",
    schema,
    url: "http://localhost",
    gatewayId: "g",
    token: "t",
    transport: new LocalTransport(gateway.as()),
  });

test("rows go in and come out as the app has them, on this device and on another", async () => {
  const gateway = testGateway({ todos: types });
  const [a, b] = [await open(gateway), await open(gateway)];
  const row = {
    id: "1",
    title: "milk",
    done: true,
    due: new Date("2026-01-31T08:00:00Z"),
    note: ["a"],
    icon: new Uint8Array([1, 0]),
    size: 2n ** 60n,
  };
  await a.todos.insert(row);
  const id = await a.todos.insert({ title: "bread" });
  await a.sync.syncOnce();
  await b.sync.syncOnce();
  for (const client of [a, b]) {
    expect(await client.todos.get("1")).toEqual(row);
    expect(await client.todos.get(id)).toMatchObject({ title: "bread", done: false, due: null });
    expect((await client.todos.find({ done: false })).map((r) => r.id)).toEqual([id]);
    expect((await client.todos.find({ due: null })).map((r) => r.id)).toEqual([id]);
    expect((await client.todos.find({}, { orderBy: ["title", "desc"], limit: 1 })).map((r) => r.title)).toEqual([
      "milk",
    ]);
  }
  await a.close();
  await b.close();
});

test("a live table follows its rows", async () => {
  const client = await open();
  const seen: string[][] = [];
  const end = client.todos.live({ done: false }, (rows) => seen.push(rows.map((r) => r.title)), { orderBy: "title" });
  await settled();
  const id = await client.todos.insert({ title: "milk" });
  await settled();
  await client.todos.update(id, { done: true });
  await settled();
  end();
  expect(seen.filter((titles, at) => titles.join() !== seen[at - 1]?.join())).toEqual([[], ["milk"], []]);
  await client.close();
});

test("rows are ordered by one column, or by several, each in its direction", async () => {
  const client = await open();
  await client.todos.insertMany([
    { id: "1", title: "b", size: 1 },
    { id: "2", title: "a", size: 1 },
    { id: "3", title: "a", size: 2 },
    { id: "4", title: "c", size: 2, done: true },
  ]);
  type Options = Parameters<typeof client.todos.find>[1];
  const ids = async (options: Options) => (await client.todos.find({}, options)).map((row) => row.id).join("");
  expect(await ids({ orderBy: "id" })).toBe("1234");
  expect(await ids({ orderBy: ["id", "desc"] })).toBe("4321");
  expect(await ids({ orderBy: ["size", "title"] })).toBe("2134");
  expect(await ids({ orderBy: [["size", "desc"], "title"] })).toBe("3421");
  expect(await ids({ orderBy: ["done", ["title", "asc"], ["size", "desc"]] })).toBe("3214");
  await client.close();
});

test("[C5] which rows wait is a live query, too", async () => {
  const client = await open();
  const seen: string[] = [];
  const end = client.db.live<{ row_id: string }>(
    "SELECT row_id FROM lakesync_pending WHERE tbl = ? ORDER BY row_id",
    ["todos"],
    (rows) => seen.push(rows.map((row) => row.row_id).join()),
  );
  await client.todos.insert({ id: "1", title: "milk" });
  await client.todos.insert({ id: "2", title: "bread" });
  await client.todos.update("2", { done: true });
  await expect.poll(() => seen).toContain("1,2");
  await client.sync.syncOnce();
  await expect.poll(() => seen.at(-1)).toBe("");
  end();
  await client.close();
});

test("[PL4] a client pulls the tables of its schema; a version of the app that has more of them gets all of their rows", async () => {
  const gateway = testGateway({ todos: types, notes: { text: "string" } });
  const writer = await open(gateway);
  await writer.todos.insert({ id: "t", title: "milk" });
  await writer.sync.tracker.insert("notes", "n", { text: "from before" });
  await writer.sync.syncOnce();
  const path = join(mkdtempSync(join(tmpdir(), "lakesync-tables-")), "app.sqlite");
  const version = async <S extends typeof schema>(tables: S) => {
    const opened = await createClient({
      name: "app",
      backend: "file",
      path,
      schema: tables,
      url: "http://localhost",
      gatewayId: "g",
      token: "t",
      autoSync: false,
      transport: new LocalTransport(gateway.as()),
    });
    await opened.sync.syncOnce();
    return opened;
  };
  const first = await version(schema);
  expect(await first.todos.find()).toHaveLength(1);
  expect([...first.db.tables.keys()]).toEqual(["todos"]);
  await first.close();
  const larger = { ...schema, notes: { text: text() } };
  const second = await version(larger);
  expect(await second.db.query("SELECT id, text FROM notes")).toEqual([{ id: "n", text: "from before" }]);
  await second.db.exec("INSERT INTO notes (id, text) VALUES ('m', 'not sent yet')");
  await second.close();
  // The old version again: it sends what waits, and leaves the other table alone.
  const old = await version(schema);
  expect(gateway.rows("notes").get("m")).toEqual({ text: "not sent yet" });
  await writer.sync.tracker.update("notes", "n", { text: "changed meanwhile" });
  await writer.sync.syncOnce();
  await old.sync.syncOnce();
  await old.close();
  const again = await version(larger);
  expect(await again.db.query("SELECT id, text FROM notes ORDER BY id")).toEqual([
    { id: "m", text: "not sent yet" },
    { id: "n", text: "changed meanwhile" },
  ]);
  for (const client of [again, writer]) await client.close();
  rmSync(dirname(path), { recursive: true });
});

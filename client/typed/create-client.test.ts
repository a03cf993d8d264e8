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

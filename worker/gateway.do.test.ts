import { expect, test } from "vitest";
import { hlc, TestGateway } from "./testing/gateway.ts";

const TODOS = [
  { name: "title", type: "string" },
  { name: "done", type: "boolean" },
  { name: "owner", type: "string" },
  { name: "priority", type: "integer" },
];
const OWN = [{ name: "own", tables: ["todos"], filters: [{ column: "owner", op: "eq", value: "jwt:sub" }] }];

async function todos(): Promise<TestGateway> {
  const gateway = new TestGateway();
  expect((await gateway.putTable("todos", TODOS)).status).toBe(200);
  expect((await gateway.putRules(OWN)).status).toBe(200);
  return gateway;
}

const insert = (rowId: string, owner: string, more: Record<string, unknown> = {}, clock = hlc()) => ({
  op: "INSERT",
  table: "todos",
  rowId,
  hlc: clock,
  columns: Object.entries({ title: rowId, done: false, owner, ...more }).map(([column, value]) => ({ column, value })),
});

const cells = (row: { columns: { column: string; value: unknown }[] }) =>
  Object.fromEntries(row.columns.map((c) => [c.column, c.value]));

test("a row pushed over HTTP is pulled by its owner, and by nobody else [PL3]", async () => {
  const gateway = await todos();
  const pushed = await gateway.push("alice", "alice-1", [
    insert("r1", "alice", { priority: { integer: "9007199254740993" } }),
  ]);
  expect(pushed.status, JSON.stringify(pushed.body)).toBe(200);
  expect(pushed.body).toMatchObject({ acceptedCount: 1, accepted: [expect.stringMatching(/^[0-9a-f]{64}$/)] });
  const page = await gateway.pull("alice");
  expect(page.body.rows).toHaveLength(1);
  expect(cells(page.body.rows[0])).toEqual({
    title: "r1",
    done: false,
    owner: "alice",
    priority: { integer: "9007199254740993" },
  });
  expect((await gateway.pull("bob")).body.rows ?? []).toEqual([]);
});

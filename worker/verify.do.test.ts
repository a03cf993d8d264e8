/** Digests through the Worker's own doors: pages, snapshots, and the operator's question. */
import { runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { digestsOf, identOf } from "../lake/index.ts";
import { unwrap } from "../schemas/index.ts";
import { lakeOf } from "./destination.ts";
import { ALL, bindings, delta, insert, OWN, type TestGateway, todos, withDocs } from "./testing/gateway.ts";

async function filled(more = {}): Promise<TestGateway> {
  const gateway = await todos(ALL, more);
  await gateway.push(
    "alice",
    "phone",
    Array.from({ length: 30 }, (_, n) => insert(`r${n}`, "alice", { priority: n })),
  );
  await gateway.push("alice", "phone", [
    delta("UPDATE", "r1", { title: "zażółć", done: null }),
    delta("DELETE", "r2"),
    insert("r3", "bob"),
  ]);
  return gateway;
}

const ask = async (gateway: TestGateway, body?: object) =>
  (await gateway.request(await gateway.admin(), body ? "POST" : "GET", "/admin/verify", body)).body;
const flush = async (gateway: TestGateway) => gateway.request(await gateway.admin(), "POST", "/admin/flush");

test("[V1] device, shard and lake have one digest: in the page, in the snapshot, and by reading every row", async () => {
  const gateway = await filled();
  const { body } = await gateway.pull("alice");
  expect(Object.keys(body.digests)).toEqual(["todos"]);
  expect(await ask(gateway)).toMatchObject({ ok: true, tables: [{ digest: body.digests.todos }] });
  await flush(gateway);
  await gateway.push("alice", "phone", [delta("UPDATE", "r5", { title: "later" })]);
  expect((await ask(gateway)).tables[0].lake).toMatchObject({ ok: true, current: false });
  await flush(gateway);
  const verdict = await ask(gateway);
  expect(verdict).toMatchObject({ ok: true, tables: [{ lake: { ok: true, current: true } }] });
  expect(verdict.tables[0].digest).toMatch(/^29-/);
  const deps = lakeOf(bindings, gateway.id);
  const { metadata } = unwrap(await deps.catalogue.load(identOf(deps, "todos", "main")));
  expect(digestsOf(metadata)).toEqual({ common: verdict.tables[0].digest });
  // What a device holds, right and wrong.
  const held = (await gateway.pull("alice")).body.digests.todos;
  expect(await ask(gateway, { digests: { todos: held } })).toMatchObject({ ok: true });
  const wrong = held.replace(/.$/, (last: string) => (last === "0" ? "1" : "0"));
  expect(await ask(gateway, { digests: { todos: wrong } })).toMatchObject({
    ok: false,
    tables: [{ device: { ok: false } }],
  });
});

test("[V1] every type of column has one digest in the shard and in the lake", async () => {
  const gateway = await todos(ALL);
  await withDocs(gateway);
  const cells = {
    body: { json: { a: [1, "x"] } },
    blob: { bytes: "AQL/" },
    n: 0.1,
    at: "2026-01-02T03:04:05.678901Z",
    must: "é\u{1f9c0}",
  };
  const pushed = await gateway.push("alice", "phone", [
    delta("INSERT", "d1", cells, undefined, "docs"),
    delta("INSERT", "d2", { must: "", n: -1e300, body: null }, undefined, "docs"),
    insert("t", "alice", { priority: { integer: "9007199254740993" } }),
  ]);
  expect(pushed.body.rejected).toEqual([]);
  await flush(gateway);
  expect(await ask(gateway)).toMatchObject({ ok: true });
});

test("[V1] digests of a table's shards add up", async () => {
  const gateway = await filled({ shards: 3 });
  await flush(gateway);
  const { body } = await gateway.pull("alice");
  const verdict = await ask(gateway);
  expect(verdict).toMatchObject({ ok: true, tables: [{ digest: body.digests.todos }] });
  expect(verdict.tables[0].shards).toHaveLength(3);
});

test("[V1] a row that changes by itself is found, in the shard and in the lake; whoever sees a part gets no digest", async () => {
  const gateway = await filled();
  await flush(gateway);
  await runInDurableObject(gateway.shard("common"), (_, { storage }) =>
    storage.sql.exec("UPDATE rows SET state = replace(state, 'later', 'LATER') WHERE id = 'r5'"),
  );
  expect((await ask(gateway)).ok).toBe(true); // nothing there to change
  await runInDurableObject(gateway.shard("common"), (_, { storage }) =>
    storage.sql.exec("UPDATE rows SET state = replace(state, 'r5', 'R5') WHERE id = 'r5'"),
  );
  expect(await ask(gateway)).toMatchObject({ ok: false, tables: [{ shards: [{ ok: false }], lake: { ok: false } }] });
  await gateway.putRules(OWN);
  expect((await gateway.pull("alice")).body.digests ?? {}).toEqual({});
});

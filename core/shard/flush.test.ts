/** The shard's half of a flush: leases, what their pages hold, and what settling leaves. */
import { expect, test } from "vitest";
import type { Seq, TableSchema } from "../../schemas/index.ts";
import { ADMIN, Device, edit, NOTES, NOW, push, shardOf, TODOS } from "../testing/shard-kit.ts";
import type { ShardEngine, TableResult } from "./engine.ts";

function leaseOf(shard: ShardEngine, nowMs = NOW) {
  const taken = shard.lease(nowMs, `t${nowMs}`);
  if (typeof taken === "string") throw new Error(taken);
  return taken;
}

/** Row versions of one table in a lease: [id, seq, dead, flushedSeq]. */
function versions(shard: ShardEngine, token: string, table: TableSchema, maxChars?: number) {
  const all: [string, number, boolean, number][] = [];
  let after: Seq | undefined = (shard.status().lease?.from ?? 0) as Seq;
  while (after !== undefined) {
    const { page, next }: ReturnType<ShardEngine["flushRows"]> = shard.flushRows(token, table, after, maxChars);
    page.rowIds.forEach((id, at) => {
      all.push([id, page.seqs[at] as number, page.deleted[at] as boolean, page.flushedSeqs[at] as number]);
    });
    after = next;
  }
  return all;
}

function flush(shard: ShardEngine, nowMs = NOW, fail: (table: string) => TableResult["error"] = () => undefined) {
  const { lease, tables } = leaseOf(shard, nowMs);
  const rows = Object.fromEntries(tables.map((t) => [t.table, versions(shard, lease.token, t)]));
  const results = tables.map(({ table }) => {
    const error = fail(table);
    return error ? { table, error } : { table };
  });
  return { rows, ended: shard.settle(lease.token, results, nowMs) };
}

test.each([["an admin", ADMIN] as const, ["a client", { sub: "alice", role: "client" } as const] as const])(
  "[F1] a row that %s changes says which version the lake has",
  (_, who) => {
    const shard = shardOf();
    push(shard, who, [edit("INSERT", "a", 1, { user_id: "alice" }), edit("INSERT", "b", 1, { user_id: "alice" })]);
    expect(flush(shard).rows.todos).toEqual([
      ["a", 1, false, 0],
      ["b", 2, false, 0],
    ]);
    push(shard, who, [edit("DELETE", "a", 2), edit("UPDATE", "b", 2, { title: "x" })]);
    expect(flush(shard).rows.todos).toEqual([
      ["a", 3, true, 1],
      ["b", 4, false, 2],
    ]);
    push(shard, who, [edit("INSERT", "a", 3, { user_id: "alice" }), edit("DELETE", "b", 3)]);
    expect(flush(shard).rows.todos).toEqual([
      ["a", 5, false, 0],
      ["b", 6, true, 4],
    ]);
  },
);

test("[F3] a table that was dropped while its deltas waited is set aside with its reason, not trimmed unseen", () => {
  const shard = shardOf();
  push(shard, ADMIN, [edit("INSERT", "a", 1, { title: "x" }), edit("INSERT", "n", 1, { body: "y" }, "notes")]);
  shard.configure({ ...(shard.config as NonNullable<typeof shard.config>), version: 2, tables: [TODOS] });
  expect(flush(shard).ended).toBe("trimmed");
  expect(shard.status().setAside).toMatchObject([{ table: "notes", fromSeq: 2, toSeq: 2 }]);
  expect(shard.status().setAside[0]?.reason).toMatch(/dropped/);
});

test("[F2] a table that a consumer forgot is not trimmed", () => {
  const shard = shardOf();
  push(shard, ADMIN, [edit("INSERT", "a", 1, { title: "x" }), edit("INSERT", "n", 1, { body: "y" }, "notes")]);
  const { lease } = leaseOf(shard);
  expect(shard.settle(lease.token, [{ table: "todos" }], NOW)).toBe("again");
  const again = leaseOf(shard, NOW + 1);
  expect(again.lease).toMatchObject({ from: lease.from, to: lease.to, attempt: 2 });
  expect(versions(shard, again.lease.token, NOTES)).toEqual([["n", 2, false, 0]]);
});

test("[PL8] changes set aside long ago do not make expired cursors valid again", () => {
  const shard = shardOf({}, { listMs: 50 });
  const device = new Device(ADMIN);
  const at = (ms: number, rowId: string, table?: string) =>
    push(shard, ADMIN, [edit("INSERT", rowId, 1, { user_id: "x" }, table)], "c", NOW + ms);
  at(0, "n", "notes");
  flush(shard, NOW, (table) => (table === "notes" ? { message: "no such dataset", hopeless: true } : undefined));
  device.pullAll(shard);
  at(0, "a");
  flush(shard, NOW + 100);
  at(200, "b");
  flush(shard, NOW + 200);
  device.pullAll(shard);
  expect([...device.alive.keys()]).toEqual(["notes/n", "todos/a", "todos/b"]);
});

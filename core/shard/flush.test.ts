/** The shard's half of a flush: leases, what their pages hold, and what settling leaves. */
import { expect, test } from "vitest";
import type { Seq, TableSchema } from "../../schemas/index.ts";
import type { RowBatch } from "../ports/index.ts";
import { ADMIN, Device, edit, NOTES, NOW, push, rowsPageOf, shardOf, TODOS } from "../testing/shard-kit.ts";
import type { ShardEngine } from "./engine.ts";
import type { FlushPage, TableResult } from "./flush.ts";

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
    const { page, next }: FlushPage<RowBatch> = rowsPageOf(shard, token, table, after, maxChars);
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

/** Every page of a table's rows in a lease. */
function rowPages(shard: ShardEngine, token: string, table: TableSchema, maxChars: number) {
  const pages: RowBatch[] = [];
  let after: Seq | undefined = (shard.status().lease?.from ?? 0) as Seq;
  while (after !== undefined) {
    const { page, next }: FlushPage<RowBatch> = rowsPageOf(shard, token, table, after, maxChars);
    pages.push(page);
    after = next;
  }
  return pages;
}

test("[F1] pages of a lease are bounded by the size of rows, and stay the same while pushes go on and after it expired", () => {
  const shard = shardOf({}, { leaseMs: 100 });
  const ids = Array.from({ length: 600 }, (_, n) => `row-${n}`);
  push(
    shard,
    ADMIN,
    ids.map((id, n) => edit("INSERT", id, n, { title: "x".repeat(2000), priority: n })),
  );
  push(
    shard,
    ADMIN,
    ids.slice(0, 300).map((id) => edit("UPDATE", id, 1000, { user_id: "alice" })),
  );
  const { lease } = leaseOf(shard);
  expect(shard.lease(NOW + 99, "early")).toBe("busy");
  const before = rowPages(shard, lease.token, TODOS, 200_000);
  for (const page of before) expect(JSON.stringify(page.columns).length).toBeLessThan(200_000 + 200 * 2100);
  expect(before.flatMap((p) => p.rowIds).toSorted()).toEqual(ids.toSorted());

  push(
    shard,
    ADMIN,
    ids.filter((_, n) => n % 3 === 0).map((id) => edit("UPDATE", id, 2000, { title: "later" })),
  );
  push(
    shard,
    ADMIN,
    ids.filter((_, n) => n % 5 === 0).map((id) => edit("DELETE", id, 3000)),
  );
  push(shard, ADMIN, [edit("INSERT", "new", 2000)]);
  const join = (pages: typeof before) => {
    const rows = pages.flatMap((p) =>
      p.rowIds.map((id, at) => [
        id,
        p.seqs[at],
        p.deleted[at],
        p.stamps[at],
        p.flushedSeqs[at],
        ...p.columns.map((c) => c.values[at]),
        ...p.cellStamps.map((c) => c[at]),
      ]),
    );
    return rows.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
  };
  expect(join(rowPages(shard, lease.token, TODOS, 50_000))).toEqual(join(before));

  const again = leaseOf(shard, NOW + 100).lease;
  expect(again).toMatchObject({ from: lease.from, to: lease.to, attempt: 2, toMs: lease.toMs });
  expect(() => shard.flushRows(lease.token, TODOS.table, lease.from)).toThrow("another consumer has taken over");
  expect(() => shard.settle(lease.token, [], NOW)).toThrow("another consumer has taken over");
  expect(() => shard.renew(lease.token, NOW)).toThrow("another consumer has taken over");
  expect(join(rowPages(shard, again.token, TODOS, 1))).toEqual(join(before));
  shard.renew(again.token, NOW + 199);
  expect(shard.lease(NOW + 298, "early")).toBe("busy");
  expect(shard.settle(again.token, [{ table: "todos" }], NOW)).toBe("trimmed");
  expect(shard.unflushed.deltas).toBe(shard.head - lease.to);
  const rest = leaseOf(shard, NOW + 1000);
  expect(rest.lease.from).toBe(lease.to);
  expect(
    join(rowPages(shard, rest.lease.token, TODOS, 1 << 20))
      .map(([id]) => id)
      .toSorted(),
  ).toEqual(["new", ...ids.filter((_, n) => n % 3 === 0 || n % 5 === 0)].toSorted());
});

test("[F2] [F3] a table that fails for good is set aside with its reason and the others go on; one that may recover holds the lease", () => {
  const shard = shardOf();
  push(shard, ADMIN, [edit("INSERT", "a", 1), edit("INSERT", "n", 1, {}, "notes")]);
  const later = flush(shard, NOW, (table) => (table === "notes" ? { message: "503", hopeless: false } : undefined));
  expect(later.ended).toBe("again");
  expect(shard.status()).toMatchObject({
    unflushedDeltas: 2,
    flushed: 0,
    lastError: "notes: 503",
    lease: { attempt: 1 },
  });
  const never = flush(shard, NOW + 1, (table) =>
    table === "notes" ? { message: "no such dataset", hopeless: true } : undefined,
  );
  expect(never.ended).toBe("trimmed");
  expect(shard.status()).toMatchObject({
    unflushedDeltas: 0,
    flushed: 2,
    lastError: "notes: no such dataset",
    lease: null,
    setAside: [{ table: "notes", fromSeq: 2, toSeq: 2, reason: "no such dataset" }],
  });
  expect(shard.lease(NOW + 2, "x")).toBe("empty");
  push(shard, ADMIN, [edit("UPDATE", "n", 2, { body: "y" }, "notes")]);
  expect(flush(shard, NOW + 3).rows).toEqual({ notes: [["n", 3, false, 0]] });
  expect(shard.status()).toMatchObject({ flushed: 3, lastError: null, setAside: [{ table: "notes" }] });
});

test("[PL8] where the clock stepped back, change lists are dropped from the oldest on, without a hole", () => {
  const shard = shardOf({}, { listMs: 100 });
  const device = new Device(ADMIN);
  device.pullAll(shard);
  push(shard, ADMIN, [edit("INSERT", "a", 1)], "c", NOW + 500);
  flush(shard, NOW + 500);
  device.pullAll(shard);
  push(shard, ADMIN, [edit("INSERT", "b", 1)], "c", NOW); // the clock stepped back
  flush(shard, NOW);
  push(shard, ADMIN, [edit("INSERT", "c", 1)], "c", NOW + 550);
  flush(shard, NOW + 550);
  device.pullAll(shard);
  expect([...device.alive.keys()]).toEqual(["todos/a", "todos/b", "todos/c"]);
});

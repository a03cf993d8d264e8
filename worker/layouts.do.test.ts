/** Where rows live makes no difference to anyone: one shard, four, or the common one; nor does a move between them. */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { expect, onTestFinished, test } from "vitest";
import { Shard } from "../durable-objects/index.ts";
import {
  ALL,
  Device,
  delta,
  eventually,
  hlc,
  insert,
  type Json,
  OWN,
  type TestGateway,
  TODOS,
  todos,
} from "./testing/gateway.ts";

const LAYOUTS = [0, 1, 4];

/** Edits of two devices with conflicts, late edits, deletes, repeats and refusals, with pulls between. */
async function scenario(gateway: TestGateway): Promise<Json> {
  const base = 1_750_000_000_000;
  const at = (n: number) => hlc(n, base);
  const push = async (who: string, deltas: Json[]) => {
    const { body } = await gateway.push(who, `${who}-1`, deltas);
    const rejected = (body.rejected ?? []).map((r: Json) => [r.rowId, r.code, r.message, r.deltaId]).sort();
    return { accepted: [...(body.accepted ?? [])].sort(), count: body.acceptedCount, rejected };
  };
  const [alice, bob, root] = [
    new Device(gateway, "alice"),
    new Device(gateway, "bob"),
    new Device(gateway, "root", { role: "admin" }),
  ];
  const seen: Json[] = [];
  const look = async () => {
    for (const device of [alice, bob, root])
      seen.push({ came: await device.pull({ maxBytes: 300 }), rows: device.content });
  };
  const answers = [
    await push(
      "alice",
      Array.from({ length: 12 }, (_, i) => insert(`a${i}`, "alice", { priority: i }, at(i + 1))),
    ),
  ];
  await look();
  answers.push(
    await push(
      "bob",
      Array.from({ length: 5 }, (_, i) => insert(`b${i}`, "bob", {}, at(20 + i))),
    ),
  );
  const edits = [
    delta("UPDATE", "a1", { title: "late" }, at(30)),
    delta("UPDATE", "a1", { done: true }, at(31)),
    delta("DELETE", "a2", {}, at(32)),
    delta("UPDATE", "a2", { title: "too late" }, at(33)),
    delta("UPDATE", "a3", { owner: "bob" }, at(34)),
    delta("UPDATE", "b0", { title: "not mine" }, at(35)),
    delta("UPDATE", "a4", { priority: "x" }, at(36)),
    delta("INSERT", "n", { title: "t" }, at(37), "nope"),
    delta("UPDATE", "a5", { title: null }, at(38)),
  ];
  answers.push(await push("alice", edits));
  answers.push(await push("alice", edits));
  await look();
  answers.push(
    await push("bob", [
      delta("UPDATE", "b1", { title: "old" }, at(5)),
      delta("DELETE", "b2", {}, at(40)),
      insert("b2", "bob", { title: "again" }, at(41)),
    ]),
  );
  await look();
  await look();
  return { answers, seen };
}

test("[PU2, PU3, PU4] a table in the common shard, in one of its own and in four behave alike", async () => {
  const results = [];
  for (const shards of LAYOUTS) {
    const gateway = await todos(OWN, { shards });
    results.push(await scenario(gateway));
    const { shards: held } = await gateway.status();
    expect(held).toHaveLength(Math.max(1, shards));
    const rows = held.flatMap((s: { tables: { rows: number }[] }) => s.tables.map((t) => t.rows));
    expect(rows.reduce((a: number, b: number) => a + b)).toBe(17);
    if (shards === 4) expect(rows.every((n: number) => n > 0)).toBe(true);
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

test("[PU2] a batch pushed twice at once, and in part, lands once in every layout", async () => {
  for (const shards of LAYOUTS) {
    const gateway = await todos(ALL, { shards });
    const deltas = Array.from({ length: 8 }, (_, i) => insert(`r${i}`, "alice"));
    const answers = await Promise.all(
      [deltas, deltas, deltas.slice(3), deltas.slice(0, 5)].map((some) => gateway.push("alice", "a1", some)),
    );
    expect(answers.map((a) => a.body.acceptedCount)).toEqual([8, 8, 5, 5]);
    const { shards: held } = await gateway.status();
    expect(held.reduce((sum: number, s: Json) => sum + Number(s.head), 0)).toBe(8);
  }
});

const rowsIn = async (gateway: TestGateway) =>
  (await gateway.status()).shards.map((s: { tables: { rows: number }[] }) => s.tables.reduce((n, t) => n + t.rows, 0));

test("[PU4] a table moves between layouts while devices push and pull, and nothing is lost or stranded", async () => {
  const gateway = await todos(OWN);
  const [alice, root] = [new Device(gateway, "alice"), new Device(gateway, "root", { role: "admin" })];
  const expected = new Map<string, string>();
  let n = 0;
  let waits = 0;
  const write = async () => {
    const rowId = `r${n++ % 40}`;
    const title = `v${n}`;
    const edit = expected.has(rowId) ? delta("UPDATE", rowId, { title }) : insert(rowId, "alice", { title });
    for (;;) {
      const { status, body, headers } = await gateway.push("alice", "a1", [edit]);
      if (status === 200) {
        expect(body.acceptedCount, JSON.stringify(body)).toBe(1);
        expected.set(rowId, title);
        return;
      }
      expect([status, body.error.code, headers.get("retry-after")]).toEqual([503, "ShardMoved", "5"]);
      waits++;
      await new Promise((done) => setTimeout(done, 5));
    }
  };
  for (let i = 0; i < 45; i++) await write();
  await alice.pull();
  for (const shards of [4, 1, 2, 0, 3]) {
    expect((await gateway.putTable("todos", TODOS, { shards })).status).toBe(200);
    let moving = true;
    const writer = (async () => {
      while (moving) {
        await write();
        await alice.pull();
      }
    })();
    await gateway.finishMove();
    moving = false;
    await writer;
    await Promise.all([alice.pull(), root.pull()]);
    const titles = (device: Device) => new Map([...device.rows].map(([key, row]) => [key.slice(6), row.title]));
    expect(titles(alice)).toEqual(new Map(expected));
    expect(titles(root)).toEqual(new Map(expected));
    const { map } = await gateway.status();
    expect(map.tables.todos).toHaveLength(Math.max(1, shards));
    expect((await rowsIn(gateway)).reduce((a: number, b: number) => a + b)).toBe(expected.size);
  }
  expect(
    await runInDurableObject(gateway.shard("common"), (_, { storage }) =>
      storage.sql.exec("SELECT count(*) AS n FROM rows").one(),
    ),
  ).toEqual({ n: 0 });
  expect(waits).toBeGreaterThan(0);
});

type Call = (this: { ctx: DurableObjectState }, ...args: unknown[]) => Promise<unknown>;

/** Makes the next calls of one method of a shard fail, after or before they have done their work. @returns how many did */
function breakShard(gateway: TestGateway, name: string, method: string, times: number, after: boolean): () => number {
  const methods = Shard.prototype as unknown as Record<string, Call>;
  const whole = methods[method] as Call;
  let left = times;
  methods[method] = async function (...args) {
    if (this.ctx.id.name !== `${gateway.id}/${name}` || left <= 0) return whole.apply(this, args);
    left--;
    if (after) await whole.apply(this, args);
    if (method === "configure") throw new Error("configure breaks off");
    return { ok: false, error: { code: "Unavailable", message: `${method} breaks off`, details: {} } };
  };
  onTestFinished(() => {
    methods[method] = whole;
  });
  return () => times - left;
}

test.each([
  ["common", "progress", false],
  ["common", "pending", false],
  ["common", "exportRows", true],
  ["common", "dropRows", false],
  ["common", "dropRows", true],
  ["common", "configure", false],
  ["todos.3.1", "configure", true],
  ["todos.3.0", "importRows", false],
  ["todos.3.1", "importRows", true],
])("[PU4] a move goes on after shard %s broke off in %s (afterwards: %s)", async (shard, method, after) => {
  const gateway = await todos(ALL);
  const rows = Array.from({ length: 20 }, (_, i) => insert(`r${i}`, "alice"));
  expect((await gateway.push("alice", "a1", rows)).body.acceptedCount).toBe(20);
  const broken = breakShard(gateway, shard, method, 2, after);
  const put = await gateway.putTable("todos", TODOS, { shards: 2 });
  expect([200, 503]).toContain(put.status);
  if (put.status === 503) expect(put.body.error.message).toMatch(/stored.*it will be told/);
  await eventually(async () => {
    await gateway.settle();
    await runDurableObjectAlarm(gateway.tenant);
    return !(await gateway.status()).move;
  });
  expect(broken()).toBe(2);
  const { map } = await gateway.status();
  expect(map.tables.todos).toEqual(["todos.3.0", "todos.3.1"]);
  const device = new Device(gateway, "alice");
  await device.pull();
  expect(device.rows.size).toBe(20);
  expect((await rowsIn(gateway)).reduce((a: number, b: number) => a + b)).toBe(20);
  expect((await gateway.push("alice", "a1", [delta("UPDATE", "r1", { title: "after" })])).body.acceptedCount).toBe(1);
  expect(
    await runInDurableObject(gateway.shard("common"), (_, { storage }) =>
      storage.sql.exec("SELECT count(*) AS n FROM rows").one(),
    ),
  ).toEqual({ n: 0 });
});

test("[PU4] a destination that is down does not stop writes while a move waits for it", async () => {
  const gateway = await todos(ALL);
  await gateway.push("alice", "a1", [insert("r1", "alice")]);
  await gateway.putTable("todos", TODOS, { shards: 2 });
  for (let i = 0; i < 3; i++) {
    await runDurableObjectAlarm(gateway.tenant);
    expect((await gateway.push("alice", "a1", [delta("UPDATE", "r1", { title: `v${i}` })])).status).toBe(200);
  }
  expect((await gateway.status()).move).toMatchObject({ table: "todos", phase: "drain" });
  const again = await gateway.putTable("todos", TODOS, { shards: 3 });
  expect([again.status, again.body.error.code]).toEqual([409, "Conflict"]);
  await gateway.finishMove();
  expect((await gateway.pull("alice")).body.rows).toMatchObject([{ rowId: "r1" }]);
});

test("[PU4] a move whose tenant restarts at any step is carried on", async () => {
  const gateway = await todos(ALL);
  await gateway.push("alice", "a1", [insert("r1", "alice")]);
  await gateway.putTable("todos", TODOS, { shards: 2 });
  for (let round = 0; (await gateway.status()).move && round < 10; round++) {
    await gateway.settle();
    await evictDurableObject(gateway.tenant);
    await runDurableObjectAlarm(gateway.tenant);
  }
  expect((await gateway.status()).map.tables.todos).toHaveLength(2);
  expect((await gateway.pull("alice")).body.rows).toMatchObject([{ rowId: "r1" }]);
});

test("[PU4] a schema that changes during a move arrives in the new shards", async () => {
  const gateway = await todos(ALL);
  await gateway.push("alice", "a1", [insert("r1", "alice")]);
  await gateway.putTable("todos", TODOS, { shards: 2 });
  await gateway.putTable("todos", [...TODOS, { name: "due", type: "timestamp" }]);
  await gateway.finishMove();
  const due = { timestamp: "2026-01-31T08:00:00.000Z" };
  expect((await gateway.push("alice", "a1", [delta("UPDATE", "r1", { due })])).body.acceptedCount).toBe(1);
  const device = new Device(gateway, "alice");
  await device.pull();
  expect(device.rows.get("todos/r1")).toMatchObject({ title: "r1", due });
});

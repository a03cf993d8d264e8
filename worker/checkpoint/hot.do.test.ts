/** A table with a hot window, through the Worker's own doors: rows leave, and everything is as if they had not. */
import { runInDurableObject, SELF } from "cloudflare:test";
import { expect, test } from "vitest";
import { checkpointDuty } from "../../core/index.ts";
import { cellsAt, decodeChunk, HOT_AGE_MS_MIN, unwrap } from "../../schemas/index.ts";
import { maintainOne } from "../maintenance.ts";
import {
  ALL,
  bindings,
  Device,
  delta,
  insert,
  type Json,
  OWN,
  type TestGateway,
  TODOS,
  todos,
} from "../testing/gateway.ts";

const HOT = { shards: 1, hot: { ageMs: HOT_AGE_MS_MIN } };
const idOf = (n: number) => `row-${String(n).padStart(3, "0")}`;

const windowed = (rules: readonly Json[]) => todos(rules, HOT);

async function flush(gateway: TestGateway): Promise<void> {
  const { body } = await gateway.request(await gateway.admin(), "POST", "/admin/flush");
  for (const { state } of body.shards) expect(["flushed", "empty"]).toContain(state);
}

/** Rows of alice's and bob's in turns, of which none is in the shard any more. */
async function left(rules: readonly Json[], count: number, more: Json = HOT): Promise<TestGateway> {
  const gateway = await todos(rules, more);
  for (const [at, sub] of ["bob", "alice"].entries()) {
    const rows = Array.from({ length: count }, (_, n) => n).filter((n) => n % 2 === at);
    const pushed = await gateway.push(
      sub,
      `device-of-${sub}`,
      rows.map((n) => insert(idOf(n), sub)),
    );
    expect(pushed.body.rejected).toEqual([]);
  }
  await flush(gateway);
  await new Promise((done) => setTimeout(done, HOT_AGE_MS_MIN + 100));
  const { body } = await gateway.request(await gateway.admin(), "POST", "/admin/checkpoint");
  expect(body.shards.reduce((sum: number, shard: { left: number }) => sum + shard.left, 0)).toBe(count);
  return gateway;
}

const counts = async (gateway: TestGateway): Promise<{ rows: number; left: number }> => {
  const { shards } = await gateway.status();
  const tables = shards.flatMap(({ tables: some }: { tables: { rows: number; left?: number }[] }) => some);
  const sum = (of: (t: { rows: number; left?: number }) => number) =>
    tables.reduce((total: number, t: { rows: number; left?: number }) => total + of(t), 0);
  return { rows: sum((t) => t.rows), left: sum((t) => t.left ?? 0) };
};

async function fetchChunk(gateway: TestGateway, token: string, name: string) {
  const response = await SELF.fetch(`http://gateway/v1/${gateway.id}/checkpoint/${name}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  const { status } = response;
  if (status !== 200) return { status, rows: new Map<string, Json | undefined>() };
  const plain = new Response(response.body?.pipeThrough(new DecompressionStream("gzip")));
  const rows = new Map<string, Json | undefined>();
  for (const batch of unwrap(decodeChunk(new Uint8Array(await plain.arrayBuffer()))))
    batch.rowIds.forEach((id, at) => {
      const key = `${batch.table}/${id}`;
      rows.set(
        key,
        batch.ops[at] === "D" || batch.ops[at] === "R" ? undefined : { ...rows.get(key), ...cellsAt(batch, at) },
      );
    });
  return { status, rows };
}

/** A device that asks for everything. */
async function whole(gateway: TestGateway, sub: string, claims: Json = {}): Promise<Device> {
  const token = await gateway.token(sub, claims);
  const { body } = await gateway.request(token, "GET", "/checkpoint?older=true");
  const device = new Device(gateway, sub);
  for (const { name } of body.chunks)
    for (const [key, row] of (await fetchChunk(gateway, token, name)).rows)
      if (row) device.rows.set(key, row);
      else device.rows.delete(key);
  device.cursor = body.cursor;
  await device.pull({}, claims);
  return device;
}

async function windowOf(gateway: TestGateway, sub: string): Promise<string[]> {
  const device = new Device(gateway, sub);
  await device.pull();
  return [...device.rows.keys()].sort();
}

test("[HW1] [HW2] [HW3] rows leave, late edits and deletes of them reach those who have them, the lake and new devices", async () => {
  const gateway = await windowed(ALL);
  const early = new Device(gateway, "carol");
  const some = Array.from({ length: 40 }, (_, n) => insert(idOf(n), "alice"));
  await gateway.push("alice", "phone", some);
  await flush(gateway);
  await early.pull();
  await new Promise((done) => setTimeout(done, HOT_AGE_MS_MIN + 100));
  // A flush lets them go: of what is flushed now, nothing is old enough.
  await gateway.push("alice", "phone", [insert("new", "alice")]);
  await flush(gateway);
  expect(await counts(gateway)).toEqual({ rows: 1, left: 40 });
  await gateway.push("alice", "phone", [
    delta("UPDATE", idOf(3), { title: "late" }),
    delta("DELETE", idOf(4)),
    delta("UPDATE", idOf(5), { title: "too late" }, ((BigInt(Date.now()) - 3_600_000n) << 16n).toString()),
  ]);
  expect(await counts(gateway)).toEqual({ rows: 4, left: 37 });
  await early.pull();
  expect(early.resyncs).toBe(0);
  expect(early.rows.size).toBe(40);
  expect(early.rows.get(`todos/${idOf(3)}`)).toMatchObject({ title: "late", owner: "alice", done: false });
  expect(early.rows.get(`todos/${idOf(5)}`)?.title).toBe(idOf(5));
  // One that came meanwhile has the window, and of a row that was edited all of it.
  expect(await windowOf(gateway, "dave")).toEqual(["todos/new", `todos/${idOf(3)}`, `todos/${idOf(5)}`]);
  await gateway.request(await gateway.admin(), "POST", "/admin/checkpoint");
  expect((await whole(gateway, "erin")).content).toEqual(early.content);
  await flush(gateway);
  const { body: verdict } = await gateway.request(await gateway.admin(), "GET", "/admin/verify");
  expect(verdict).toMatchObject({ ok: true, tables: [{ ok: true, lake: { ok: true, current: true } }] });
});

test("[HW3] [PL7] who sees some rows gets those of them that left, as they are now, and no file of the table", async () => {
  const gateway = await left(OWN, 60);
  // Rows that left change hands.
  const changed = await gateway.request(await gateway.admin(), "POST", "/push", {
    clientId: "root-device",
    deltas: [delta("UPDATE", idOf(1), { owner: "bob" }), delta("UPDATE", idOf(2), { owner: "alice" })],
  });
  expect(changed.body.rejected).toEqual([]);
  for (const [sub, first] of [
    ["alice", 2],
    ["bob", 1],
  ] as const) {
    const device = await whole(gateway, sub);
    expect(device.rows.size).toBe(30);
    expect([...device.rows.values()].every(({ owner }) => owner === sub)).toBe(true);
    expect(device.rows.has(`todos/${idOf(first)}`)).toBe(true);
    expect(await windowOf(gateway, sub)).toEqual([`todos/${idOf(first)}`]);
  }
  expect((await whole(gateway, "eve")).rows.size).toBe(0);
  const { body } = await gateway.request(await gateway.admin(), "GET", "/checkpoint?older=true");
  const cold = body.chunks.filter(({ name }: { name: string }) => name.includes(":cold-"));
  expect(cold.length).toBeGreaterThan(0);
  for (const { name } of cold) expect((await fetchChunk(gateway, await gateway.token("alice"), name)).status).toBe(410);
});

test("[HW3] [PL7] rules that name a column after rows have left show each token its older rows, and no others", async () => {
  const gateway = await left(ALL, 60);
  const changed = await gateway.request(await gateway.admin(), "POST", "/push", {
    clientId: "root-device",
    deltas: [delta("UPDATE", idOf(1), { owner: "bob" }), delta("UPDATE", idOf(2), { owner: "alice" })],
  });
  expect(changed.body.rejected).toEqual([]);
  // What rules compare by `neq` alone is in no index ever.
  const differs = [{ name: "differs", tables: ["todos"], filters: [{ column: "owner", op: "neq", value: "jwt:not" }] }];
  for (const rules of [OWN, differs]) {
    expect((await gateway.putRules(rules)).status).toBe(200);
    for (const [sub, not, first] of [
      ["alice", "bob", 2],
      ["bob", "alice", 1],
    ] as const) {
      const device = await whole(gateway, sub, { not });
      expect([...device.rows.values()].map(({ owner }) => owner)).toEqual(Array.from({ length: 30 }, () => sub));
      expect(device.rows.has(`todos/${idOf(first)}`)).toBe(true);
    }
  }
});

test("[HW3] a token that asks for older rows is told to come again until a checkpoint lists them", async () => {
  const gateway = await left(ALL, 20);
  const [{ shard = "" } = {}] = (await gateway.status()).shards as { shard?: string }[];
  const { objects } = await bindings.LAKE.list({ prefix: `${gateway.id}/_checkpoint/${shard}/manifest.json` });
  expect(objects).toHaveLength(1);
  await bindings.LAKE.delete(objects.map(({ key }) => key));
  const token = await gateway.token("alice");
  const ask = (query: string) => gateway.request(token, "GET", `/checkpoint${query}`);
  expect(await ask("?older=true")).toMatchObject({ status: 503, body: { error: { code: "Unavailable" } } });
  expect(await ask("")).toMatchObject({ status: 200, body: { cursor: "", chunks: [] } });
  // It is due however little has changed.
  const done = await maintainOne(bindings, { gatewayId: gateway.id, duty: checkpointDuty(shard) });
  expect(done).toMatchObject({ ok: true, value: { ok: true, state: "written" } });
  expect((await whole(gateway, "alice")).rows.size).toBe(20);
});

test("[HW2] [PU4] [L7] several shards, one of which restarts and then loses its storage: nothing is missing", async () => {
  const gateway = await left(ALL, 80, { ...HOT, shards: 2 });
  const before = await whole(gateway, "carol");
  expect(before.rows.size).toBe(80);
  const { map } = await gateway.status();
  const [name = ""] = map.tables.todos as string[];
  const stub = gateway.shard(name);
  await runInDurableObject(stub, async (_, ctx) => ctx.abort()).catch(() => undefined);
  await gateway.push("alice", "device-of-alice", [delta("UPDATE", idOf(7), { title: "late" })]);
  await flush(gateway);
  await runInDurableObject(gateway.shard(name), async (_, ctx) => {
    await ctx.storage.deleteAll();
    ctx.abort();
  }).catch(() => undefined);
  const { status, body } = await gateway.request(await gateway.admin(), "POST", "/admin/rebuild", { shard: name });
  expect(status, JSON.stringify(body)).toBe(200);
  expect(body.shards).toMatchObject([{ state: "rebuilt", verified: ["todos"] }]);
  const { body: verdict } = await gateway.request(await gateway.admin(), "GET", "/admin/verify");
  expect(verdict.ok).toBe(true);
  await gateway.request(await gateway.admin(), "POST", "/admin/checkpoint");
  await before.pull().catch(() => undefined);
  const after = await whole(gateway, "carol");
  expect(after.rows.size).toBe(80);
  expect(after.rows.get(`todos/${idOf(7)}`)?.title).toBe("late");
});

test("[HW1] a window needs shards of its own, and holds its table there", async () => {
  const gateway = await todos(ALL);
  const put = (more: Json) => gateway.putTable("todos", TODOS, more);
  expect(await put({ hot: { ageMs: 60_000 } })).toMatchObject({ status: 409, body: { error: { code: "Conflict" } } });
  expect((await put({ shards: 1, hot: { ageMs: 60_000 } })).status).toBe(409);
  expect((await put({ hot: { ageMs: 10 } })).status).toBe(400);
  expect((await gateway.putTable("events", TODOS, { shards: 1, hot: { ageMs: 60_000 } })).status).toBe(200);
  expect((await gateway.putTable("events", TODOS, { shards: 2 })).status).toBe(409);
  // Left out, it stays; its length may change.
  expect((await gateway.putTable("events", TODOS)).body).toMatchObject({ shards: 1, hot: { ageMs: 60_000 } });
  expect((await gateway.putTable("events", TODOS, { hot: { ageMs: 90_000 } })).body).toMatchObject({
    version: 2,
    hot: { ageMs: 90_000 },
  });
});

/** Checkpoints through the Worker's own doors, over real shards and R2. */
import { createScheduledController, runInDurableObject, SELF } from "cloudflare:test";
import { expect, test } from "vitest";
import { CHECKPOINT_HEAD_MIN, cellsAt, decodeChunk, unwrap } from "../../schemas/index.ts";
import worker from "../index.ts";
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

interface Served {
  readonly cursor: string;
  readonly chunks: { readonly name: string; readonly rows: number; readonly bytes: number; readonly sha256?: string }[];
  readonly rows: number;
}

const served = async (gateway: TestGateway, token: string): Promise<Served> => {
  const { status, body } = await gateway.request(token, "GET", "/checkpoint");
  expect(status).toBe(200);
  return body;
};

const getChunk = (gateway: TestGateway, token: string, name: string, headers: Record<string, string> = {}) =>
  SELF.fetch(`http://gateway/v1/${gateway.id}/checkpoint/${name}`, {
    headers: { authorization: `Bearer ${token}`, ...headers },
  });

async function rowsIn(bytes: ArrayBuffer): Promise<Map<string, Json>> {
  const plain = new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  const batches = unwrap(decodeChunk(new Uint8Array(await plain.arrayBuffer())));
  const rows = new Map<string, Json>();
  for (const batch of batches)
    batch.rowIds.forEach((id, at) => {
      rows.set(`${batch.table}/${id}`, { ...rows.get(`${batch.table}/${id}`), ...cellsAt(batch, at) });
    });
  return rows;
}

/** A device of some user that starts from the checkpoint. */
async function bootstrap(gateway: TestGateway, sub: string): Promise<{ device: Device; installed: number }> {
  const token = await gateway.token(sub);
  const { cursor, chunks } = await served(gateway, token);
  const device = new Device(gateway, sub);
  for (const { name } of chunks) {
    const response = await getChunk(gateway, token, name);
    expect(response.status).toBe(200);
    for (const [id, row] of await rowsIn(await response.arrayBuffer())) device.rows.set(id, row);
  }
  const installed = device.rows.size;
  device.cursor = cursor;
  await device.pull();
  return { device, installed };
}

const fromZero = async (gateway: TestGateway, sub: string): Promise<Device> => {
  const device = new Device(gateway, sub);
  await device.pull();
  return device;
};

async function fill(gateway: TestGateway, count: number, owner = (n: number) => (n % 2 ? "alice" : "bob")) {
  for (let at = 0; at < count; at += 500) {
    const some = Array.from({ length: Math.min(500, count - at) }, (_, k) => at + k);
    for (const sub of new Set(some.map(owner))) {
      const rows = some.filter((n) => owner(n) === sub).map((n) => insert(`row-${String(n).padStart(5, "0")}`, sub));
      expect((await gateway.push(sub, `device-of-${sub}`, rows)).body.rejected).toEqual([]);
    }
  }
}

const make = async (gateway: TestGateway) => {
  const { body } = await gateway.request(await gateway.admin(), "POST", "/admin/checkpoint");
  expect(body.shards).toMatchObject([{ ok: true, state: "written" }]);
  return body.shards[0];
};

test("[CK1] whoever sees the whole table gets chunks straight from the bucket, and the tail by a pull", async () => {
  const gateway = await todos(ALL);
  await fill(gateway, 300);
  await make(gateway);
  await gateway.push("alice", "device-of-alice", [
    delta("UPDATE", "row-00007", { title: "changed since" }),
    delta("DELETE", "row-00008"),
    insert("new", "alice"),
  ]);
  const { device, installed } = await bootstrap(gateway, "carol");
  expect(installed).toBe(300);
  expect(device.content).toEqual((await fromZero(gateway, "carol")).content);
  expect(device.rows.get("todos/row-00007")?.title).toBe("changed since");
  expect(device.resyncs).toBe(0);
});

test("[PL7] [CK1] whoever sees some rows gets those that an index names for the token, and no chunk of the table", async () => {
  const gateway = await todos(OWN);
  await fill(gateway, 300);
  await make(gateway);
  // After the checkpoint rows change hands, and the index does not know.
  await gateway.request(await gateway.admin(), "POST", "/push", {
    clientId: "root-device",
    deltas: [delta("UPDATE", "row-00001", { owner: "bob" }), delta("UPDATE", "row-00002", { owner: "alice" })],
  });
  for (const sub of ["alice", "bob"]) {
    const { device, installed } = await bootstrap(gateway, sub);
    expect(device.content).toEqual((await fromZero(gateway, sub)).content);
    expect(device.rows.size).toBe(150);
    expect(installed).toBe(149);
  }
  expect((await bootstrap(gateway, "eve")).installed).toBe(0);
  // A chunk's name is no secret and no key.
  const root = await served(gateway, await gateway.admin());
  expect(root.rows).toBe(300);
  for (const { name } of root.chunks) {
    const refused = await getChunk(gateway, await gateway.token("alice"), name);
    expect([refused.status, ((await refused.json()) as Json).error]).toMatchObject([410, { code: "CursorExpired" }]);
  }
});

test("[PL4] [CK1] what a device writes after it got a checkpoint, and may not see, it is told of in shards without one, too", async () => {
  const gateway = await todos(ALL);
  await gateway.putTable("notes", TODOS, { shards: 1 });
  const top = [{ column: "priority", op: "gte", value: 3 }];
  await gateway.putRules([...ALL, { name: "top", tables: ["notes"], filters: top, write: [] }]);
  await fill(gateway, 20);
  await gateway.request(await gateway.admin(), "POST", "/admin/checkpoint");
  const { cursor, chunks } = await served(gateway, await gateway.token("alice"));
  expect(chunks).toHaveLength(1);
  const clientId = "device-of-alice";
  const { body } = await gateway.push("alice", clientId, [delta("INSERT", "mine", { title: "a" }, undefined, "notes")]);
  expect(body.rejected).toEqual([]);
  const device = new Device(gateway, "alice");
  device.cursor = cursor;
  expect(await device.pull({ clientId })).toEqual(["mine"]);
  expect(device.rows.has("notes/mine")).toBe(false);
});

test("[PL7] [PL5] rules that change between manifest, chunks and pull show nothing that they forbid", async () => {
  const gateway = await todos(ALL);
  await fill(gateway, 100);
  await make(gateway);
  const token = await gateway.token("alice");
  const { cursor, chunks } = await served(gateway, token);
  await gateway.putRules(OWN);
  for (const { name } of chunks) expect((await getChunk(gateway, token, name)).status).toBe(410);
  const device = new Device(gateway, "alice");
  device.cursor = cursor;
  await device.pull();
  expect(device.resyncs).toBe(1);
  expect(device.rows.size).toBe(50);
  // The checkpoint has no index for the new rules: nothing of it is offered, and the pull brings everything.
  expect(await served(gateway, token)).toMatchObject({ cursor: "", chunks: [] });
  await make(gateway);
  expect((await served(gateway, token)).chunks).toHaveLength(1);
  expect((await bootstrap(gateway, "alice")).device.content).toEqual((await fromZero(gateway, "alice")).content);
  // Nor for rules that compare another column; the next checkpoint has it.
  await gateway.putRules([
    { name: "urgent", tables: ["todos"], filters: [{ column: "priority", op: "gt", value: 3 }] },
  ]);
  expect((await served(gateway, token)).chunks).toEqual([]);
  const urgent = [7, 42].map((n) => delta("UPDATE", `row-000${String(n).padStart(2, "0")}`, { priority: n }));
  await gateway.request(await gateway.admin(), "POST", "/push", { clientId: "root-device", deltas: urgent });
  await make(gateway);
  const { device: looking, installed } = await bootstrap(gateway, "alice");
  expect(installed).toBe(2);
  expect(looking.content).toEqual((await fromZero(gateway, "alice")).content);
});

test("[CK2] a chunk is immutable, named by its SHA-256, and comes in ranges", async () => {
  const gateway = await todos(ALL);
  await fill(gateway, 200);
  await make(gateway);
  const token = await gateway.token("alice");
  const [chunk] = (await served(gateway, token)).chunks;
  const { name = "", sha256, bytes = 0 } = chunk ?? {};
  const whole = await getChunk(gateway, token, name);
  expect(whole.headers.get("cache-control")).toBe("private, max-age=31536000, immutable");
  expect(whole.headers.get("vary")).toContain("authorization");
  const content = new Uint8Array(await whole.arrayBuffer());
  expect(content.length).toBe(bytes);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  expect(Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("")).toBe(sha256);
  const part = await getChunk(gateway, token, name, { range: "bytes=10-19" });
  expect([part.status, part.headers.get("content-range")]).toEqual([206, `bytes 10-19/${bytes}`]);
  expect(new Uint8Array(await part.arrayBuffer())).toEqual(content.slice(10, 20));
  const etag = whole.headers.get("etag") ?? "";
  expect((await getChunk(gateway, token, name, { "if-none-match": etag })).status).toBe(304);
  for (const bad of ["x", `common:../..:todos:${sha256}`, name.replace("todos", "notes"), name.replace(/.$/, "0z")])
    expect((await getChunk(gateway, token, encodeURIComponent(bad))).status).toBe(410);
});

test("[S1] a chunk of one gateway is not to be had with a token of another", async () => {
  const [mine, other] = [await todos(ALL), await todos(ALL)];
  await fill(mine, 20);
  await make(mine);
  const [chunk] = (await served(mine, await mine.token("alice"))).chunks;
  expect((await getChunk(other, await other.token("alice"), chunk?.name ?? "")).status).toBe(410);
  expect((await getChunk(mine, await other.token("alice"), chunk?.name ?? "")).status).toBe(403);
});

test("[PL8] a checkpoint from before the changes that the shard remembers is not offered", async () => {
  const gateway = await todos(ALL);
  await fill(gateway, 20);
  await make(gateway);
  const token = await gateway.token("alice");
  expect((await served(gateway, token)).chunks).toHaveLength(1);
  await gateway.push("alice", "device-of-alice", [insert("later", "alice"), insert("later still", "alice")]);
  await gateway.settle();
  await runInDurableObject(gateway.shard("common"), (_, { storage }) => storage.sql.exec("DELETE FROM lists"));
  expect((await served(gateway, token)).chunks).toEqual([]);
  expect((await bootstrap(gateway, "alice")).device.rows.size).toBe(22);
});

test("[PU4] [CK1] a checkpoint from before rows moved between shards is not offered; each shard gets its own", async () => {
  const gateway = await todos(ALL);
  await fill(gateway, 40);
  await make(gateway);
  await gateway.request(await gateway.admin(), "POST", "/admin/flush");
  expect((await gateway.putTable("todos", TODOS, { shards: 2 })).status).toBe(200);
  await gateway.finishMove();
  const token = await gateway.token("alice");
  expect((await served(gateway, token)).chunks).toEqual([]);
  const { body } = await gateway.request(await gateway.admin(), "POST", "/admin/checkpoint");
  expect(body.shards).toMatchObject([{ state: "written" }, { state: "written" }]);
  expect((await served(gateway, token)).chunks).toHaveLength(2);
  const { device, installed } = await bootstrap(gateway, "alice");
  expect([installed, device.rows.size]).toEqual([40, 40]);
});

test("Cron makes a checkpoint of a shard that grew, and none of one that is small", async () => {
  const [large, small] = [await todos(ALL), await todos(ALL)];
  await fill(large, CHECKPOINT_HEAD_MIN);
  await fill(small, 10);
  for (const gateway of [large, small]) await gateway.request(await gateway.admin(), "POST", "/admin/flush");
  await worker.scheduled(createScheduledController(), bindings, {} as ExecutionContext);
  const made = async (gateway: TestGateway) => {
    for (let looks = 0; looks < 300; looks++) {
      const [checkpoint] = (await gateway.status()).lake.checkpoints;
      if (checkpoint?.report) return checkpoint;
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error("no run has ended");
  };
  expect(await made(large)).toMatchObject({
    shard: "common",
    report: { ok: true, state: "written", rows: CHECKPOINT_HEAD_MIN },
  });
  expect(await made(small)).toMatchObject({ shard: "common", report: { ok: true, state: "idle" } });
  expect((await served(large, await large.token("alice"))).rows).toBe(CHECKPOINT_HEAD_MIN);
});

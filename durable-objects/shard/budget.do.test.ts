import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import {
  type ClientId,
  DeltaBatchBuilder,
  encodeBatch,
  packBatch,
  packHlc,
  type Scalar,
  type TableSchema,
} from "../../schemas/index.ts";
import type { Env } from "../env.ts";

/** What users pay for: each SQLite row written, index entries included. */
const ROWS_WRITTEN_PER_DELTA_MAX = 1.2;

const TABLE: TableSchema = {
  table: "orders",
  version: 1,
  columns: ["owner", "name", "status"].map((name, at) => ({ id: at + 1, name, type: "string", nullable: true })),
  lastColumnId: 3,
  shards: 0,
};
const CLIENT = "device" as ClientId;
const started = Date.now();
let clock = 0;

/** A shard with one table and a rule by a claim. */
async function shardOf(gatewayId: string) {
  const shard = (env as Env).SHARD.getByName(`${gatewayId}/main`);
  const rules = {
    buckets: [{ name: "own", tables: ["orders"], filters: [{ column: "owner", op: "eq" as const, value: "jwt:sub" }] }],
  };
  const address = { gatewayId, shard: "main", version: 1 };
  await shard.configure({ ...address, rulesVersion: 1, rules, tables: [TABLE], owns: { orders: { index: 0, of: 1 } } });
  const written = async () => {
    const status = await shard.status(address);
    if (!status.ok) throw new Error(status.error.message);
    return status.value.rowsWritten;
  };
  /** @returns rows written a delta */
  async function push(op: "I" | "U" | "D", size: number, batches: number, cells: Record<string, Scalar>) {
    const before = await written();
    for (let batch = 0; batch < batches; batch++) {
      const builder = new DeltaBatchBuilder("orders");
      for (let k = 0; k < size; k++) {
        const hlc = packHlc(started, clock++);
        builder.add(op, `row-${batch * size + k}`, hlc, CLIENT, cells);
      }
      const batchOf = packBatch(encodeBatch({ ...builder.build(), clients: [] }));
      const claims = { sub: "alice", role: "client" as const };
      const answer = await shard.push(address, { clientId: CLIENT, claims, deltas: [], batches: [batchOf] });
      expect(answer).toMatchObject({ ok: true, value: { acceptedCount: size } });
    }
    return ((await written()) - before) / (size * batches);
  }
  return { push, written };
}

test.each([100, 500])(
  "a delta costs at most 1.2 rows written in batches of %i: new rows, updates, deletes",
  async (size) => {
    const { push } = await shardOf(`budget${size}`);
    const whole = { owner: "alice", name: "a lamp", status: "open" };
    expect(await push("I", size, 10, whole)).toBeLessThanOrEqual(ROWS_WRITTEN_PER_DELTA_MAX);
    expect(await push("U", size, 10, { status: "shipped" })).toBeLessThanOrEqual(ROWS_WRITTEN_PER_DELTA_MAX);
    expect(await push("D", size, 10, {})).toBeLessThanOrEqual(ROWS_WRITTEN_PER_DELTA_MAX);
  },
);

test("a batch that was pushed before costs nothing", async () => {
  const { push, written } = await shardOf("budget-again");
  await push("I", 100, 1, { owner: "alice", name: "a lamp" });
  clock -= 100;
  const before = await written();
  await push("I", 100, 1, { owner: "alice", name: "a lamp" });
  expect(await written()).toBe(before);
});

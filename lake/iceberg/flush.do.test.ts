/** The same flush where it runs in production: in workerd, over R2, its Parquet writer compiled beforehand. */
import { env } from "cloudflare:test";
import parquetWasm from "parquet-wasm/esm/parquet_wasm_bg.wasm";
import { beforeAll, expect, test } from "vitest";
import { unwrap } from "../../schemas/index.ts";
import { initParquet } from "../parquet/index.ts";
import { R2Store } from "../store/index.ts";
import { readTable, tableSchema, testLake } from "../testing/lake.ts";
import { ShardModel } from "../testing/shard-model.ts";
import { flushToIceberg } from "./index.ts";

beforeAll(() => initParquet(parquetWasm));

test("[F1] a flush in workerd over R2 writes rows of every type, removes old versions, and reads back", async () => {
  const bucket = (env as unknown as { LAKE: R2Bucket }).LAKE;
  const { deps } = testLake({ store: new R2Store(bucket, { location: "s3://lake" }) });
  const columns = (["string", "integer", "number", "boolean", "timestamp", "json", "bytes"] as const).map(
    (type, at) => ({ id: at + 1, name: `a_${type}`, type, nullable: true }),
  );
  const shard = new ShardModel("s", tableSchema(columns));
  const cells = {
    a_string: "é 🎬 ".repeat(20_000),
    a_integer: "9223372036854775807",
    a_number: 0.1,
    a_boolean: true,
    a_timestamp: "253402300799999999",
    a_json: '{"a":1}',
    a_bytes: "AP+A",
  };
  for (let at = 0; at < 50; at++) shard.edit({ op: "INSERT", rowId: `row-${at}`, cells });
  unwrap(await flushToIceberg(shard.lease(), deps));
  shard.acknowledge(shard.head);
  shard.edit({ op: "UPDATE", rowId: "row-7", cells: { a_string: "changed" } });
  shard.edit({ op: "DELETE", rowId: "row-8", cells: {} });
  expect(unwrap(await flushToIceberg(shard.lease(), deps))).toEqual({ watermark: 52, rows: 2, deltas: 2 });
  const rows = await readTable(deps, "todos", "main");
  expect(rows).toHaveLength(49);
  expect(rows.find((row) => row._id === "row-9")).toMatchObject(cells);
  expect(rows.find((row) => row._id === "row-7")).toMatchObject({ ...cells, a_string: "changed" });
});

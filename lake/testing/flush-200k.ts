/**
 * A process of its own for the memory budget: 200,000 new rows of five columns, then 50,000 of them updated, flushed into a
 * folder. Prints the greatest sum of V8's heap, its buffers and the WebAssembly memory. Bytes.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FlushBatch, RowBatch } from "../../core/index.ts";
import { type ClientId, makeStamp, packHlc, type Seq, stampHlc, unwrap } from "../../schemas/index.ts";
import { flushToIceberg } from "../iceberg/index.ts";
import { FolderStore, initParquetInNode } from "../node.ts";
import { parquetMemoryBytes } from "../parquet/index.ts";
import { tableSchema, testLake } from "./lake.ts";

const ROWS = 200_000;
const UPDATES = 50_000;
const PAGE = 10_000;
const table = tableSchema([
  { id: 1, name: "date", type: "timestamp", nullable: true },
  { id: 2, name: "delay", type: "integer", nullable: true },
  { id: 3, name: "distance", type: "integer", nullable: true },
  { id: 4, name: "origin", type: "string", nullable: true },
  { id: 5, name: "destination", type: "string", nullable: true },
]);

/** Ids in no order, as devices make them. */
const idOf = (row: number): string => {
  const mixed = (Math.imul(row + 1, 2_654_435_761) >>> 0).toString(16).padStart(8, "0");
  return `${mixed}-0000-4000-8000-${String(row).padStart(12, "0")}`;
};

function page(first: number, count: number, seq: number, flushed: boolean): RowBatch {
  const rows = Array.from({ length: count }, (_, at) => first + at);
  return {
    rowIds: rows.map(idOf),
    stamps: rows.map((row) => makeStamp(packHlc(1_790_000_000_000 + seq + row, 0), "client-1" as ClientId)),
    seqs: rows.map((row) => (seq + row + 1) as Seq),
    deleted: rows.map(() => false),
    flushedSeqs: rows.map((row) => (flushed ? row + 1 : 0) as Seq),
    columns: [
      { name: "date", values: rows.map((row) => 1.7e15 + row * 60e6) },
      { name: "delay", values: rows.map((row) => ((row * 7) % 200) - 20) },
      { name: "distance", values: rows.map((row) => (row * 13) % 2500) },
      { name: "origin", values: rows.map((row) => `AP${row % 300}`) },
      { name: "destination", values: rows.map((row) => `AP${(row * 7) % 300}`) },
    ],
    cellStamps: [],
  };
}

const batch = (rows: number, seq: number, flushed: boolean): FlushBatch => ({
  gatewayId: "test",
  shard: "s",
  table,
  fromSeq: seq as Seq,
  toSeq: (seq + rows) as Seq,
  toMs: 0,
  async *rows() {
    for (let at = 0; at < rows; at += PAGE) yield page(at, PAGE, seq, flushed);
  },
  async *history() {
    for (let at = 0; at < rows; at += PAGE) {
      const { rowIds, stamps, seqs, columns } = page(at, PAGE, seq, flushed);
      const hlcs = stamps.map(stampHlc);
      const clients = ["client-1" as ClientId];
      const letters = (flushed ? "U" : "I").repeat(PAGE);
      const entries = { table: table.table, ops: letters, rowIds, hlcs, clients, columns };
      yield { seqs, receivedMs: seqs.map(() => 1_790_000_000_000), batch: entries };
    }
  },
});

let peak = 0;
const measure = async () => {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  peak = Math.max(peak, heapUsed + arrayBuffers + parquetMemoryBytes());
};

initParquetInNode();
const folder = mkdtempSync(join(tmpdir(), "lakesync-flush-"));
const store = new FolderStore(folder);
const put = store.put.bind(store);
store.put = async (...args) => {
  await measure(); // a file is as large as it gets just before it is put
  return put(...args);
};
const { deps } = testLake({ store, fault: measure });
unwrap(await flushToIceberg(batch(ROWS, 0, false), deps));
const { rows } = unwrap(await flushToIceberg(batch(UPDATES, ROWS, true), deps));
rmSync(folder, { recursive: true });
console.log(JSON.stringify({ peak, rows }));

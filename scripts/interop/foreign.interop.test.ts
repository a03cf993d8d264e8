/**
 * A lake of others' parts: Nessie is the catalogue, SeaweedFS the object store. Flushes, an added column, compaction, expiry; what
 * engines read through Nessie is what the shard has.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AwsClient } from "aws4fetch";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compact, flushToIceberg, identOf, KINDS, type LakeDeps, RestCatalogue, S3Store } from "../../lake/index.ts";
import { initParquetInNode, lakeAdapterContract, readTable, ShardModel, testLake } from "../../lake/testing.ts";
import { type Column, type Scalar, type TableSchema, unwrap } from "../../schemas/index.ts";
import { type ObjectStore, type Running, startNessie, startSeaweed } from "./foreign.ts";
import { inPlainForm, sorted, withoutNulls } from "./plain.ts";
import { runPython, withoutSpark } from "./python.ts";

const BUCKET = "lake";
const COLUMNS: Column[] = [
  { id: 1, name: "title", type: "string", nullable: true },
  { id: 2, name: "votes", type: "integer", nullable: true },
  { id: 3, name: "seen", type: "timestamp", nullable: true },
  { id: 4, name: "added", type: "string", nullable: true },
];
const schemaOf = (version: number, columns: Column[]): TableSchema => ({
  table: "orders",
  version,
  columns,
  lastColumnId: 4,
  shards: 0,
});

const folder = mkdtempSync(join(tmpdir(), "lakesync-foreign-"));
const running: Running[] = [];
let s3: ObjectStore;
let uri: string;
let deps: LakeDeps;

async function makeBucket(name: string): Promise<void> {
  const made = await new AwsClient({ ...s3, service: "s3" }).fetch(`${s3.endpoint}/${name}`, { method: "PUT" });
  expect(made.status).toBe(200);
}

beforeAll(async () => {
  initParquetInNode();
  const seaweed = await startSeaweed(folder);
  running.push(seaweed);
  ({ s3 } = seaweed);
  await makeBucket(BUCKET);
  const nessie = await startNessie(s3, BUCKET);
  running.push(nessie);
  ({ uri } = nessie);
  const catalogue = new RestCatalogue({ uri, auth: { type: "none" }, fetch, clock: Date });
  deps = { ...testLake().deps, clock: Date, store: new S3Store({ ...s3, bucket: BUCKET }), catalogue };
});
afterAll(async () => {
  for (const each of running.reverse()) await each.stop();
  rmSync(folder, { recursive: true, force: true });
});

let buckets = 0;
lakeAdapterContract("SeaweedFS by S3", async () => {
  const bucket = `contract-${++buckets}`;
  await makeBucket(bucket);
  return new S3Store({ ...s3, bucket });
});

test("[L1] [L2] [L3] [L4] flushes and compaction through Nessie into SeaweedFS, read by every engine", async () => {
  const shards = ["one", "two"].map((name) => new ShardModel(name, schemaOf(1, COLUMNS.slice(0, 3))));
  const alive = new Set<string>();
  const flush = async (round: number) => {
    for (const shard of shards) {
      for (let at = 0; at < 6; at++) {
        const n = round * 6 + at;
        const rowId = `${shard.name}-${(n * 37) % 41}`;
        const op = !alive.has(rowId) ? "INSERT" : n % 7 === 0 ? "DELETE" : "UPDATE";
        if (op === "DELETE") alive.delete(rowId);
        else alive.add(rowId);
        const all: Record<string, Scalar> = {
          title: n % 5 === 0 ? null : `title ${n}`,
          votes: n * 1000,
          seen: 1_767_225_600_123_456 + n,
          added: `added ${n}`,
        };
        const named = shard.table.columns.filter((_, column) => op === "INSERT" || (column + n) % 2 === 0);
        const cells = op === "DELETE" ? {} : Object.fromEntries(named.map(({ name }) => [name, all[name] as Scalar]));
        shard.edit({ op, rowId, cells });
      }
      unwrap(await flushToIceberg(shard.lease(), deps));
      shard.acknowledge(shard.head);
    }
  };
  const maintain = async () => {
    for (const kind of KINDS) {
      const ident = identOf(deps, "orders", kind);
      while (unwrap(await compact(deps, ident, { minInputs: 3, targetRows: 200 })).state === "compacted");
    }
  };
  const ours = async () =>
    Object.fromEntries(
      await Promise.all(
        KINDS.map(async (kind) => {
          const rows = await readTable(deps, "orders", kind);
          return [`app.${identOf(deps, "orders", kind).name}`, sorted(rows.map((row) => inPlainForm(row, COLUMNS)))];
        }),
      ),
    );
  const shardRows = () =>
    shards.flatMap((shard) => [...shard.rowsAt(shard.head).values()].map(({ rowId, seq }) => `${rowId} ${seq}`)).sort();
  const engineReads = async (engine: string) => {
    const tables = KINDS.map((kind) => `app.${identOf(deps, "orders", kind).name}`);
    const seen = await runPython<Record<string, Record<string, unknown>[]>>("foreign.py", { engine, uri, s3, tables });
    return Object.fromEntries(Object.entries(seen).map(([name, rows]) => [name, sorted(rows.map(withoutNulls))]));
  };

  for (let round = 0; round < 24; round++) {
    if (round === 12) for (const shard of shards) shard.table = schemaOf(2, COLUMNS);
    await flush(round);
    if (round % 8 === 7) await maintain();
    if (round % 12 !== 10) continue;
    const rows = await readTable(deps, "orders", "main");
    expect(rows.map((row) => `${row._id} ${row._seq}`).sort()).toEqual(shardRows());
    const wanted = await ours();
    for (const engine of ["pyiceberg", "duckdb"]) expect(await engineReads(engine), engine).toEqual(wanted);
  }
  if (!withoutSpark) expect(await engineReads("spark")).toEqual(await ours());
});

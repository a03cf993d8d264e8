/**
 * Spark's own maintenance of our tables, and ours of what Spark left: rows stay the same, flushes go on, old versions are
 * found in files that Spark wrote.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  catalogueOf,
  compact,
  currentSnapshot,
  expireSnapshots,
  flushToIceberg,
  identOf,
  type LakeDeps,
  liveEntries,
  removeOrphans,
} from "../../lake/index.ts";
import { FolderStore, initParquetInNode, readTable, ShardModel, testLake } from "../../lake/testing.ts";
import type { Column, TableSchema } from "../../schemas/index.ts";
import { unwrap } from "../../schemas/index.ts";
import { type RunningCatalogue, serveCatalogue } from "./catalogue-server.ts";
import { inPlainForm, sorted, withoutNulls } from "./plain.ts";
import { runPython, withoutSpark } from "./python.ts";

const COLUMNS: Column[] = [
  { id: 1, name: "title", type: "string", nullable: true },
  { id: 2, name: "votes", type: "integer", nullable: true },
];
const TODOS: TableSchema = { table: "todos", version: 1, columns: COLUMNS, lastColumnId: 2, shards: 0 };
const MAIN = identOf({}, "todos", "main");

const folder = mkdtempSync(join(tmpdir(), "lakesync-maintenance-"));
let catalogue: RunningCatalogue;
let deps: LakeDeps;
beforeAll(async () => {
  initParquetInNode();
  catalogue = await serveCatalogue(folder);
  deps = { ...testLake().deps, clock: Date, store: new FolderStore(folder), catalogue: catalogueOf(catalogue.server) };
});
afterAll(() => {
  catalogue.close();
  rmSync(folder, { recursive: true });
});

const ask = <T>(engine: string, more: object = {}) =>
  runPython<T & { rows: Record<string, unknown>[] }>("maintenance.py", {
    engine,
    uri: catalogue.uri,
    token: catalogue.token,
    table: "app.todos",
    ...more,
  });

const plain = (rows: Record<string, unknown>[]) => sorted(rows.map(withoutNulls));
const ours = async () => sorted((await readTable(deps, "todos", "main")).map((row) => inPlainForm(row, COLUMNS)));

/** Spark's calls, and what they answered. */
const SPARK = [
  { name: "rewrite_data_files", arguments: "options => map('rewrite-all', 'true')" },
  { name: "rewrite_position_delete_files", arguments: "options => map('rewrite-all', 'true')" },
  { name: "rewrite_manifests", arguments: "use_caching => false" },
  { name: "expire_snapshots", arguments: "older_than => TIMESTAMP '2100-01-01 00:00:00', retain_last => 1" },
];

test.skipIf(withoutSpark)(
  "[L1] [L3] [F1] Spark's rewrites and expiry leave our tables right, our flushes and compactions go on after them",
  async () => {
    const shard = new ShardModel("s", TODOS);
    const flush = async (rounds: number) => {
      for (let round = 0; round < rounds; round++) {
        for (let at = 0; at < 3; at++) {
          const n = shard.head;
          shard.edit({ op: "INSERT", rowId: `row-${(n * 37) % 101}`, cells: { title: `t${n}`, votes: n } });
          const [known] = [...shard.rowsAt(shard.head).keys()].slice(n % 7);
          if (known) shard.edit({ op: n % 4 === 0 ? "DELETE" : "UPDATE", rowId: known, cells: { votes: -n } });
        }
        unwrap(await flushToIceberg(shard.lease(), deps));
        shard.acknowledge(shard.head);
      }
      const wanted = [...shard.rowsAt(shard.head).values()].map(({ rowId, seq }) => `${rowId} ${seq}`);
      const rows = await readTable(deps, "todos", "main");
      expect(rows.map((row) => `${row._id} ${row._seq}`).sort()).toEqual(wanted.sort());
    };
    const compactAll = async () => {
      for (let more = true; more; )
        more = unwrap(await compact(deps, MAIN, { targetRows: 40, minInputs: 2, groupRows: 5 })).state === "compacted";
    };

    await flush(12);
    const before = await ours();
    const spark = await ask<Record<string, Record<string, string>>>("spark", { calls: SPARK });
    expect(Number(spark.rewrite_data_files?.rewritten_data_files_count)).toBeGreaterThan(5);
    expect(Number(spark.expire_snapshots?.deleted_data_files_count)).toBeGreaterThan(5);
    expect(plain(spark.rows)).toEqual(before);
    expect(await ours()).toEqual(before);

    await flush(6); // old versions lie in files that Spark wrote
    const operations = unwrap(await deps.catalogue.load(MAIN)).metadata.snapshots?.map(
      (each) => each.summary.operation,
    );
    expect(operations).toContain("overwrite");
    await compactAll();
    expect(plain((await ask("pyiceberg")).rows)).toEqual(await ours());

    // And Spark again on what our compaction left, deletes on top of it included.
    await flush(2);
    const again = await ask("spark", { calls: SPARK });
    expect(plain(again.rows)).toEqual(await ours());
    await flush(2);
    await compactAll();
    unwrap(await expireSnapshots(deps, MAIN, { olderThanMs: 0, retainLast: 1, gracePeriodMs: 0 }));
    unwrap(await removeOrphans(deps, MAIN, { olderThanMs: -60_000, gracePeriodMs: 0 }));
    expect(plain((await ask("pyiceberg")).rows)).toEqual(await ours());
    const { metadata } = unwrap(await deps.catalogue.load(MAIN));
    expect(metadata.snapshots).toHaveLength(1);
    const live = await liveEntries(deps.store, currentSnapshot(metadata), "data");
    expect(live.length).toBeLessThan(6);
  },
);

/**
 * compact: the files of 1,000 small flushes, three rows in ten of them updates, into clean ones. Beside it the same rows read
 * and written again with nothing merged. And one query of DuckDB's over the table's files, before and after.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import type { TableIdent } from "../../core/index.ts";
import { compact as compactOnce, currentSnapshot, type LakeDeps, liveEntries } from "../../lake/index.ts";
import { FolderStore, initParquetInNode, rewriteUnmerged, smallFlushes, testLake } from "../../lake/testing.ts";
import { unwrap } from "../../schemas/index.ts";
import { type Bench, sheet } from "../bench.ts";
import { measure, median, progress, ratioOf, timed } from "../stats.ts";

const FLUSHES = 1000;
const EDITS = 200;
const ROUNDS = 5;
const QUERIES = 5;

interface Live {
  readonly data: readonly string[];
  readonly deletes: readonly string[];
  readonly bytes: number;
}

async function liveFiles(deps: LakeDeps, ident: TableIdent): Promise<Live> {
  const snapshot = currentSnapshot(unwrap(await deps.catalogue.load(ident)).metadata);
  const [data, deletes] = [
    await liveEntries(deps.store, snapshot, "data"),
    await liveEntries(deps.store, snapshot, "deletes"),
  ].map((entries) => entries.map((entry) => entry.data_file));
  const all = [...(data ?? []), ...(deletes ?? [])];
  return {
    data: (data ?? []).map((file) => fileURLToPath(file.file_path)),
    deletes: (deletes ?? []).map((file) => fileURLToPath(file.file_path)),
    bytes: all.reduce((sum, file) => sum + file.file_size_in_bytes, 0),
  };
}

/** Milliseconds of a query over live rows, as a reader of Iceberg would ask: its delete files applied. */
async function queryMs(duckdb: DuckDBConnection, { data, deletes }: Live, rows: number): Promise<number> {
  const list = (files: readonly string[]) => `[${files.map((file) => `'${file}'`).join(", ")}]`;
  const scan = `SELECT * FROM read_parquet(${list(data)}, filename = true, file_row_number = true) d`;
  const live =
    deletes.length === 0
      ? scan
      : `${scan} WHERE NOT EXISTS (SELECT 1 FROM read_parquet(${list(deletes)}) x
           WHERE x.pos = d.file_row_number AND x.file_path = 'file://' || d.filename)`;
  const times: number[] = [];
  for (let at = 0; at < QUERIES; at++) {
    let count = 0;
    const sql = `SELECT count(*)::INTEGER AS n, sum(votes), max(title) FROM (${live})`;
    times.push(
      await timed(async () => {
        count = Number((await duckdb.runAndReadAll(sql)).getRowsJS()[0]?.[0]);
      }),
    );
    if (count !== rows) throw new Error(`DuckDB counts ${count} of ${rows} rows`);
  }
  return median(times);
}

export const compact: Bench = {
  name: "compact",
  async run() {
    const out = sheet();
    initParquetInNode();
    const duckdb = await (await DuckDBInstance.create()).connect();
    const rates: Record<"ours" | "theirs", number[]> = { ours: [], theirs: [] };
    const queries: Record<"before" | "after", number[]> = { before: [], after: [] };
    const bytes: Record<"before" | "after", number> = { before: 0, after: 0 };
    let files = 0;
    for (let round = 0; round < ROUNDS; round++) {
      progress(`compact: round ${round + 1} of ${ROUNDS}`);
      const folder = mkdtempSync(join(tmpdir(), "lakesync-compact-"));
      try {
        const { deps } = testLake({ store: new FolderStore(folder), seed: round + 1 });
        const { ident, rows } = await smallFlushes(deps, { flushes: FLUSHES, edits: EDITS });
        const before = await liveFiles(deps, ident);
        queries.before.push(await queryMs(duckdb, before, rows));
        const read = FLUSHES * EDITS;
        const theirs = await timed(async () => {
          if ((await rewriteUnmerged(deps, ident)) !== read) throw new Error("not every row was written again");
        });
        const ours = await timed(async () => {
          while (unwrap(await compactOnce(deps, ident)).state === "compacted");
        });
        rates.ours.push((read * 1000) / ours);
        rates.theirs.push((read * 1000) / theirs);
        const after = await liveFiles(deps, ident);
        queries.after.push(await queryMs(duckdb, after, rows));
        files = after.data.length + after.deletes.length;
        Object.assign(bytes, { before: before.bytes, after: after.bytes });
      } finally {
        rmSync(folder, { recursive: true });
      }
    }
    out.ratio("small1000", ratioOf(rates.ours, rates.theirs));
    out.ratio("query", ratioOf(queries.before, queries.after));
    out.figure("small1000PerSecond", measure(rates.ours), "rows/s");
    out.figure("small1000BarePerSecond", measure(rates.theirs), "rows/s");
    out.figure("queryBeforeMs", measure(queries.before), "ms");
    out.figure("queryAfterMs", measure(queries.after), "ms");
    out.figure("bytesBefore", bytes.before, "bytes");
    out.figure("bytesAfter", bytes.after, "bytes");
    out.figure("filesAfter", files, "files");
    return out;
  },
};

/** Iceberg as a destination of flushes, beside Postgres, MySQL and BigQuery. Thin over iceberg/. */
import type {
  DatabaseAdapter,
  DeltasSinceQuery,
  FlushBatch,
  FlushReceipt,
  HistoryBatch,
  LatestStateQuery,
  RowBatch,
  ShardProgress,
} from "../core/index.ts";
import type { LakeSyncError, Result, TableSchema } from "../schemas/index.ts";
import { attempt } from "../schemas/index.ts";
import { flushToIceberg, type LakeDeps } from "./iceberg/index.ts";
import { KINDS } from "./iceberg/layout.ts";
import { deltasSince, lakeProgress, latestState } from "./iceberg/read-back.ts";
import { ensureTable } from "./iceberg/tables.ts";

export class IcebergAdapter implements DatabaseAdapter {
  readonly #deps: LakeDeps;

  constructor(deps: LakeDeps) {
    this.#deps = deps;
  }

  ensureSchema(table: TableSchema): Promise<Result<void, LakeSyncError>> {
    return attempt(async () => {
      for (const kind of KINDS) await ensureTable(this.#deps, table, kind);
    });
  }

  insertDeltas(batch: FlushBatch): Promise<Result<FlushReceipt, LakeSyncError>> {
    return flushToIceberg(batch, this.#deps);
  }

  queryDeltasSince(query: DeltasSinceQuery): Promise<Result<HistoryBatch, LakeSyncError>> {
    return attempt(() => deltasSince(this.#deps, query));
  }

  getLatestState(query: LatestStateQuery): Promise<Result<RowBatch, LakeSyncError>> {
    return attempt(() => latestState(this.#deps, query));
  }

  progress(table: TableSchema): Promise<Result<readonly ShardProgress[], LakeSyncError>> {
    return attempt(() => lakeProgress(this.#deps, table));
  }

  async close(): Promise<void> {}
}

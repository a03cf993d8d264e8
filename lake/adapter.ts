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

  readonly #gatewayId: string | undefined;

  /** @param gatewayId whose lake it is, for destinations that several gateways share and that copy from here */
  constructor(deps: LakeDeps, gatewayId?: string) {
    this.#deps = deps;
    this.#gatewayId = gatewayId;
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
    const gatewayId = this.#gatewayId;
    return attempt(async () => {
      const progress = await lakeProgress(this.#deps, table);
      return gatewayId === undefined ? progress : progress.map((shard) => ({ gatewayId, ...shard }));
    });
  }

  async close(): Promise<void> {}
}

/** A shard in this process that is pushed to and flushed, for tests that break what it flushes to. */
import { type FlushSource, ShardEngine } from "../../core/index.ts";
import { NodeSqlStore } from "../../core/testing.ts";
import {
  batchDeltas,
  type ClientId,
  type Delta,
  err,
  isLakeSyncError,
  type LakeSyncError,
  ok,
  type Result,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";

/** What tests of backends flush. */
export const TABLE: TableSchema = {
  table: "todos",
  version: 1,
  columns: [
    { id: 1, name: "title", type: "string", nullable: true },
    { id: 2, name: "votes", type: "integer", nullable: true },
  ],
  lastColumnId: 2,
  shards: 0,
};

export class FlushedShard {
  readonly gatewayId = "demo";
  readonly shard = "main";
  readonly engine = new ShardEngine(new NodeSqlStore());
  /** What was acknowledged, in the order of seqs. */
  readonly acknowledged: Delta[] = [];
  /** How much later it is for leases: who holds one has died. Milliseconds. */
  later = 0;

  constructor(table: TableSchema) {
    const { gatewayId, shard } = this;
    const owns = { [table.table]: { index: 0, of: 1 } };
    const rules = { buckets: [] };
    this.engine.configure({ gatewayId, shard, version: 1, rulesVersion: 1, rules, tables: [table], owns });
  }

  /** Edits of one client, each later than the one before. */
  push(clientId: ClientId, edits: readonly Delta[]): void {
    const claims = { sub: "root", role: "admin" } as const;
    const input = { clientId, claims, nowMs: Date.now(), batches: batchDeltas(edits), deltas: [] };
    const { rejected } = unwrap(this.engine.push(input));
    if (rejected.length > 0) throw new Error(`refused: ${rejected[0]?.message}`);
    this.acknowledged.push(...edits);
  }

  source(): FlushSource {
    const { engine, gatewayId, shard } = this;
    const answer = async <T>(body: () => T): Promise<Result<T, LakeSyncError>> => {
      try {
        return ok(body());
      } catch (error) {
        if (isLakeSyncError(error)) return err(error);
        throw error;
      }
    };
    const now = () => Date.now() + this.later;
    return {
      gatewayId,
      shard,
      lease: (token, atOnce) => answer(() => engine.lease(now(), token, atOnce)),
      renew: (token) => answer(() => engine.renew(token, now())),
      flushRows: (token, table, after) => answer(() => engine.flushRows(token, table, after)),
      flushHistory: (token, table, after) => answer(() => engine.flushHistory(token, table, after)),
      settle: (token, results) => answer(() => engine.settle(token, results, now())),
    };
  }
}

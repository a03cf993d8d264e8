/** A destination that knows no more than a lake does: of a row its newest clock, no client, no tombstone, no way to let rows go. */
import type { DatabaseAdapter, LatestStateQuery } from "../../core/index.ts";
import { type ClientId, makeStamp, ok, stampHlc } from "../../schemas/index.ts";

export const lakeLike = (adapter: DatabaseAdapter): DatabaseAdapter => ({
  ensureSchema: (table) => adapter.ensureSchema(table),
  insertDeltas: (batch) => adapter.insertDeltas(batch),
  queryDeltasSince: (query) => adapter.queryDeltasSince(query),
  progress: (table) => adapter.progress(table),
  async getLatestState({ tombstones: _, ...query }: LatestStateQuery) {
    const page = await adapter.getLatestState(query);
    if (!page.ok) return page;
    const { marks: __, ...rest } = page.value;
    const stamps = rest.stamps.map((stamp) => makeStamp(stampHlc(stamp), "" as ClientId));
    return ok({ ...rest, stamps, cellStamps: rest.columns.map(() => stamps) });
  },
  close: () => adapter.close(),
});

/** Rows that have left their shard, read from where they lie. */
import { type ColdAsk, type LakeAdapter, type PackedRow, restoreRows } from "../../core/index.ts";
import type { TableSchema } from "../../schemas/index.ts";
import { type CheckpointPlace, getChunk } from "../checkpoint/index.ts";

/** Objects under way at once: a Worker has six connections, a chunk is two objects. */
const CONCURRENCY = 3;

export interface ColdRows {
  readonly rows: readonly PackedRow[];
  /** Ids that were looked for in all places that they can be in, or were found. */
  readonly asked: readonly string[];
  readonly chunks: number;
}

/**
 * Looks for rows in the newest place first. Throws LakeSyncError for a store that does not answer.
 * @param chunksMax to read; with rows in more, some are neither found nor asked
 */
export async function readCold(
  store: LakeAdapter,
  { gatewayId, shard }: CheckpointPlace,
  table: TableSchema,
  asks: readonly ColdAsk[],
  chunksMax: number,
): Promise<ColdRows> {
  const rows: PackedRow[] = [];
  const asked: string[] = [];
  let chunks = 0;
  let waiting = asks.map((ask) => ({ id: ask.id, places: [...ask.places] }));
  while (waiting.length > 0 && chunks < chunksMax) {
    const groups = [...Map.groupBy(waiting, ({ places: [place] }) => `${place?.run}/${place?.chunk.name}`).values()];
    const some = groups.slice(0, Math.min(CONCURRENCY, chunksMax - chunks));
    chunks += some.length;
    await Promise.all(
      some.map(async (group) => {
        const [place] = group[0]?.places ?? [];
        if (!place) return;
        const { run, chunk } = place;
        const { batches, rest } = await getChunk(store, { gatewayId, shard, cold: true, run }, table.table, chunk);
        const held = new Map(restoreRows(table, batches, rest).map((row) => [row.id, row]));
        for (const ask of group) {
          const row = held.get(ask.id);
          if (row) rows.push(row);
          ask.places.shift();
          if (row || ask.places.length === 0) asked.push(ask.id);
        }
      }),
    );
    const done = new Set(asked);
    waiting = waiting.filter(({ id }) => !done.has(id));
  }
  return { rows, asked, chunks };
}

/** A shard engine as a source of checkpoints, and what devices make of them. */
import {
  type CheckpointManifest,
  type CheckpointSource,
  indexedColumns,
  type LakeAdapter,
  type ShardEngine,
  selectorsOf,
  tableAccess,
} from "../../core/index.ts";
import { type Claims, type DeltaBatch, ok, type Seq } from "../../schemas/index.ts";
import { getChunk, lookUp } from "../checkpoint/index.ts";

/** @param between called at each call, with the shard unlocked: other devices push then */
export function sourceOf(
  engine: ShardEngine,
  between: () => void = () => undefined,
  maxChars?: number,
): CheckpointSource {
  const { gatewayId, shard, tables, rules } = engine.config as NonNullable<typeof engine.config>;
  const answer = async <T>(body: () => T) => {
    between();
    return ok(body());
  };
  return {
    gatewayId,
    shard,
    start: () =>
      answer(() => ({
        head: engine.head as Seq,
        tables: tables.map((schema) => ({ schema, indexed: indexedColumns(rules, schema) })),
      })),
    rows: (table, after) => answer(() => engine.checkpointRows(table, after, maxChars)),
    changes: (names, since) => answer(() => engine.checkpointChanges(names, since, maxChars)),
    clocks: (names) => answer(() => ({ clocks: engine.clientClocks(names), head: engine.head as Seq })),
    remembers: (seq) => answer(() => engine.remembers(seq)),
    landed: () => answer(() => undefined),
  };
}

/** What a token gets of a checkpoint, as the Worker gives it: chunks, or rows that an index names; undefined where neither. */
export async function served(
  store: LakeAdapter,
  manifest: CheckpointManifest,
  engine: ShardEngine,
  claims: Claims,
): Promise<DeltaBatch[] | undefined> {
  const { gatewayId, shard, tables, rules } = engine.config as NonNullable<typeof engine.config>;
  const place = { gatewayId, shard, run: manifest.run };
  const batches: DeltaBatch[] = [];
  for (const { table, chunks, late, indexes } of manifest.tables) {
    const schema = tables.find((t) => t.table === table);
    if (!schema) continue;
    if (tableAccess(rules, schema, claims).seesAll) {
      for (const info of [...chunks, ...late]) batches.push(...(await getChunk(store, place, table, info)).batches);
      continue;
    }
    const selectors = selectorsOf(rules, schema, claims);
    if (!selectors) return undefined;
    for (const selector of selectors)
      for (const run of indexes.find((index) => index.columnId === selector.column.id)?.runs ?? [])
        batches.push(...engine.pick(claims, table, await lookUp(store, place, run, [selector])));
  }
  return batches;
}

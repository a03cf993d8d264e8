/** What adapters that are made of others have in common. */
import type { DatabaseAdapter, ShardProgress } from "../core/index.ts";
import type { Seq, TableSchema } from "../schemas/index.ts";

const TIER = "~tier";
/** The source under which two tiers hand rows to each other, without their history; the name of no shard. */
export const tierSource = (depth: number): string => `${TIER}${depth}`;
export const isTier = (shard: string): boolean => shard.startsWith(TIER);

export interface Composed extends DatabaseAdapter {
  /** The adapters that a table's data is in; first the one that flushes go to. */
  partsFor(table: TableSchema): readonly DatabaseAdapter[];
}

const isComposed = (adapter: DatabaseAdapter): adapter is Composed => "partsFor" in adapter;

/** An adapter and those that it is made of, as far as they hold a table, the outermost first. */
export function* within(adapter: DatabaseAdapter, table: TableSchema): Generator<DatabaseAdapter> {
  yield adapter;
  if (isComposed(adapter)) for (const part of adapter.partsFor(table)) yield* within(part, table);
}

/** The adapter that a table's flushes end in. */
export function innermost(adapter: DatabaseAdapter, table: TableSchema): DatabaseAdapter {
  const [first] = isComposed(adapter) ? adapter.partsFor(table) : [];
  return first ? innermost(first, table) : adapter;
}

/** Whether all of these can be, or be part of, a hot tier. */
export const evictable = (adapters: readonly DatabaseAdapter[]): boolean =>
  adapters.every((adapter) => adapter.evictRows !== undefined);

/** What a destination holds of a shard that another names; one of the two may not know whose shard it is. */
export function watermarkIn(
  progress: readonly ShardProgress[],
  source: Pick<ShardProgress, "gatewayId" | "shard">,
): Seq {
  const same = progress.find(
    ({ shard, gatewayId }) =>
      shard === source.shard && (gatewayId ?? source.gatewayId) === (source.gatewayId ?? gatewayId),
  );
  return same?.watermark ?? (0 as Seq);
}

/** Closes each once. */
export async function closeAll(adapters: Iterable<DatabaseAdapter>): Promise<void> {
  await Promise.all([...new Set(adapters)].map((adapter) => adapter.close()));
}

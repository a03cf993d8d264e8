/** What the tenant tells a shard, kept in the shard so that it decides without asking. */
import type { SyncRules, TableSchema } from "../../schemas/index.ts";

export interface ShardConfig {
  readonly gatewayId: string;
  /** The shard's own name in the shard map. */
  readonly shard: string;
  /** Grows with every change of anything here. */
  readonly version: number;
  /** Of the sync rules alone: cursors are bound to it (PL5). */
  readonly rulesVersion: number;
  readonly rules: SyncRules;
  /** All of the tenant's: a row of a table that lives elsewhere is `ShardMoved`, not unknown. */
  readonly tables: readonly TableSchema[];
  /** Part of each table's rows that this shard owns; absent for a table that lives elsewhere. */
  readonly owns: Readonly<Record<string, ShardSlice>>;
}

/** Rows whose hash modulo `of` is `index`. `of` is 1 for a whole table. */
export interface ShardSlice {
  readonly index: number;
  readonly of: number;
  /** The rows are on the move: they may be read here, not written. */
  readonly sealed?: boolean;
}

/** FNV-1a over UTF-8, 32 bits: which shard of a table a row goes to. Fixed for ever: rows would move otherwise (PU4). */
export function rowHash(rowId: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(rowId)) {
    hash ^= byte;
    hash = Math.imul(hash, 0x01000193);
  }
  return hash >>> 0;
}

export const ownsRow = (slice: ShardSlice | undefined, rowId: string): boolean =>
  slice !== undefined && !slice.sealed && (slice.of === 1 || rowHash(rowId) % slice.of === slice.index);

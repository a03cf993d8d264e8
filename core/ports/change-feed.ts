/**
 * Edits that other programs make in a database's table, on their way into sync. The database keeps each until it was
 * settled, so that a reader that dies at any step loses nothing.
 *
 *   read      what waits, in order, each edit with the clock that it was given: the same until it is settled
 *   push      as any device's
 *   settle    what was taken is forgotten, what was refused is set aside with its reason
 */
import type { ClientId, HlcText, LakeSyncError, Result, Scalar, TableSchema } from "../../schemas/index.ts";

export interface ForeignEdit {
  /** In the feed. */
  readonly id: string;
  readonly letter: "I" | "U" | "D";
  readonly rowId: string;
  /** Given at the first reading, and kept. */
  readonly hlc: HlcText;
  /** Cells that changed, by column name, canonical where the database's value can be; what cannot be is refused by the push. */
  readonly cells: Readonly<Record<string, Scalar>>;
}

export interface ForeignEdits {
  /** Who made them, as far as sync is told: one name for each feed of a table. */
  readonly clientId: ClientId;
  readonly edits: readonly ForeignEdit[];
  /** Whether more waits. */
  readonly more: boolean;
}

export interface Backlog {
  /** Edits that wait. */
  readonly waiting: number;
  /** When the oldest of them was made, milliseconds since 1970 by the database's clock; null where none waits. */
  readonly oldestMs: number | null;
  /** Edits that were set aside, and the reason of the last. */
  readonly refused: number;
  readonly lastRefusal: string | null;
}

export interface ChangeFeed {
  /** From now on every edit is kept that does not come from sync; rows that were put in before, too. Idempotent. */
  follow(table: TableSchema): Promise<Result<void, LakeSyncError>>;
  /** Ends that; what waits is dropped. */
  unfollow(table: TableSchema): Promise<Result<void, LakeSyncError>>;
  /** @param now by the clock that stamps are made by, milliseconds since 1970: the database's may be off */
  read(table: TableSchema, now: () => number): Promise<Result<ForeignEdits, LakeSyncError>>;
  settle(
    table: TableSchema,
    taken: readonly string[],
    refused: readonly { readonly id: string; readonly reason: string }[],
  ): Promise<Result<void, LakeSyncError>>;
  /** Undefined for a table that is not followed. */
  backlog(table: TableSchema): Promise<Result<Backlog | undefined, LakeSyncError>>;
  close(): Promise<void>;
}

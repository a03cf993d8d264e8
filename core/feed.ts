/**
 * From a feed of a database's edits into a shard (ports/change-feed.ts). Killed anywhere, it does the same again: stamps are
 * kept in the feed, so that an edit that comes twice is one edit (PU2).
 */
import {
  type ClientId,
  type DeltaBatch,
  DeltaBatchBuilder,
  ERRORS,
  type ErrorCode,
  HLC_COUNTER_MAX,
  type HlcText,
  hlcCounter,
  hlcMillis,
  type LakeSyncError,
  ok,
  packHlc,
  type Result,
  type TableSchema,
} from "../schemas/index.ts";
import type { ChangeFeed } from "./ports/index.ts";

/** Pages that one call takes; the rest is for the next. */
const PAGES_MAX = 50;

/**
 * The clock of an edit that somebody made in a database: when it was made, but after all that its row showed then, and after
 * the feed's edit before it. So it beats what it was made over, and edits of a row keep their order.
 * @param atMs by the gateway's clock @param seen newest clock in the row, "" for none @param last the feed's newest
 */
export function foreignClock(atMs: number, seen: HlcText | "", last: HlcText | ""): HlcText {
  const made = packHlc(Math.max(0, Math.floor(atMs)), 0);
  const newest = seen > last ? seen : last;
  return made > newest ? made : after(newest as HlcText);
}

const after = (hlc: HlcText): HlcText =>
  hlcCounter(hlc) < HLC_COUNTER_MAX ? packHlc(hlcMillis(hlc), hlcCounter(hlc) + 1) : packHlc(hlcMillis(hlc) + 1, 0);

export interface RefusedEdit {
  readonly rowId: string;
  readonly hlc: HlcText;
  readonly code: ErrorCode;
  readonly message: string;
}

/** Pushes edits as the feed's client, with an admin's rights. @returns those that were refused one by one */
export type PushEdits = (
  clientId: ClientId,
  batch: DeltaBatch,
) => Promise<Result<readonly RefusedEdit[], LakeSyncError>>;

export interface Taken {
  /** Edits that are in sync now, repeated ones included. */
  readonly taken: number;
  readonly refused: number;
  readonly more: boolean;
}

/** Takes what waits in a table's feed. @param now milliseconds since 1970, by the gateway's clock */
export async function takeEdits(
  feed: Pick<ChangeFeed, "read" | "settle">,
  table: TableSchema,
  push: PushEdits,
  now: () => number,
): Promise<Result<Taken, LakeSyncError>> {
  let taken = 0;
  let refused = 0;
  for (let pages = 1; ; pages++) {
    const page = await feed.read(table, now);
    if (!page.ok) return page;
    const { clientId, edits, more } = page.value;
    if (edits.length === 0) return ok({ taken, refused, more: false });
    const batch = new DeltaBatchBuilder(table.table);
    for (const { letter, rowId, hlc, cells } of edits) batch.add(letter, rowId, hlc, clientId, cells);
    const pushed = await push(clientId, batch.build());
    if (!pushed.ok) return pushed;
    const why = new Map(pushed.value.map((each) => [each.hlc + each.rowId, each]));
    const done: string[] = [];
    const aside: { id: string; reason: string }[] = [];
    let waits = false;
    for (const { id, hlc, rowId } of edits) {
      const refusal = why.get(hlc + rowId);
      if (!refusal) done.push(id);
      else if (ERRORS[refusal.code].retry) waits = true;
      else aside.push({ id, reason: `${refusal.code}: ${refusal.message}` });
    }
    const settled = await feed.settle(table, done, aside);
    if (!settled.ok) return settled;
    taken += done.length;
    refused += aside.length;
    if (!more || waits || pages === PAGES_MAX) return ok({ taken, refused, more: more || waits });
  }
}

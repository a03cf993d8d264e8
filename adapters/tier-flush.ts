/**
 * A flush into a table with tiers. A database merges what it is flushed from the history, and an edit of a row that has
 * aged finds nothing there to merge with. So before the flush, hot is given what it lacks:
 *
 *   an aged row that     is changed by the flush      comes back as the gateway has it, every stamp exact
 *                        is named, but unchanged      is lent by cold, so that the edit loses as it did before
 *
 *   cold: which of the rows are there? -> hot: changed and lent rows -> hot: the flush
 *     -> cold's copies of changed rows are brought in line, lent rows go again
 *
 * Killed between any two steps the flush is delivered again. When rows moved to cold meanwhile (its mark did), the flush is looked at again.
 */
import type { FlushBatch, FlushReceipt } from "../core/index.ts";
import {
  type ClientId,
  LakeSyncError,
  makeStamp,
  NO_STAMP,
  stampClient,
  stampHlc,
  type TableSchema,
  unwrap,
} from "../schemas/index.ts";
import { watermarkIn } from "./composed.ts";
import { type Row, rowsIn, sameRow } from "./rows.ts";
import { align, bring, evict, markOf, rowsOf, type Tiers } from "./tiers.ts";

/** How often rows may move under a flush. */
const ROUNDS = 5;

/** @throws LakeSyncError */
export async function flushToTiers(tiers: Tiers, batch: FlushBatch): Promise<FlushReceipt> {
  const { hot, cold, source } = tiers;
  const { table } = batch;
  const held = watermarkIn(unwrap(await hot.progress(table)), batch);
  // An old range again: what it says of rows is out of date.
  if (held > batch.toSeq) return unwrap(await hot.insertDeltas(batch));
  const named = await rowsNamed(batch);
  if (named.old.length === 0 && named.risen.length === 0) return unwrap(await hot.insertDeltas(batch));
  let receipt: FlushReceipt | undefined;
  const lent = new Map<string, Row>();
  for (let round = 0; round < ROUNDS; round++) {
    const mark = await markOf(cold, table, source);
    const inCold = await rowsOf(cold, table, named.old);
    if (held < batch.toSeq) for (const row of await prepareHot(tiers, table, named, inCold)) lent.set(row.id, row);
    const { watermark, rows, deltas } = unwrap(await hot.insertDeltas(batch));
    receipt = { watermark, rows: rows + (receipt?.rows ?? 0), deltas: deltas + (receipt?.deltas ?? 0) };
    if ((await markOf(cold, table, source)) === mark) {
      await align(tiers, table, [...inCold.keys()], named.changed);
      await giveBack(tiers, table, inCold, lent);
      return receipt;
    }
  }
  throw overtaken(table);
}

interface Named {
  /** As the gateway has them, of rows that may have aged. */
  readonly changed: ReadonlyMap<string, Row>;
  /** Ids of rows that may have aged: all that the flush names, but those that no flush handed over before. */
  readonly old: readonly string[];
  /** Live rows that were deleted once: cells written while they were dead are in no history that hot still has. */
  readonly risen: readonly Row[];
}

async function rowsNamed(batch: FlushBatch): Promise<Named> {
  const changed = new Map<string, Row>();
  const fresh = new Set<string>();
  const risen: Row[] = [];
  for await (const page of batch.rows()) {
    let at = 0;
    for (const row of rowsIn(page)) {
      if ((page.flushedSeqs[at++] as number) > 0 || row.deleted) changed.set(row.id, row);
      else fresh.add(row.id);
      if (!row.deleted && row.marks && row.marks[1] !== NO_STAMP) risen.push(row);
    }
  }
  const old = new Set(changed.keys());
  for await (const { batch: edits } of batch.history()) for (const id of edits.rowIds) if (!fresh.has(id)) old.add(id);
  return { changed, old: [...old], risen };
}

/** @returns rows that cold lent */
async function prepareHot(
  tiers: Tiers,
  table: TableSchema,
  { changed, risen }: Named,
  inCold: ReadonlyMap<string, Row>,
): Promise<readonly Row[]> {
  const ids = [...inCold.keys()];
  const { hot, source } = tiers;
  const inHot = await rowsOf(hot, table, ids, true);
  const gone = await evict(hot, table, leftOf(inHot, inCold));
  const aged = ids.filter((id) => !inHot.has(id) || gone.has(id));
  const lent = aged.flatMap((id) => (changed.has(id) ? [] : [unbeaten(inCold.get(id) as Row)]));
  const back = [...aged.flatMap((id) => changed.get(id) ?? []).filter(({ deleted }) => !deleted), ...risen];
  const wanted = new Map([...lent, ...back].map((row) => [row.id, row]));
  const brought = await bring(hot, table, source, [...wanted.keys()], (there, some) =>
    some.flatMap((id) => ((there.get(id)?.deleted ?? true) ? [wanted.get(id) as Row] : [])),
  );
  if (!brought) throw overtaken(table);
  return lent;
}

/** Greater than every client: what a tier that knows no clients lends loses to none of the edits that lost before. */
const NOBODY = "~" as ClientId;

function unbeaten(row: Row): Row {
  if (stampClient(row.stamp) !== "") return row;
  const stamp = makeStamp(stampHlc(row.stamp), NOBODY);
  return { ...row, stamp, marks: [stamp, NO_STAMP], cellStamps: row.cellStamps.map(() => stamp) };
}

/** Rows that such a tier lent in a flush that was killed. */
const leftOf = (inHot: ReadonlyMap<string, Row>, inCold: ReadonlyMap<string, Row>): Row[] =>
  [...inHot.values()].filter((row) => stampClient(row.stamp) === NOBODY && sameRow(row, inCold.get(row.id) as Row));

/** What was lent, now or in a flush that was killed, and did not change is in cold as before. */
async function giveBack(
  { hot }: Tiers,
  table: TableSchema,
  inCold: ReadonlyMap<string, Row>,
  lent: ReadonlyMap<string, Row>,
): Promise<void> {
  const inHot = await rowsOf(hot, table, [...inCold.keys()]);
  const left = leftOf(inHot, inCold);
  const same = [...lent.keys()].flatMap((id) => {
    const [row, copy] = [inHot.get(id), inCold.get(id)];
    return row && copy && sameRow(row, copy) ? [row] : [];
  });
  await evict(hot, table, [...new Set([...left, ...same])]);
}

const overtaken = ({ table }: TableSchema): LakeSyncError =>
  new LakeSyncError(
    "CommitConflict",
    `Rows of ${table} are being moved between tiers by others; it will be tried again.`,
    {
      table,
    },
  );

/**
 * Two tiers of one table, and how rows go from one to the other (lifecycle.ts says when).
 *
 * What one tier hands the other goes under a source of its own, as rows without history. Each write claims a
 * stride of its seqs above the mark that was read before the rows were looked at: of two that began at one mark only one
 * lands, the other finds its range taken and does nothing.
 */
import type { DatabaseAdapter, FlushBatch } from "../core/index.ts";
import {
  hlcMillis,
  NO_STAMP,
  ok,
  PAGE_ROWS_MAX,
  type Seq,
  stampHlc,
  type TableSchema,
  TIER_ROWS,
  unwrap,
} from "../schemas/index.ts";
import { innermost } from "./composed.ts";
import { type Row, rowBatchOf, rowsIn, sameRow } from "./rows.ts";

const STRIDE = PAGE_ROWS_MAX;
/** How often a write that was overtaken is begun again. */
const RESTARTS = 5;

export interface Tiers {
  readonly hot: DatabaseAdapter;
  readonly cold: DatabaseAdapter;
  /** Name under which the two hand each other rows; tiers within tiers have others. */
  readonly source: string;
}

type Rows = ReadonlyMap<string, Row>;
type Version = Pick<Row, "id" | "stamp" | "seq">;

/** Where a tier stands with what it was handed. */
export async function markOf(tier: DatabaseAdapter, table: TableSchema, source: string): Promise<Seq> {
  const progress = unwrap(await innermost(tier, table).progress(table));
  return progress.find(({ shard }) => shard === source)?.watermark ?? (0 as Seq);
}

/** @param mark of the tier when the rows were looked at: if it moved since, nothing is written */
export async function handOver(
  to: DatabaseAdapter,
  table: TableSchema,
  source: string,
  mark: Seq,
  rows: readonly Row[],
): Promise<void> {
  const own = rows.map((row, at) => ({ ...row, seq: (mark + 1 + at) as Seq }));
  const batch: FlushBatch = {
    gatewayId: source,
    shard: source,
    table,
    fromSeq: mark,
    toSeq: (mark + STRIDE) as Seq,
    toMs: rows.reduce((ms, { stamp }) => Math.max(ms, hlcMillis(stampHlc(stamp))), 0),
    async *rows() {
      yield rowBatchOf(table, own);
    },
    async *history() {},
  };
  unwrap(await to.insertDeltas(batch));
}

/** Rows of a tier by id; with tombstones, those that were deleted too. */
export async function rowsOf(
  tier: DatabaseAdapter,
  table: TableSchema,
  ids: readonly string[],
  tombstones = false,
): Promise<Map<string, Row>> {
  const found = new Map<string, Row>();
  for (let from = 0; from < ids.length; from += TIER_ROWS) {
    const some = ids.slice(from, from + TIER_ROWS);
    const page = await tier.getLatestState({ table, ids: some, limit: some.length, tombstones });
    for (const row of rowsIn(unwrap(page))) if (!row.deleted || wasDeleted(row)) found.set(row.id, row);
  }
  return found;
}

/** A database may remember edits of a row that it never saw inserted; that is no tombstone. */
export const wasDeleted = ({ deleted, marks }: Row): boolean => deleted && marks?.[1] !== NO_STAMP;

/** @returns ids of those that were there in that version */
export async function evict(
  tier: DatabaseAdapter,
  table: TableSchema,
  rows: readonly Version[],
): Promise<ReadonlySet<string>> {
  if (rows.length === 0) return new Set();
  const rowIds = rows.map(({ id }) => id);
  const [stamps, seqs] = [rows.map(({ stamp }) => stamp), rows.map(({ seq }) => seq)];
  return new Set(unwrap((await tier.evictRows?.({ table, rowIds, stamps, seqs })) ?? ok([])));
}

/**
 * Makes a tier hold rows that it lacks or has otherwise.
 * @param wanted which of some rows it should be handed, given what it has of them
 * @returns whether it holds them; false when others were faster each time
 */
export async function bring(
  to: DatabaseAdapter,
  table: TableSchema,
  source: string,
  ids: readonly string[],
  wanted: (there: Rows, ids: readonly string[]) => readonly Row[] | Promise<readonly Row[]>,
): Promise<boolean> {
  for (let from = 0; from < ids.length; from += TIER_ROWS) {
    const some = ids.slice(from, from + TIER_ROWS);
    for (let restart = 0; ; restart++) {
      const mark = await markOf(to, table, source);
      const rows = await wanted(await rowsOf(to, table, some, true), some);
      if (rows.length === 0) break;
      if (restart === RESTARTS) return false;
      await handOver(to, table, source, mark, rows);
    }
  }
  return true;
}

/** Makes cold's copies of rows say what hot says of them, or else the gateway. */
export async function align(
  { hot, cold, source }: Tiers,
  table: TableSchema,
  ids: readonly string[],
  gateway: Rows = new Map(),
): Promise<void> {
  await bring(cold, table, source, ids, async (inCold) => {
    const copies = [...inCold.values()].filter(({ deleted }) => !deleted);
    const inHot = await rowsOf(
      hot,
      table,
      copies.map(({ id }) => id),
      true,
    );
    return copies.flatMap((copy) => {
      const row = inHot.get(copy.id) ?? gateway.get(copy.id);
      return row && !sameRow(row, copy) ? [row] : [];
    });
  });
}

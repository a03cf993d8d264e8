/**
 * What one destination holds of a shard, handed to another as flushes: how a secondary catches up (FanOutAdapter), and how
 * a backend is left for another (migrateAdapter).
 *
 *   from: history after the target's watermark, so many edits -> (watermark, seq of the last]
 *         those edits' rows, as they now are
 *   to:   takes both as a flush of that shard, its watermark moves -> the next so many, up to the source's watermark
 *
 * Nothing is remembered but in the target: whoever starts again goes on at its watermark. Rows may be newer than the
 * history beside them, when more happened to them since; the same rows come again with that, and then agree. A row that is
 * gone is told as dead where these edits deleted it; where later edits did, they will tell.
 */
import {
  applyEdit,
  type DatabaseAdapter,
  emptyRow,
  type FlushBatch,
  type HistoryBatch,
  isAlive,
  type RowBatch,
  type RowState,
  type ShardProgress,
} from "../core/index.ts";
import {
  type ClientId,
  cellsAt,
  clientOf,
  compareCodePoints,
  type HlcText,
  makeStamp,
  NO_STAMP,
  REPLAY_CHARS,
  REPLAY_EDITS,
  REPLAY_PAGE,
  type Seq,
  type TableSchema,
  unwrap,
} from "../schemas/index.ts";
import { ANY_VERSION } from "./rows.ts";

export interface ReplayOptions {
  readonly from: DatabaseAdapter;
  readonly to: DatabaseAdapter;
  readonly table: TableSchema;
  /** As `from` says of it: where to stop. */
  readonly source: ShardProgress;
  /** What `to` has of it already. */
  readonly after: Seq;
  /** Ends it between two steps. */
  readonly signal?: AbortSignal | undefined;
}

export interface ReplayStep {
  readonly edits: number;
  readonly watermark: Seq;
}

/** Each step is one flush into the target; ends early when it is told to. @throws LakeSyncError */
export async function* replay(options: ReplayOptions): AsyncGenerator<ReplayStep> {
  const { to, source, signal } = options;
  for (let after = options.after; after < source.watermark; ) {
    if (signal?.aborted) return;
    const chunk = await readChunk(options, after);
    const { watermark } = unwrap(await to.insertDeltas(flushOf(options, after, chunk)));
    yield { edits: chunk.edits, watermark };
    after = chunk.to;
  }
}

interface Chunk {
  readonly pages: readonly HistoryBatch[];
  readonly edits: number;
  readonly to: Seq;
  readonly lastMs: number;
}

/** The next edits after a seq: so many, or so long, or all that there are. */
async function readChunk({ from, table, source }: ReplayOptions, after: Seq): Promise<Chunk> {
  const { shard, gatewayId, watermark } = source;
  const pages: HistoryBatch[] = [];
  let [edits, chars, last, lastMs] = [0, 0, after, 0];
  const next = async (limit: number) => {
    const query = { table, shard, afterSeq: last, limit, ...(gatewayId !== undefined && { gatewayId }) };
    return upTo(watermark, unwrap(await from.queryDeltasSince(query)));
  };
  for (;;) {
    const page = await next(REPLAY_PAGE);
    let ended = page.seqs.length < REPLAY_PAGE;
    if (page.seqs.length > 0) {
      pages.push(page);
      edits += page.seqs.length;
      chars += charsIn(page);
      last = page.seqs.at(-1) as Seq;
      lastMs = page.receivedMs.at(-1) as number;
    }
    const full = edits >= REPLAY_EDITS || chars >= REPLAY_CHARS;
    // The last chunk goes up to the source's watermark, whether or not anything of this table happened there.
    if (full && !ended) ended = (await next(1)).seqs.length === 0;
    if (ended || full) return { pages, edits, to: ended ? watermark : last, lastMs };
  }
}

/** What came after the source told its watermark is left for the next time. */
function upTo(watermark: Seq, page: HistoryBatch): HistoryBatch {
  const count = page.seqs.findLastIndex((seq) => seq <= watermark) + 1;
  if (count === page.seqs.length) return page;
  const { batch } = page;
  return {
    seqs: page.seqs.slice(0, count),
    receivedMs: page.receivedMs.slice(0, count),
    batch: {
      ...batch,
      ops: batch.ops.slice(0, count),
      rowIds: batch.rowIds.slice(0, count),
      hlcs: batch.hlcs.slice(0, count),
      clients: batch.clients.length === 1 ? batch.clients : batch.clients.slice(0, count),
      columns: batch.columns.map(({ name, values }) => ({ name, values: values.slice(0, count) })),
    },
  };
}

const charsIn = ({ batch }: HistoryBatch): number =>
  batch.columns.reduce((sum, { values }) => {
    for (const value of values) sum += typeof value === "string" ? value.length : 8;
    return sum;
  }, 0);

function flushOf({ from, table, source }: ReplayOptions, after: Seq, { pages, to, lastMs }: Chunk): FlushBatch {
  const edited = fold(pages);
  const ids = [...edited.keys()].sort(compareCodePoints);
  return {
    gatewayId: source.gatewayId ?? "",
    shard: source.shard,
    table,
    fromSeq: after,
    toSeq: to,
    toMs: lastMs,
    // A digest is of one moment: only where the shard itself said it.
    ...(to === source.watermark && source.digest !== undefined && { digest: source.digest }),
    async *rows() {
      for (let at = 0; at < ids.length; at += REPLAY_PAGE) {
        const some = ids.slice(at, at + REPLAY_PAGE);
        const state = unwrap(await from.getLatestState({ table, ids: some, limit: some.length }));
        yield rowsOf(table, state, some, edited, to);
      }
    },
    async *history() {
      yield* pages;
    },
  };
}

interface Edited {
  /** What these edits alone make of the row. */
  readonly row: RowState;
  last: Seq;
}

function fold(pages: readonly HistoryBatch[]): Map<string, Edited> {
  const edited = new Map<string, Edited>();
  for (const { batch, seqs } of pages)
    for (const [at, seq] of seqs.entries()) {
      const id = batch.rowIds[at] as string;
      const known = edited.get(id) ?? { row: emptyRow(), last: seq };
      edited.set(id, known);
      known.last = seq;
      const stamp = makeStamp(batch.hlcs[at] as HlcText, clientOf(batch, at) as ClientId);
      applyEdit(known.row, batch.ops[at] as "I" | "U" | "D", stamp, cellsAt(batch, at), seq);
    }
  return edited;
}

/** Rows as they are, and as dead those that are gone and that these edits deleted. */
function rowsOf(
  table: TableSchema,
  state: RowBatch,
  ids: readonly string[],
  edited: ReadonlyMap<string, Edited>,
  to: Seq,
): RowBatch {
  const places = new Map(state.rowIds.map((id, at) => [id, at]));
  const of = (id: string) => edited.get(id) as Edited;
  const isGone = (id: string) => !places.has(id) && of(id).row.deleted > NO_STAMP && !isAlive(of(id).row);
  const kept = ids.filter((id) => places.has(id) || isGone(id));
  const at = kept.map((id) => places.get(id) ?? -1);
  return {
    rowIds: kept,
    stamps: kept.map((id, k) => state.stamps[at[k] as number] ?? of(id).row.deleted),
    seqs: kept.map((id, k) => {
      const seq = state.seqs[at[k] as number] ?? 0;
      return seq > 0 && seq <= to ? seq : of(id).last;
    }) as Seq[],
    deleted: at.map((place) => place < 0),
    flushedSeqs: kept.map(() => ANY_VERSION),
    columns: table.columns.map(({ name }, of) => ({
      name,
      values: at.map((place) => state.columns[of]?.values[place] ?? null),
    })),
    cellStamps: table.columns.map((_, of) => at.map((place) => state.cellStamps[of]?.[place] ?? NO_STAMP)),
  };
}

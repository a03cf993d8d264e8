/**
 * From one backend to another: history and rows, then both read again and compared.
 *
 *   for each table: schema -> each shard's edits after what `to` has of them, with their rows (replay.ts)
 *     -> rows that differ, since no history tells of them -> rows and history of both counted and hashed
 *
 * What is there is known by the watermarks in `to`: stopped anywhere, the next call goes on; run again, it only compares.
 * `from` is only read. Flushes into it meanwhile are copied by the next call: let a FanOutAdapter follow, or stop flushing,
 * before the last one.
 */
import { contentDigest, type DatabaseAdapter, type ShardProgress, TableDigest } from "../core/index.ts";
import {
  attempt,
  cellsAt,
  clientOf,
  compareCodePoints,
  type HlcText,
  LakeSyncError,
  REPLAY_PAGE,
  type Result,
  type Seq,
  stampHlc,
  type TableSchema,
  TIER_ROWS,
  unwrap,
} from "../schemas/index.ts";
import { isTier, watermarkIn } from "./composed.ts";
import { replay } from "./replay.ts";
import { type Row, rowsIn, sameRow } from "./rows.ts";
import { handOver, markOf } from "./tiers.ts";

export interface MigrationProgress {
  readonly table: string;
  readonly phase: "copying" | "comparing";
  /** Of all shards of the table so far, in this call: edits copied, or rows compared. */
  readonly done: number;
  /** Of all shards: seqs that `to` has, of those that `from` has. Not all seqs are edits of this table. */
  readonly seqs: number;
  readonly seqsOf: number;
}

export interface MigratedTable {
  readonly table: string;
  readonly rows: number;
  readonly edits: number;
  /** Of the rows, and of the history: the same in both backends. */
  readonly rowsDigest: string;
  readonly historyDigest: string;
}

export interface MigrationOptions {
  readonly from: DatabaseAdapter;
  readonly to: DatabaseAdapter;
  readonly tables: readonly TableSchema[];
  readonly onProgress?: (progress: MigrationProgress) => void;
  /** Ends it between two steps, with `Unavailable`; call again to go on. */
  readonly signal?: AbortSignal;
}

/** Who hands over rows that no history tells of. */
const SOURCE = "~migration";

/**
 * @returns what both backends now hold alike. Errors: those of either backend; `Unavailable` when it was stopped;
 * `Conflict` when they do not agree in the end: `to` has rows or edits of its own, or `from` changed meanwhile
 */
export function migrateAdapter(options: MigrationOptions): Promise<Result<readonly MigratedTable[], LakeSyncError>> {
  return attempt(async () => {
    const tables: MigratedTable[] = [];
    for (const table of options.tables) tables.push(await migrateTable(options, table));
    return tables;
  });
}

async function migrateTable(options: MigrationOptions, table: TableSchema): Promise<MigratedTable> {
  const { from, to, signal } = options;
  unwrap(await to.ensureSchema(table));
  const sources = unwrap(await from.progress(table)).filter(({ shard }) => !isTier(shard) && shard !== SOURCE);
  const held = unwrap(await to.progress(table));
  const seqsOf = sources.reduce((sum, { watermark }) => sum + watermark, 0);
  const seqs = new Map(sources.map((source) => [source, Math.min(watermarkIn(held, source), source.watermark)]));
  let done = 0;
  const tell = (phase: MigrationProgress["phase"]) => {
    const sum = [...seqs.values()].reduce((a, b) => a + b, 0);
    options.onProgress?.({ table: table.table, phase, done, seqs: sum, seqsOf });
  };
  tell("copying");
  for (const source of sources) {
    const after = watermarkIn(held, source);
    for await (const step of replay({ from, to, table, source, after, signal })) {
      done += step.edits;
      seqs.set(source, Math.min(step.watermark, source.watermark));
      tell("copying");
    }
    stopped(signal);
  }
  done = 0;
  const compared = (rows: number) => {
    done += rows;
    stopped(signal);
    tell("comparing");
  };
  let rows = await compareRows(options, table, compared);
  if (rows.lacking > 0) rows = await compareRows(options, table, compared);
  const histories = [];
  for (const adapter of [from, to]) histories.push(await historyDigest(adapter, table, sources, signal));
  const [mine, theirs] = histories as [TableDigest, TableDigest];
  if (rows.from.content !== rows.to.content || mine.content !== theirs.content)
    throw new LakeSyncError(
      "Conflict",
      `Table ${table.table} differs after copying: ${rows.from.rows} rows and ${mine.rows} edits in the source, ${rows.to.rows} and ${theirs.rows} in the destination. Either the source was flushed into meanwhile (migrate again), or the destination was not empty.`,
      { table: table.table, rows: rows.from.rows, rowsThere: rows.to.rows, edits: mine.rows, editsThere: theirs.rows },
    );
  return {
    table: table.table,
    rows: rows.from.rows,
    edits: mine.rows,
    rowsDigest: rows.from.content,
    historyDigest: mine.content,
  };
}

function stopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new LakeSyncError("Unavailable", "The migration was stopped; call migrateAdapter again, and it goes on.");
}

interface Comparison {
  readonly from: TableDigest;
  readonly to: TableDigest;
  /** Rows that `to` lacked or had otherwise; they were handed over. */
  readonly lacking: number;
}

/** Reads both in order of id, side by side. */
async function compareRows(
  { from, to }: MigrationOptions,
  table: TableSchema,
  compared: (rows: number) => void,
): Promise<Comparison> {
  const digests = { from: new TableDigest(), to: new TableDigest() };
  const theirs = rowsOfAll(to, table);
  let their = await theirs.next();
  let lacking: Row[] = [];
  let count = 0;
  const flush = async () => {
    if (lacking.length > 0) await handOver(to, table, SOURCE, await markOf(to, table, SOURCE), lacking);
    count += lacking.length;
    lacking = [];
  };
  let since = 0;
  for await (const mine of rowsOfAll(from, table)) {
    digests.from.add(digestOf(table, mine));
    while (!their.done && compareCodePoints(their.value.id, mine.id) < 0) {
      digests.to.add(digestOf(table, their.value));
      their = await theirs.next();
    }
    const twin = !their.done && their.value.id === mine.id ? their.value : undefined;
    if (!twin || !sameRow(mine, twin)) lacking.push(mine);
    if (twin) {
      digests.to.add(digestOf(table, twin));
      their = await theirs.next();
    }
    if (lacking.length === TIER_ROWS) await flush();
    if (++since === REPLAY_PAGE) {
      compared(since);
      since = 0;
    }
  }
  for (; !their.done; their = await theirs.next()) digests.to.add(digestOf(table, their.value));
  await flush();
  compared(since);
  return { ...digests, lacking: count };
}

async function* rowsOfAll(adapter: DatabaseAdapter, table: TableSchema): AsyncGenerator<Row> {
  for (let after: string | undefined; ; ) {
    const query = { table, limit: REPLAY_PAGE, ...(after !== undefined && { after }) };
    const page = unwrap(await adapter.getLatestState(query));
    yield* rowsIn(page);
    if (page.rowIds.length < REPLAY_PAGE) return;
    after = page.rowIds.at(-1);
  }
}

const digestOf = (table: TableSchema, { id, stamp, values }: Row) =>
  contentDigest(
    id,
    stampHlc(stamp),
    table.columns.map(({ name }, at) => [name, values[at] ?? null]),
  );

/** Every edit of some shards, up to where they were when the migration began. */
async function historyDigest(
  adapter: DatabaseAdapter,
  table: TableSchema,
  sources: readonly ShardProgress[],
  signal: AbortSignal | undefined,
): Promise<TableDigest> {
  const digest = new TableDigest();
  for (const { shard, gatewayId, watermark } of sources)
    for (let afterSeq = 0 as Seq; afterSeq < watermark; ) {
      stopped(signal);
      const query = { table, shard, afterSeq, limit: REPLAY_PAGE, ...(gatewayId !== undefined && { gatewayId }) };
      const { seqs, batch } = unwrap(await adapter.queryDeltasSince(query));
      for (const [at, seq] of seqs.entries()) {
        if (seq > watermark) break;
        const cells = cellsAt(batch, at);
        // A cell that is NULL adds nothing to a digest, but that the edit named it counts.
        const edit = [shard, seq, batch.ops[at], clientOf(batch, at), batch.rowIds[at], ...Object.keys(cells).sort()];
        digest.add(contentDigest(edit.join(" "), batch.hlcs[at] as HlcText, Object.entries(cells)));
      }
      if (seqs.length < REPLAY_PAGE) break;
      afterSeq = seqs.at(-1) as Seq;
    }
  return digest;
}

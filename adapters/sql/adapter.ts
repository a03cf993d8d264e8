/**
 * A SQL database as a destination of flushes, whatever its dialect.
 *
 *   history --pages--> [ lock table -> watermark -> merge with what is held -> rows, log, watermark ] one transaction a page
 *
 * Each page moves the shard's watermark to its last seq with its data, so that a flush that broke off goes on where it
 * was, and what comes again is cut (F1). Rows are merged from the history, by the stamps that the database keeps: gateways
 * that flush into one table agree, whatever the order (M1). Rows without history, as a tier hands them over, merge
 * as the edits that they are worth. Writers of one table wait for each other, page by page.
 */
import {
  type DatabaseAdapter,
  type DeltasSinceQuery,
  editsOfRow,
  type FlushBatch,
  type FlushReceipt,
  type HistoryBatch,
  type LatestStateQuery,
  newestStamp,
  type RowBatch,
  type RowVersions,
  type ShardProgress,
} from "../../core/index.ts";
import {
  attempt,
  compareCodePoints,
  DeltaBatchBuilder,
  invariant,
  LakeSyncError,
  type Result,
  type Scalar,
  type Seq,
  type Stamp,
  stampClient,
  stampHlc,
  type TableSchema,
  TOMBSTONE_MS,
} from "../../schemas/index.ts";
import { type Chunk, chunksOf, readChunks } from "./changes.ts";
import type { Load, ReadRow, ReadTombstone, SqlDatabase, SqlWriter } from "./database.ts";
import { entriesOf, newRows, type PageEntry, planPage } from "./page.ts";
import { type HeldRow, unpackStamps, unpackTombstone } from "./row-state.ts";
import { changeFor, type TableRecord } from "./table.ts";

/** Edits that one transaction takes: its locks are held for a fraction of a second, a Worker holds a few of them in memory. */
const PAGE_ENTRIES = 10_000;
const PAGE_CHARS = 4 * 1024 * 1024;

export class SqlAdapter implements DatabaseAdapter {
  readonly #database: SqlDatabase;

  constructor(database: SqlDatabase) {
    this.#database = database;
  }

  ensureSchema(table: TableSchema): Promise<Result<void, LakeSyncError>> {
    return attempt(() => this.#ensure(table));
  }

  async #ensure(table: TableSchema): Promise<void> {
    const known = await this.#database.read((reader) => reader.find(table.table));
    if (known?.version === table.version) return;
    await this.#database.transaction(async (writer) => {
      await writer.prepare();
      const record = await writer.enter(table.table);
      const change = changeFor(record, table);
      if (change) await writer.change(record, change, table.version);
    });
  }

  insertDeltas(batch: FlushBatch): Promise<Result<FlushReceipt, LakeSyncError>> {
    return attempt(async () => {
      const { record, progress } = await this.#known(batch.table);
      const held = progress.find(({ gatewayId, shard }) => gatewayId === batch.gatewayId && shard === batch.shard);
      if (held && held.watermark >= batch.toSeq) return { watermark: held.watermark, rows: 0, deltas: 0 };
      return await new Flush(this.#database, batch, held?.watermark ?? 0, record).run();
    });
  }

  queryDeltasSince(query: DeltasSinceQuery): Promise<Result<HistoryBatch, LakeSyncError>> {
    const { table, shard, afterSeq, limit } = query;
    return attempt(() =>
      this.#database.read(async (reader) => {
        const record = await reader.find(table.table);
        const sources = record ? (await reader.progress(record)).filter((source) => source.shard === shard) : [];
        const gateways = query.gatewayId === undefined ? sources.map(({ gatewayId }) => gatewayId) : [query.gatewayId];
        if (gateways.length > 1)
          throw new LakeSyncError(
            "BadRequest",
            `Several gateways flush a shard ${JSON.stringify(shard)} of ${table.table} into this database; say which by gatewayId.`,
            { table: table.table, shard },
          );
        const [gatewayId] = gateways;
        if (!record || gatewayId === undefined)
          return { seqs: [], receivedMs: [], batch: new DeltaBatchBuilder(table.table).build() };
        const chunks = reader.chunks(record, gatewayId, shard, afterSeq);
        return readChunks(chunks, table, afterSeq, limit);
      }),
    );
  }

  getLatestState(query: LatestStateQuery): Promise<Result<RowBatch, LakeSyncError>> {
    return attempt(() =>
      this.#database.read(async (reader) => {
        const record = await reader.find(query.table.table);
        if (!record) return rowBatch(query.table, undefined, []);
        const dead = query.tombstones ? await reader.tombstones(record, query) : [];
        const rows = [...(await reader.rows(record, query)), ...dead]
          .sort((a, b) => compareCodePoints(a.rowId, b.rowId))
          .slice(0, query.limit);
        return rowBatch(query.table, record, rows);
      }),
    );
  }

  progress(table: TableSchema): Promise<Result<readonly ShardProgress[], LakeSyncError>> {
    return attempt(async () => (await this.#known(table)).progress);
  }

  #known(table: TableSchema): Promise<{ record?: TableRecord; progress: readonly ShardProgress[] }> {
    return this.#database.read(async (reader) => {
      const record = await reader.find(table.table);
      return record ? { record, progress: await reader.progress(record) } : { progress: [] };
    });
  }

  evictRows({ table, rowIds, stamps, seqs }: RowVersions): Promise<Result<readonly string[], LakeSyncError>> {
    return attempt(() =>
      this.#database.transaction(async (writer) => {
        const record = await writer.lock(table.table);
        if (!record) return [];
        const held = await heldRows(writer, record, rowIds);
        const gone = rowIds.filter((rowId, at) => {
          const row = held.get(rowId);
          return row !== undefined && newestStamp(row.state) === stamps[at] && row.seq === seqs[at];
        });
        await writer.delete(record, gone);
        await writer.exhume(record, gone);
        return gone;
      }),
    );
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}

/** A row that others put in where sync has a dead one goes: it is dead until their insert comes by way of sync. */
async function heldRows(
  writer: SqlWriter,
  record: TableRecord,
  rowIds: readonly string[],
): Promise<Map<string, HeldRow>> {
  const columns = record.columns.map(({ id }) => id);
  const held = new Map<string, HeldRow>();
  const risen: string[] = [];
  for (const row of await writer.held(record, rowIds)) {
    if (held.has(row.rowId)) risen.push(row.rowId);
    if (held.has(row.rowId) && !("state" in row)) continue;
    held.set(row.rowId, "state" in row ? unpackTombstone(row.state) : unpackStamps(row.stamps, columns));
  }
  await writer.delete(record, risen);
  return held;
}

interface Page {
  readonly entries: readonly PageEntry[];
  readonly chunks: readonly Chunk[];
  /** Its rows, if they may all be new. */
  readonly load: Load | undefined;
  /** Whether the entries are history; a tier's are not. */
  readonly logged: boolean;
  /** Where the shard's watermark is after it. */
  readonly to: number;
  readonly digest: string | null;
}

/** One call of `insertDeltas`. */
class Flush {
  readonly #database: SqlDatabase;
  readonly #batch: FlushBatch;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #watermark: number;
  /** As it was when the flush began. */
  readonly #record: TableRecord | undefined;
  /** Whether no row that seemed to be new was there. */
  #fresh = true;
  #rows = 0;
  #deltas = 0;

  constructor(database: SqlDatabase, batch: FlushBatch, watermark: number, record: TableRecord | undefined) {
    this.#database = database;
    this.#batch = batch;
    this.#watermark = watermark;
    this.#record = record;
    this.#ids = new Map(batch.table.columns.map(({ id, name }) => [name, id]));
  }

  /** While the database takes a page, the next is made. */
  async run(): Promise<FlushReceipt> {
    let writing: Promise<void> = Promise.resolve();
    let page: PageEntry[] = [];
    let chars = 0;
    let told = false;
    try {
      for await (const part of this.#batch.history()) {
        told = true;
        const entries = entriesOf(part, this.#ids, this.#watermark);
        page = page.length === 0 ? entries : page.concat(entries);
        chars += charsOf(part);
        if (page.length < PAGE_ENTRIES && chars < PAGE_CHARS) continue;
        const ready = this.#page(page, page.at(-1)?.seq ?? this.#watermark, null);
        await writing;
        const sent = Promise.withResolvers<void>();
        writing = this.#write(ready, sent.resolve);
        // Until the database has work of its own, nothing of ours holds up what it is to be told. What fails is awaited below.
        await Promise.race([sent.promise, writing.catch(() => {})]);
        page = [];
        chars = 0;
      }
    } finally {
      await writing;
    }
    if (!told) page = await this.#handedOver();
    const last = this.#page(page, this.#batch.toSeq, this.#batch.digest ?? null);
    await this.#write(told ? last : { ...last, chunks: [], logged: false });
    return { watermark: this.#batch.toSeq, rows: this.#rows, deltas: this.#deltas };
  }

  #page(entries: readonly PageEntry[], to: number, digest: string | null): Page {
    const rows = this.#record && this.#fresh ? newRows(entries) : undefined;
    const load = this.#record && rows && rows.length > 0 ? this.#database.load(this.#record, rows) : undefined;
    return { entries, chunks: chunksOf(entries), load, logged: true, to, digest };
  }

  async #handedOver(): Promise<PageEntry[]> {
    const entries: PageEntry[] = [];
    for await (const page of this.#batch.rows())
      for (const [at, rowId] of page.rowIds.entries())
        for (const { letter, stamp, cells } of editsOfRow(page, at, (name) => this.#ids.get(name))) {
          const [hlc, client] = [stampHlc(stamp), stampClient(stamp)];
          entries.push({ seq: page.seqs[at] as Seq, receivedMs: 0, letter, rowId, hlc, client, cells });
        }
    return entries;
  }

  async #write(page: Page, sent = () => {}): Promise<void> {
    const { gatewayId, shard, table, toSeq, toMs } = this.#batch;
    const written = await this.#database.transaction(async (writer) => {
      const record = await writer.lock(table.table);
      if (!record)
        throw new LakeSyncError("NotFound", `The database has no table ${table.table} yet; call ensureSchema first.`, {
          table: table.table,
        });
      const source = await writer.source(record, gatewayId, shard);
      if (source.seq >= page.to) return { rows: 0, deltas: 0 };
      const begun = (page.entries[0]?.seq ?? page.to) <= source.seq; // by another delivery of the same edits
      const entries = begun ? page.entries.filter(({ seq }) => seq > source.seq) : page.entries;
      const chunks = begun && page.logged ? chunksOf(entries) : page.chunks;
      const load = begun || page.load?.record.version !== record.version ? undefined : page.load;
      const fresh = this.#fresh && load !== undefined && !(source.dead && (await anyDead(writer, load)));
      // The database takes the log while the rows are merged here.
      const [, rows] = await Promise.all([
        chunks.length > 0 && writer.append(source, chunks),
        fresh ? this.#insert(writer, load, sent) : this.#merge(writer, record, entries),
      ]);
      if (page.to === toSeq) await writer.forget(record, toMs - TOMBSTONE_MS);
      await writer.advance(source, page.to, page.digest);
      return { rows, deltas: page.logged ? entries.length : 0 };
    });
    this.#rows += written.rows;
    this.#deltas += written.deltas;
  }

  /** Without asking what the database has of them. Where it has one the transaction fails, and is done again by asking. */
  async #insert(writer: SqlWriter, load: Load, sent: () => void): Promise<number> {
    try {
      await writer.insert(load, sent);
      return load.rows.length;
    } catch (failure) {
      this.#fresh = false;
      throw failure;
    }
  }

  async #merge(writer: SqlWriter, record: TableRecord, entries: readonly PageEntry[]): Promise<number> {
    const rowIds = [...new Set(entries.map(({ rowId }) => rowId))];
    if (rowIds.length === 0) return 0;
    const held = await heldRows(writer, record, rowIds);
    let planned = planPage(entries, held);
    if ("needed" in planned) {
      const columns = record.columns.map(({ id }) => id);
      const ids = planned.needed;
      for (const { rowId, stamps, values } of await writer.rows(record, { ids, limit: ids.length }))
        held.set(
          rowId,
          unpackStamps(stamps, columns, (id) => values[columns.indexOf(id)] ?? null),
        );
      planned = planPage(entries, held);
    }
    invariant("plan" in planned, "values that were read decide");
    const { inserts, updates, deletes, tombstones, risen } = planned.plan;
    if (inserts.length > 0) await writer.insert(this.#database.load(record, inserts));
    await writer.update(record, updates);
    await writer.delete(record, deletes);
    await writer.bury(record, tombstones);
    await writer.exhume(record, risen);
    return inserts.length + updates.length + deletes.length;
  }
}

/** Whether a tombstone stands for one of the rows: a key does not refuse those. */
async function anyDead(writer: SqlWriter, { record, rows }: Load): Promise<boolean> {
  return (await writer.tombstones(record, { ids: rows.map(({ rowId }) => rowId), limit: 1 })).length > 0;
}

/** About how much text a page of history has. */
function charsOf({ batch }: HistoryBatch): number {
  let chars = batch.rowIds.length * 64;
  for (const { values } of batch.columns)
    for (const value of values) if (typeof value === "string") chars += value.length;
  return chars;
}

function rowBatch(
  table: TableSchema,
  record: TableRecord | undefined,
  rows: readonly (ReadRow | ReadTombstone)[],
): RowBatch {
  const ids = record?.columns.map(({ id }) => id) ?? [];
  const places = table.columns.map(({ id }) => ids.indexOf(id));
  const read = rows.map((row) => ({
    row,
    held: "state" in row ? unpackTombstone(row.state) : unpackStamps(row.stamps, ids),
  }));
  const stampOf = ({ state }: HeldRow, id: number): Stamp =>
    state.layers.find(({ columns }) => columns.includes(id))?.stamp ?? ("" as Stamp);
  const seqs = read.map(({ held }) => held.seq as Seq);
  return {
    rowIds: rows.map(({ rowId }) => rowId),
    stamps: read.map(({ held }) => newestStamp(held.state)),
    seqs,
    deleted: rows.map((row) => "state" in row),
    flushedSeqs: seqs,
    columns: table.columns.map(({ name }, at) => ({
      name,
      values: rows.map((row): Scalar => ("state" in row ? null : (row.values[places[at] as number] ?? null))),
    })),
    marks: read.map(({ held }) => [held.state.inserted, held.state.deleted]),
    cellStamps: table.columns.map(({ id }) =>
      read.map(({ row, held }) => ("state" in row ? ("" as Stamp) : stampOf(held, id))),
    ),
  };
}

/**
 * A `DatabaseAdapter` over any `SqlStore`, for tests: a real database in which the algebra of core/merge.ts itself keeps
 * the rows, so that what other adapters do in SQL is done here by the definition.
 *
 *   rows      (tbl, id) -> stamp, seq, alive, RowState as JSON, cells by column id; dead rows stay as tombstones
 *   changes   (tbl, gateway, shard, seq) -> one edit
 *   progress  (tbl, gateway, shard) -> watermark, digest
 *
 * Pages are written one by one and the watermark moves last: each page is idempotent, so that a flush that was killed may
 * come again.
 */
import {
  applyCells,
  type CellList,
  cellOf,
  type DatabaseAdapter,
  type DeltasSinceQuery,
  editsOfRow,
  emptyRow,
  type FlushBatch,
  type FlushReceipt,
  type HistoryBatch,
  isAlive,
  type LatestStateQuery,
  newestStamp,
  type RowBatch,
  type RowState,
  type RowVersions,
  type ShardProgress,
  type SqlStore,
} from "../../core/index.ts";
import {
  type ClientId,
  cellsAt,
  clientOf,
  DeltaBatchBuilder,
  err,
  type HlcText,
  LakeSyncError,
  makeStamp,
  NO_STAMP,
  ok,
  type Result,
  type Scalar,
  type Seq,
  type TableSchema,
} from "../../schemas/index.ts";

type Answer<T> = Promise<Result<T, LakeSyncError>>;
interface StoredRow {
  readonly id: string;
  seq: number;
  readonly row: RowState<number>;
}

const DDL = [
  `CREATE TABLE IF NOT EXISTS lakesync_rows (tbl TEXT, id TEXT, stamp TEXT, seq INTEGER, alive INTEGER, state TEXT,
    PRIMARY KEY (tbl, id)) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS lakesync_changes (tbl TEXT, gateway TEXT, shard TEXT, seq INTEGER, received REAL, hlc TEXT,
    client TEXT, op TEXT, id TEXT, cells TEXT, PRIMARY KEY (tbl, gateway, shard, seq)) WITHOUT ROWID`,
  "CREATE TABLE IF NOT EXISTS lakesync_columns (tbl TEXT, id INTEGER, type TEXT, PRIMARY KEY (tbl, id)) WITHOUT ROWID",
  `CREATE TABLE IF NOT EXISTS lakesync_progress (tbl TEXT, gateway TEXT, shard TEXT, watermark INTEGER, digest TEXT,
    PRIMARY KEY (tbl, gateway, shard)) WITHOUT ROWID`,
];

export class SqliteAdapter implements DatabaseAdapter {
  readonly #sql: SqlStore;

  constructor(sql: SqlStore) {
    this.#sql = sql;
    for (const statement of DDL) sql.exec(statement);
  }

  async ensureSchema({ table, columns }: TableSchema): Answer<void> {
    const types = JSON.stringify(columns.map(({ id, type }) => [id, type]));
    this.#sql.exec(
      `INSERT OR IGNORE INTO lakesync_columns (tbl, id, type) SELECT ?, value ->> 0, value ->> 1 FROM json_each(?)`,
      ...[table, types],
    );
    const [changed] = this.#sql.exec<{ id: number }>(
      `SELECT c.id FROM json_each(?) JOIN lakesync_columns c ON c.tbl = ? AND c.id = value ->> 0 WHERE c.type <> value ->> 1`,
      ...[types, table],
    );
    if (!changed) return ok(undefined);
    const column = columns.find(({ id }) => id === changed.id)?.name ?? "";
    return err(new LakeSyncError("Conflict", `Column ${column} of ${table} changed its type.`, { table, column }));
  }

  async insertDeltas(batch: FlushBatch): Answer<FlushReceipt> {
    const { toSeq, digest } = batch;
    const held = this.#watermark(batch);
    if (held >= toSeq) return ok({ watermark: held, rows: 0, deltas: 0 });
    let [rows, deltas] = [0, 0];
    const told = new Set<string>();
    for await (const page of batch.history()) {
      deltas += this.#sql.transaction(() => this.#addHistory(batch, page));
      for (const id of page.batch.rowIds) told.add(id);
    }
    for await (const page of batch.rows()) rows += this.#sql.transaction(() => this.#addRows(batch, page, told));
    this.#sql.exec(
      `INSERT INTO lakesync_progress (tbl, gateway, shard, watermark, digest) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET watermark = excluded.watermark, digest = excluded.digest
       WHERE excluded.watermark > watermark`,
      ...[...sourceOf(batch), toSeq, digest ?? null],
    );
    return ok({ watermark: this.#watermark(batch), rows, deltas });
  }

  #watermark(batch: FlushBatch): Seq {
    const [row] = this.#sql.exec<{ watermark: number }>(
      "SELECT watermark FROM lakesync_progress WHERE tbl = ? AND gateway = ? AND shard = ?",
      ...sourceOf(batch),
    );
    return (row?.watermark ?? 0) as Seq;
  }

  #addHistory(flush: FlushBatch, { seqs, receivedMs, batch }: HistoryBatch): number {
    const { table } = flush;
    const mark = this.#watermark(flush);
    const rows = this.#read(table, batch.rowIds);
    const added: unknown[] = [];
    for (const [at, seq] of seqs.entries()) {
      if (seq <= mark) continue;
      const [letter, id, hlc, client] = [batch.ops[at], batch.rowIds[at], batch.hlcs[at], clientOf(batch, at)];
      const named = cellsAt(batch, at);
      const ids = table.columns.filter(({ name }) => Object.hasOwn(named, name));
      const cells = { columns: ids.map((column) => column.id), values: ids.map(({ name }) => named[name] as Scalar) };
      added.push([seq, receivedMs[at], hlc, client, letter, id, JSON.stringify(cells)]);
      const stored = rowIn(rows, id as string);
      const stamp = makeStamp(hlc as HlcText, client);
      if (applyCells(stored.row, letter as "I" | "U" | "D", stamp, cells, 0)) stored.seq = seq;
    }
    this.#sql.exec(
      `INSERT OR REPLACE INTO lakesync_changes (tbl, gateway, shard, seq, received, hlc, client, op, id, cells)
       SELECT ?, ?, ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
       FROM json_each(?)`,
      ...[...sourceOf(flush), JSON.stringify(added)],
    );
    this.#write(table, rows.values());
    return added.length;
  }

  /** @param told rows that the history told of */
  #addRows(flush: FlushBatch, page: RowBatch, told: ReadonlySet<string>): number {
    const mark = this.#watermark(flush);
    const rows = this.#read(flush.table, page.rowIds);
    const ids = new Map(flush.table.columns.map(({ id, name }) => [name, id]));
    let count = 0;
    for (const [at, id] of page.rowIds.entries()) {
      const seq = page.seqs[at] as number;
      if (seq <= mark) continue;
      count++;
      if (told.has(id)) continue;
      const stored = rowIn(rows, id);
      for (const { letter, stamp, cells } of editsOfRow(page, at, (name) => ids.get(name)))
        if (applyCells(stored.row, letter, stamp, cells, 0)) stored.seq = seq;
    }
    this.#write(flush.table, rows.values());
    return count;
  }

  #read({ table }: TableSchema, ids: readonly string[]): Map<string, StoredRow> {
    const found = this.#sql.exec<{ id: string; seq: number; state: string }>(
      `SELECT r.id, r.seq, r.state FROM json_each(?) CROSS JOIN lakesync_rows r ON r.tbl = ? AND r.id = value`,
      ...[JSON.stringify([...new Set(ids)]), table],
    );
    return new Map(found.map(({ id, seq, state }) => [id, { id, seq, row: JSON.parse(state) as RowState<number> }]));
  }

  #write({ table }: TableSchema, rows: Iterable<StoredRow>): void {
    const values = [...rows].map(({ id, seq, row }) => [
      id,
      newestStamp(row),
      seq,
      Number(isAlive(row)),
      JSON.stringify(row),
    ]);
    this.#sql.exec(
      `INSERT OR REPLACE INTO lakesync_rows (tbl, id, stamp, seq, alive, state)
       SELECT ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)`,
      ...[table, JSON.stringify(values)],
    );
  }

  async queryDeltasSince({ table, gatewayId, shard, afterSeq, limit }: DeltasSinceQuery): Answer<HistoryBatch> {
    type Change = { seq: number; received: number; hlc: string; client: string; op: string; id: string; cells: string };
    const found = this.#sql.exec<Change>(
      `SELECT * FROM lakesync_changes WHERE tbl = ? AND shard = ? AND seq > ? AND coalesce(gateway = ?, true)
       ORDER BY seq LIMIT ?`,
      ...[table.table, shard, afterSeq, gatewayId ?? null, limit],
    );
    const builder = new DeltaBatchBuilder(table.table);
    for (const { op, id, hlc, client, cells } of found) {
      builder.add(op as "I" | "U" | "D", id, hlc as HlcText, client as ClientId, byName(table, JSON.parse(cells)));
    }
    return ok({
      seqs: found.map(({ seq }) => seq as Seq),
      receivedMs: found.map(({ received }) => received),
      batch: builder.build(),
    });
  }

  async getLatestState({ table, after = "", limit, ids, tombstones }: LatestStateQuery): Answer<RowBatch> {
    const found = this.#sql.exec<{ id: string; seq: number; state: string }>(
      `SELECT id, seq, state FROM lakesync_rows WHERE tbl = ? AND id > ? AND alive >= ?
       ${ids ? "AND id IN (SELECT value FROM json_each(?))" : "AND ? IS NULL"} ORDER BY id LIMIT ?`,
      ...[table.table, after, tombstones ? 0 : 1, ids ? JSON.stringify(ids) : null, limit],
    );
    const rows = found.map(({ state }) => JSON.parse(state) as RowState<number>);
    const layerOf = (row: RowState<number>, id: number) =>
      isAlive(row) ? row.layers.find(({ columns }) => columns.includes(id)) : undefined;
    return ok({
      rowIds: found.map(({ id }) => id),
      stamps: rows.map(newestStamp),
      seqs: found.map(({ seq }) => seq as Seq),
      deleted: rows.map((row) => !isAlive(row)),
      flushedSeqs: found.map(({ seq }) => seq as Seq),
      columns: table.columns.map(({ id, name }) => ({
        name,
        values: rows.map((row) => (isAlive(row) ? cellOf(row, id) : undefined) ?? null),
      })),
      cellStamps: table.columns.map(({ id }) => rows.map((row) => layerOf(row, id)?.stamp ?? NO_STAMP)),
      marks: rows.map(({ inserted, deleted }) => [inserted, deleted]),
    });
  }

  async progress({ table }: TableSchema): Answer<readonly ShardProgress[]> {
    const found = this.#sql.exec<{ gateway: string; shard: string; watermark: number; digest: string | null }>(
      "SELECT gateway, shard, watermark, digest FROM lakesync_progress WHERE tbl = ?",
      table,
    );
    return ok(
      found.map(({ gateway, shard, watermark, digest }) => ({
        ...{ gatewayId: gateway, shard, watermark: watermark as Seq },
        ...(digest !== null && { digest }),
      })),
    );
  }

  async evictRows({ table, rowIds, stamps, seqs }: RowVersions): Answer<readonly string[]> {
    return ok(
      this.#sql
        .exec<{ id: string }>(
          `DELETE FROM lakesync_rows WHERE tbl = ? AND (id, stamp, seq) IN (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))
           RETURNING id`,
          ...[table.table, JSON.stringify(rowIds.map((id, at) => [id, stamps[at], seqs[at]]))],
        )
        .map(({ id }) => id),
    );
  }

  async close(): Promise<void> {}
}

const sourceOf = ({ table, gatewayId, shard }: FlushBatch) => [table.table, gatewayId, shard] as const;

function rowIn(rows: Map<string, StoredRow>, id: string): StoredRow {
  const stored = rows.get(id) ?? { id, seq: 0, row: emptyRow() };
  rows.set(id, stored);
  return stored;
}

const byName = (table: TableSchema, { columns, values }: CellList<number>): Record<string, Scalar> =>
  Object.fromEntries(
    table.columns.flatMap(({ id, name }) =>
      columns.includes(id) ? [[name, values[columns.indexOf(id)] as Scalar]] : [],
    ),
  );

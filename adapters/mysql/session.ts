/**
 * Statements of MySQL and MariaDB, over one connection; the same tables as in Postgres. Rows travel as literals that mysql2
 * escapes, in statements of about a megabyte.
 *
 * DDL commits by itself here, so a change of a table may break off halfway: it is made of steps that look first whether they
 * have been done.
 */
import type { Buffer } from "node:buffer";
import type { Connection, ResultSetHeader, RowDataPacket } from "mysql2/promise";
import type { ShardProgress } from "../../core/index.ts";
import { LakeSyncError, type Scalar } from "../../schemas/index.ts";
import type { Chunk } from "../sql/changes.ts";
import {
  progressOf,
  type ReadRow,
  type ReadTombstone,
  type RowsQuery,
  type Source,
  type SqlWriter,
  type WatermarkRow,
} from "../sql/database.ts";
import { changesView, checkNames, foreignTable } from "../sql/names.ts";
import type { MergedRow, RowUpdate } from "../sql/page.ts";
import { diedMs, packStamps, packTombstone } from "../sql/row-state.ts";
import type { TableChange, TableColumn, TableRecord } from "../sql/table.ts";
import { type MysqlLoad, partsOf, tupleOf } from "./load.ts";
import { quote } from "./pool.ts";
import { fromSql, sqlType, toSql } from "./values.ts";

const CHUNKS_READ = 8;
/** Says on a table that LakeSync made it. */
const OURS = "LakeSync";

export class MysqlSession implements SqlWriter {
  readonly #connection: Connection;
  /** Of all tables; the connection's own where undefined. */
  readonly #database: string | undefined;

  constructor(connection: Connection, database: string | undefined) {
    this.#connection = connection;
    this.#database = database;
  }

  async #query<T>(sql: string, params: readonly unknown[] = []): Promise<T[]> {
    const [rows] = await this.#connection.query<RowDataPacket[]>(sql, params as unknown[]);
    return rows as T[];
  }

  async #run(sql: string, params: readonly unknown[] = []): Promise<void> {
    // Without parameters, no placeholder is looked for in a megabyte of text.
    await this.#connection.query<ResultSetHeader>(sql, params.length === 0 ? null : [...params]);
  }

  #name(name: string): string {
    return this.#database === undefined ? quote(name) : `${quote(this.#database)}.${quote(name)}`;
  }

  /** Name and comment of a table of this database, views included. */
  async #there(table: string): Promise<{ comment: string } | undefined> {
    const [found] = await this.#query<{ comment: string }>(
      "SELECT table_comment AS comment FROM information_schema.tables WHERE table_schema = coalesce(?, database()) AND table_name = ?",
      [this.#database ?? null, table],
    );
    return found;
  }

  /** How text is compared: by code point, trailing spaces counted. MariaDB and MySQL have each a name for it. */
  async #collation(): Promise<string> {
    const [found] = await this.#query<{ name: string }>(
      "SELECT collation_name AS name FROM information_schema.collations WHERE collation_name IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin') LIMIT 1",
    );
    if (found) return found.name;
    throw new LakeSyncError(
      "DestinationRefused",
      "This server is too old; use MySQL 8.0.17 or MariaDB 10.6, or newer.",
    );
  }

  async prepare(): Promise<void> {
    if (await this.#there("lakesync_tombstones")) return;
    if (this.#database !== undefined) await this.#run(`CREATE DATABASE IF NOT EXISTS ${quote(this.#database)}`);
    const text = `CHARACTER SET utf8mb4 COLLATE ${await this.#collation()}`;
    const make = (name: string, columns: string) =>
      this.#run(`CREATE TABLE IF NOT EXISTS ${this.#name(name)} (${columns}) ENGINE = InnoDB COMMENT = '${OURS}'`);
    await make(
      "lakesync_tables",
      `id int AUTO_INCREMENT PRIMARY KEY, name varchar(64) ${text} NOT NULL UNIQUE, version int NOT NULL, columns mediumtext ${text} NOT NULL`,
    );
    await make(
      "lakesync_watermarks",
      `id int AUTO_INCREMENT PRIMARY KEY, table_id int NOT NULL, gateway varchar(64) ${text} NOT NULL, shard varchar(200) ${text} NOT NULL,
       seq bigint NOT NULL, digest varchar(100), UNIQUE (table_id, gateway, shard)`,
    );
    await make(
      "lakesync_changes",
      `source int NOT NULL, last bigint NOT NULL, first bigint NOT NULL, body mediumtext ${text} NOT NULL, PRIMARY KEY (source, last)`,
    );
    await make(
      "lakesync_tombstones",
      `table_id int NOT NULL, row_id varchar(512) ${text} NOT NULL, died datetime(3) NOT NULL, state mediumtext ${text} NOT NULL,
       PRIMARY KEY (table_id, row_id), INDEX died (table_id, died)`,
    );
  }

  async enter(table: string): Promise<TableRecord> {
    const known = await this.lock(table);
    if (known) return known;
    const into = `INSERT IGNORE INTO ${this.#name("lakesync_tables")} (name, version, columns) VALUES (?, 0, '[]')`;
    await this.#run(into, [table]);
    return (await this.lock(table)) as TableRecord;
  }

  lock(table: string): Promise<TableRecord | undefined> {
    return this.#record(table, "FOR UPDATE");
  }

  async find(table: string): Promise<TableRecord | undefined> {
    if (!(await this.#there("lakesync_tombstones"))) return undefined;
    const record = await this.#record(table, "");
    return record?.version === 0 ? undefined : record;
  }

  async #record(table: string, lock: string): Promise<TableRecord | undefined> {
    const [row] = await this.#query<{ id: number; version: number; columns: string }>(
      `SELECT id, version, columns FROM ${this.#name("lakesync_tables")} WHERE name = ? ${lock}`,
      [table],
    );
    return row && { id: row.id, version: row.version, columns: JSON.parse(row.columns) as TableColumn[], table };
  }

  async change(record: TableRecord, { columns, renames, adds }: TableChange, version: number): Promise<void> {
    checkNames({ table: record.table, columns: adds });
    const collation = await this.#collation();
    const table = this.#name(record.table);
    const there = await this.#there(record.table);
    if (there && there.comment !== OURS) throw foreignTable("The database", record.table);
    if (!there)
      await this.#run(
        `CREATE TABLE ${table} (_id varchar(512) CHARACTER SET utf8mb4 COLLATE ${collation} PRIMARY KEY, _stamps text CHARACTER SET ascii COLLATE ascii_bin)
         ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = '${OURS}'`,
      );
    const names = await this.#columns(record.table);
    for (const [from, to] of renames) {
      if (!names.delete(from)) continue;
      names.add(to);
      await this.#run(`ALTER TABLE ${table} RENAME COLUMN ${quote(from)} TO ${quote(to)}`);
    }
    const missing = adds.filter(({ name }) => !names.has(name));
    const types = missing.map(({ name, type }) => `ADD COLUMN ${quote(name)} ${sqlType(type, collation)}`);
    if (types.length > 0) await this.#run(`ALTER TABLE ${table} ${types.join(", ")}`);
    await this.#run(this.#viewOf(record));
    await this.#run(
      `UPDATE ${this.#name("lakesync_tables")} SET version = ?, columns = ? WHERE id = ? AND version < ?`,
      [version, JSON.stringify(columns), record.id, version],
    );
  }

  async #columns(table: string): Promise<Set<string>> {
    const rows = await this.#query<{ name: string }>(
      "SELECT column_name AS name FROM information_schema.columns WHERE table_schema = coalesce(?, database()) AND table_name = ?",
      [this.#database ?? null, table],
    );
    return new Set(rows.map(({ name }) => name));
  }

  #viewOf({ id, table }: TableRecord): string {
    return `
      CREATE OR REPLACE VIEW ${this.#name(changesView(table))} AS
      SELECT w.gateway AS _gateway, w.shard AS _shard, e.seq AS _seq, timestampadd(MICROSECOND, e.received * 1000, '1970-01-01 00:00:00') AS _received,
        CASE e.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' ELSE 'DELETE' END AS _op,
        e.row_id AS _id, e.hlc AS _hlc, e.client AS _client_id, e.cells AS _cells
      FROM ${this.#name("lakesync_watermarks")} AS w
        JOIN ${this.#name("lakesync_changes")} AS c ON c.source = w.id
        JOIN JSON_TABLE(c.body, '$[*]' COLUMNS (
          seq bigint PATH '$[0]', received bigint PATH '$[1]', op char(1) PATH '$[2]', row_id varchar(512) PATH '$[3]',
          hlc char(16) PATH '$[4]', client varchar(64) PATH '$[5]', cells json PATH '$[6]')) AS e
      WHERE w.table_id = ${Number(id)}`;
  }

  async source(record: TableRecord, gatewayId: string, shard: string): Promise<Source> {
    const watermarks = this.#name("lakesync_watermarks");
    const dead = `EXISTS (SELECT 1 FROM ${this.#name("lakesync_tombstones")} WHERE table_id = w.table_id) AS dead`;
    const select = `SELECT id, seq, ${dead} FROM ${watermarks} AS w WHERE table_id = ? AND gateway = ? AND shard = ?`;
    const key = [record.id, gatewayId, shard];
    let [row] = await this.#query<{ id: number; seq: number; dead: number }>(select, key);
    if (!row) {
      await this.#run(`INSERT INTO ${watermarks} (table_id, gateway, shard, seq) VALUES (?, ?, ?, 0)`, key);
      [row] = await this.#query(select, key);
    }
    return { id: Number(row?.id), seq: Number(row?.seq), dead: Number(row?.dead) === 1 };
  }

  async held(
    record: TableRecord,
    rowIds: readonly string[],
  ): Promise<(Pick<ReadRow, "rowId" | "stamps"> | ReadTombstone)[]> {
    const live = `SELECT _id AS rowId, _stamps AS stamps FROM ${this.#name(record.table)} WHERE _id IN (?)`;
    const rows = await this.#query<{ rowId: string; stamps: string | null }>(live, [rowIds]);
    const dead = await this.tombstones(record, { ids: rowIds, limit: rowIds.length });
    return [...rows.map(({ rowId, stamps }) => ({ rowId, stamps })), ...dead];
  }

  async insert({ record, parts }: MysqlLoad, sent = () => {}): Promise<void> {
    const names = ["_id", "_stamps", ...record.columns.map(({ name }) => name)].map(quote);
    const insert = `INSERT INTO ${this.#name(record.table)} (${names.join(", ")}) VALUES `;
    const inserted = parts.map((part) => this.#run(insert + part));
    sent();
    await Promise.all(inserted);
  }

  /** Rows that change the same columns in one statement. */
  async update(record: TableRecord, rows: readonly RowUpdate[]): Promise<void> {
    const alike = Map.groupBy(rows, ({ changes }) => [...changes.keys()].sort((a, b) => a - b).join());
    for (const group of alike.values()) {
      const columns = record.columns.filter(({ id }) => group[0]?.changes.has(id));
      const names = ["_id", "_stamps", ...columns.map(({ name }) => name)].map(quote);
      const sets = names.slice(1).map((name) => `${name} = VALUES(${name})`);
      const parts = partsOf(group, ({ rowId, state, seq, changes }) =>
        tupleOf([rowId, packStamps(state, seq), ...columns.map(({ id, type }) => toSql(type, changes.get(id)))]),
      );
      const insert = `INSERT INTO ${this.#name(record.table)} (${names.join(", ")}) VALUES`;
      for (const part of parts) await this.#run(`${insert} ${part} ON DUPLICATE KEY UPDATE ${sets.join(", ")}`);
    }
  }

  async delete(record: TableRecord, rowIds: readonly string[]): Promise<void> {
    if (rowIds.length > 0) await this.#run(`DELETE FROM ${this.#name(record.table)} WHERE _id IN (?)`, [rowIds]);
  }

  async bury(record: TableRecord, rows: readonly MergedRow[]): Promise<void> {
    const parts = partsOf(rows, ({ rowId, state, seq }) =>
      tupleOf([record.id, rowId, datetime(diedMs(state)), packTombstone(state, seq)]),
    );
    const insert = `INSERT INTO ${this.#name("lakesync_tombstones")} (table_id, row_id, died, state) VALUES`;
    for (const part of parts)
      await this.#run(`${insert} ${part} ON DUPLICATE KEY UPDATE died = VALUES(died), state = VALUES(state)`);
  }

  async exhume(record: TableRecord, rowIds: readonly string[]): Promise<void> {
    if (rowIds.length === 0) return;
    const from = `DELETE FROM ${this.#name("lakesync_tombstones")} WHERE table_id = ? AND row_id IN (?)`;
    await this.#run(from, [record.id, rowIds]);
  }

  forget(record: TableRecord, beforeMs: number): Promise<void> {
    const from = `DELETE FROM ${this.#name("lakesync_tombstones")} WHERE table_id = ? AND died < ?`;
    return this.#run(from, [record.id, datetime(Math.max(beforeMs, 0))]);
  }

  async append(source: Source, chunks: readonly Chunk[]): Promise<void> {
    const insert = `INSERT INTO ${this.#name("lakesync_changes")} (source, first, last, body) VALUES`;
    const parts = partsOf(chunks, ({ first, last, body }) => tupleOf([source.id, first, last, body]));
    await Promise.all(parts.map((part) => this.#run(`${insert} ${part}`)));
  }

  advance(source: Source, seq: number, digest: string | null): Promise<void> {
    const update = `UPDATE ${this.#name("lakesync_watermarks")} SET seq = ?, digest = ? WHERE id = ?`;
    return this.#run(update, [seq, digest, source.id]);
  }

  async rows(record: TableRecord, query: RowsQuery): Promise<ReadRow[]> {
    if (query.ids?.length === 0) return [];
    const list = record.columns.map(({ name }, at) => `, ${quote(name)} AS c${at}`).join("");
    const { where, params } = whereOf("_id", query);
    const rows = await this.#query<
      { id: string; stamps: string | null } & Record<string, string | number | Buffer | null>
    >(
      `SELECT _id AS id, _stamps AS stamps${list} FROM ${this.#name(record.table)} WHERE ${where} ORDER BY _id LIMIT ?`,
      [...params, query.limit],
    );
    return rows.map((row) => ({
      rowId: row.id,
      stamps: row.stamps,
      values: record.columns.map(({ type }, at): Scalar => fromSql(type, row[`c${at}`] ?? null)),
    }));
  }

  async tombstones(record: TableRecord, query: RowsQuery): Promise<ReadTombstone[]> {
    if (query.ids?.length === 0) return [];
    const { where, params } = whereOf("row_id", query);
    const rows = await this.#query<ReadTombstone>(
      `SELECT row_id AS rowId, state FROM ${this.#name("lakesync_tombstones")} WHERE table_id = ? AND ${where} ORDER BY row_id LIMIT ?`,
      [record.id, ...params, query.limit],
    );
    return rows.map(({ rowId, state }) => ({ rowId, state }));
  }

  async *chunks(record: TableRecord, gatewayId: string, shard: string, afterSeq: number): AsyncGenerator<string> {
    for (let after = afterSeq; ; ) {
      const chunks = await this.#query<{ last: number; body: string }>(
        `SELECT c.last, c.body FROM ${this.#name("lakesync_changes")} AS c
         JOIN ${this.#name("lakesync_watermarks")} AS w ON w.id = c.source
         WHERE w.table_id = ? AND w.gateway = ? AND w.shard = ? AND c.last > ? ORDER BY c.last LIMIT ${CHUNKS_READ}`,
        [record.id, gatewayId, shard, after],
      );
      for (const { body } of chunks) yield body;
      if (chunks.length < CHUNKS_READ) return;
      after = Number(chunks.at(-1)?.last);
    }
  }

  async progress(record: TableRecord): Promise<(ShardProgress & { readonly gatewayId: string })[]> {
    const rows = await this.#query<WatermarkRow>(
      `SELECT gateway, shard, seq, digest FROM ${this.#name("lakesync_watermarks")} WHERE table_id = ? ORDER BY gateway, shard`,
      [record.id],
    );
    return progressOf(rows);
  }
}

/** A moment as MySQL writes it, in UTC. @param ms since 1970 */
const datetime = (ms: number): string => new Date(ms).toISOString().replace("T", " ").slice(0, -1);

function whereOf(id: string, { after, ids }: RowsQuery): { where: string; params: unknown[] } {
  const parts = [...(after === undefined ? [] : [`${id} > ?`]), ...(ids === undefined ? [] : [`${id} IN (?)`])];
  const params = [...(after === undefined ? [] : [after]), ...(ids === undefined ? [] : [ids])];
  return { where: parts.join(" AND ") || "true", params };
}

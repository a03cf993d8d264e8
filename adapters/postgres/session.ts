/** Postgres's statements, over one connection. Values travel as arrays, one parameter a column: no batch is too large. */
import type { Buffer } from "node:buffer";
import type pg from "pg";
import type { ShardProgress } from "../../core/index.ts";
import type { Scalar } from "../../schemas/index.ts";
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
import { changesView, checkNames, foreignTable, refuseNames } from "../sql/names.ts";
import type { MergedRow, RowUpdate } from "../sql/page.ts";
import { diedMs, packStamps, packTombstone } from "../sql/row-state.ts";
import type { TableChange, TableColumn, TableRecord } from "../sql/table.ts";
import { copyInto } from "./copy.ts";
import { arraysOf, type PostgresLoad, unnest } from "./load.ts";
import { quote } from "./pool.ts";
import { ARRAY_TYPES, arrayText, FULL_TYPES, fromSql, SQL_TYPES, selectOf, typed } from "./values.ts";

/** Columns that every Postgres table has already. */
const SYSTEM_COLUMNS = new Set(["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"]);

/** Chunks of the change log that are read at once. */
const CHUNKS_READ = 8;

type Params = readonly unknown[];

export class PostgresSession implements SqlWriter {
  readonly #client: pg.ClientBase;
  /** Quoted. */
  readonly #schema: string;
  /** The statement that was sent last, or waits. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(client: pg.ClientBase, schema: string) {
    this.#client = client;
    this.#schema = quote(schema);
  }

  async #query<T extends pg.QueryResultRow>(sql: string, params: Params = []): Promise<T[]> {
    const values = params.map((param) => (Array.isArray(param) ? arrayText(param) : param));
    return (await this.#next(() => this.#client.query<T>(sql, values))).rows;
  }

  /** One statement after the other, whatever came of the one before: pg leaves queues to its callers. */
  #next<T>(statement: () => Promise<T>): Promise<T> {
    const result = this.#last.then(statement);
    this.#last = result.catch(() => {});
    return result;
  }

  /** A statement without parameters, when no other is under way. */
  async run(sql: string): Promise<void> {
    await this.#next(() => this.#client.query(sql));
  }

  #name(name: string): string {
    return `${this.#schema}.${quote(name)}`;
  }

  async prepare(): Promise<void> {
    const own = ["tables", "watermarks", "changes", "tombstones"].map((name) => `lakesync_${name}`);
    const [found] = await this.#query<{ n: number }>(
      "SELECT count(to_regclass(name))::int AS n FROM unnest($1::text[]) AS name",
      [own.map((name) => this.#name(name))],
    );
    if (found?.n === own.length) return;
    const [there] = await this.#query<{ there: boolean }>("SELECT to_regnamespace($1) IS NOT NULL AS there", [
      this.#schema,
    ]);
    if (!there?.there) await this.#query(`CREATE SCHEMA IF NOT EXISTS ${this.#schema}`);
    // Postgres's own compression takes longer than all else that a flush does.
    const [storage] = await this.#query<{ lz4: boolean }>(
      "SELECT 'lz4' = ANY (enumvals) AS lz4 FROM pg_settings WHERE name = 'default_toast_compression'",
    );
    await this.#query(`
      CREATE TABLE IF NOT EXISTS ${this.#name("lakesync_tables")} (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE,
        version integer NOT NULL, columns json NOT NULL);
      CREATE TABLE IF NOT EXISTS ${this.#name("lakesync_watermarks")} (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, table_id integer NOT NULL, gateway text COLLATE "C" NOT NULL,
        shard text COLLATE "C" NOT NULL, seq bigint NOT NULL, digest text, UNIQUE (table_id, gateway, shard));
      CREATE TABLE IF NOT EXISTS ${this.#name("lakesync_changes")} (
        source integer NOT NULL, last bigint NOT NULL, first bigint NOT NULL,
        body text ${storage?.lz4 ? "COMPRESSION lz4" : "STORAGE EXTERNAL"} NOT NULL, PRIMARY KEY (source, last));
      CREATE TABLE IF NOT EXISTS ${this.#name("lakesync_tombstones")} (
        table_id integer NOT NULL, row_id text COLLATE "C" NOT NULL, died timestamptz NOT NULL, state text NOT NULL,
        PRIMARY KEY (table_id, row_id));
      CREATE INDEX IF NOT EXISTS lakesync_tombstones_died ON ${this.#name("lakesync_tombstones")} (table_id, died);`);
  }

  async enter(table: string): Promise<TableRecord> {
    const insert = `INSERT INTO ${this.#name("lakesync_tables")} (name, version, columns) VALUES ($1, 0, '[]')`;
    const known = await this.lock(table);
    if (known) return known;
    await this.#query(`${insert} ON CONFLICT DO NOTHING`, [table]);
    return (await this.lock(table)) as TableRecord;
  }

  async lock(table: string): Promise<TableRecord | undefined> {
    return this.#record(table, "FOR UPDATE");
  }

  async find(table: string): Promise<TableRecord | undefined> {
    const [there] = await this.#query<{ there: boolean }>("SELECT to_regclass($1) IS NOT NULL AS there", [
      this.#name("lakesync_tables"),
    ]);
    if (!there?.there) return undefined;
    const record = await this.#record(table, "");
    return record?.version === 0 ? undefined : record;
  }

  async #record(table: string, lock: string): Promise<TableRecord | undefined> {
    const from = `FROM ${this.#name("lakesync_tables")} WHERE name = $1`;
    const [row] = await this.#query<{ id: number; version: number; columns: TableColumn[] }>(
      `SELECT id, version, columns ${from} ${lock}`,
      [table],
    );
    return row && { ...row, table };
  }

  async change(record: TableRecord, { columns, renames, adds }: TableChange, version: number): Promise<void> {
    checkNames({ table: record.table, columns: adds });
    refuseNames(
      "Postgres",
      SYSTEM_COLUMNS,
      record.table,
      adds.map(({ name }) => name),
    );
    const table = this.#name(record.table);
    const view = this.#name(changesView(record.table));
    const types = adds.map(({ name, type }) => `${quote(name)} ${SQL_TYPES[type]}`);
    if (record.version === 0) {
      await this.#refuseForeign(record.table);
      const list = [`"_id" text COLLATE "C" PRIMARY KEY`, ...types, `"_stamps" text COLLATE "C"`];
      await this.#query(`CREATE TABLE ${table} (${list.join(", ")})`);
    }
    for (const [from, to] of renames)
      for (const [kind, name] of [["TABLE", table] as const, ["VIEW", view] as const])
        await this.#query(`ALTER ${kind} ${name} RENAME COLUMN ${quote(from)} TO ${quote(to)}`);
    if (record.version > 0 && types.length > 0)
      await this.#query(`ALTER TABLE ${table} ${types.map((type) => `ADD COLUMN ${type}`).join(", ")}`);
    if (record.version === 0 || types.length > 0) await this.#query(this.#viewOf(record.id, view, columns));
    const update = `UPDATE ${this.#name("lakesync_tables")} SET version = $2, columns = $3 WHERE id = $1`;
    await this.#query(update, [record.id, version, JSON.stringify(columns)]);
  }

  async #refuseForeign(table: string): Promise<void> {
    const [found] = await this.#query<{ there: boolean }>("SELECT to_regclass($1) IS NOT NULL AS there", [
      this.#name(table),
    ]);
    if (found?.there) throw foreignTable("Postgres", table);
  }

  /** Columns only ever come at its end, so that it can be replaced under views of others. */
  #viewOf(id: number, view: string, columns: readonly TableColumn[]): string {
    const cells = columns.map(
      ({ id, name, type }) => `, ${typed(type, `(e -> 6 ->> '${id}')::${ARRAY_TYPES[type]}`)} AS ${quote(name)}`,
    );
    return `
      CREATE OR REPLACE VIEW ${view} AS
      SELECT w.gateway AS "_gateway", w.shard AS "_shard", (e ->> 0)::bigint AS "_seq",
        to_timestamp((e ->> 1)::float8 / 1000) AS "_received",
        CASE e ->> 2 WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' ELSE 'DELETE' END AS "_op",
        e ->> 3 AS "_id", e ->> 4 AS "_hlc", e ->> 5 AS "_client_id", e -> 6 AS "_cells"${cells.join("")}
      FROM ${this.#name("lakesync_watermarks")} AS w
        JOIN ${this.#name("lakesync_changes")} AS c ON c.source = w.id
        CROSS JOIN LATERAL json_array_elements(c.body::json) AS e
      WHERE w.table_id = ${Number(id)}`;
  }

  async source(record: TableRecord, gatewayId: string, shard: string): Promise<Source> {
    const watermarks = this.#name("lakesync_watermarks");
    const key = [record.id, gatewayId, shard];
    const dead = `EXISTS (SELECT FROM ${this.#name("lakesync_tombstones")} WHERE table_id = $1) AS dead`;
    const select = `SELECT id, seq, ${dead} FROM ${watermarks} WHERE table_id = $1 AND gateway = $2 AND shard = $3`;
    type Row = { id: number; seq: string; dead: boolean };
    let [row] = await this.#query<Row>(select, key);
    if (!row) {
      const insert = `INSERT INTO ${watermarks} (table_id, gateway, shard, seq) VALUES ($1, $2, $3, 0) RETURNING id, seq, ${dead}`;
      [row] = await this.#query<Row>(insert, key);
    }
    return { id: row?.id as number, seq: Number(row?.seq), dead: row?.dead as boolean };
  }

  async held(
    record: TableRecord,
    rowIds: readonly string[],
  ): Promise<(Pick<ReadRow, "rowId" | "stamps"> | ReadTombstone)[]> {
    const rows = await this.#query<{ rowId: string; stamps: string | null; state: string | null }>(
      `SELECT "_id" AS "rowId", "_stamps" AS stamps, NULL AS state FROM ${this.#name(record.table)}
       WHERE "_id" = ANY ($1::text[])
       UNION ALL
       SELECT row_id, NULL, state FROM ${this.#name("lakesync_tombstones")} WHERE table_id = $2 AND row_id = ANY ($1::text[])`,
      [rowIds, record.id],
    );
    return rows.map(({ rowId, stamps, state }) => (state === null ? { rowId, stamps } : { rowId, state }));
  }

  async insert(load: PostgresLoad, sent = () => {}): Promise<void> {
    const { record, rows, copy } = load;
    const names = ["_id", ...record.columns.map(({ name }) => name), "_stamps"].map(quote).join(", ");
    const into = `${this.#name(record.table)} (${names})`;
    if (copy !== undefined && (await this.#takesCopy(record)))
      return this.#next(() => copyInto(this.#client, into, copy, sent));
    const { list, types, params } = load.arrays ?? arraysOf(record, rows);
    await this.#next(() => {
      const inserted = this.#client.query(`INSERT INTO ${into} SELECT ${list} FROM ${unnest(types)}`, [...params]);
      sent();
      return inserted;
    });
  }

  /** Not one under row-level security, nor one whose columns somebody gave other types: an INSERT converts. */
  async #takesCopy({ table, columns }: TableRecord): Promise<boolean> {
    const found = await this.#query<{ name: string; type: string; secured: boolean }>(
      `SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type, c.relrowsecurity AS secured
       FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid WHERE c.oid = to_regclass($1) AND a.attnum > 0`,
      [this.#name(table)],
    );
    const types = new Map(found.map(({ name, type }) => [name, type]));
    return found[0]?.secured === false && columns.every(({ name, type }) => types.get(name) === FULL_TYPES[type]);
  }

  async update(record: TableRecord, rows: readonly RowUpdate[]): Promise<void> {
    if (rows.length === 0) return;
    const params: Scalar[][] = [rows.map(({ rowId }) => rowId), rows.map(({ state, seq }) => packStamps(state, seq))];
    const types = ["text", "text"];
    const sets = [`"_stamps" = p1`];
    for (const { id, name, type } of record.columns) {
      const named = rows.map(({ changes }) => changes.has(id));
      if (!named.includes(true)) continue;
      const value = typed(type, `p${params.length}`);
      params.push(rows.map(({ changes }) => changes.get(id) ?? null));
      types.push(ARRAY_TYPES[type]);
      if (!named.includes(false)) {
        sets.push(`${quote(name)} = ${value}`);
        continue;
      }
      sets.push(`${quote(name)} = CASE WHEN p${params.length} THEN ${value} ELSE t.${quote(name)} END`);
      params.push(named);
      types.push("boolean");
    }
    await this.#query(
      `UPDATE ${this.#name(record.table)} AS t SET ${sets.join(", ")} FROM ${unnest(types)} WHERE t."_id" = p0`,
      params,
    );
  }

  async delete(record: TableRecord, rowIds: readonly string[]): Promise<void> {
    if (rowIds.length === 0) return;
    await this.#query(`DELETE FROM ${this.#name(record.table)} WHERE "_id" = ANY ($1::text[])`, [rowIds]);
  }

  async bury(record: TableRecord, rows: readonly MergedRow[]): Promise<void> {
    if (rows.length === 0) return;
    await this.#query(
      `INSERT INTO ${this.#name("lakesync_tombstones")} (table_id, row_id, died, state)
       SELECT $1, u.id, to_timestamp(u.died / 1000), u.state
       FROM unnest($2::text[], $3::double precision[], $4::text[]) AS u (id, died, state)
       ON CONFLICT (table_id, row_id) DO UPDATE SET died = excluded.died, state = excluded.state`,
      [
        record.id,
        rows.map(({ rowId }) => rowId),
        rows.map(({ state }) => diedMs(state)),
        rows.map(({ state, seq }) => packTombstone(state, seq)),
      ],
    );
  }

  async exhume(record: TableRecord, rowIds: readonly string[]): Promise<void> {
    if (rowIds.length === 0) return;
    await this.#query(
      `DELETE FROM ${this.#name("lakesync_tombstones")} WHERE table_id = $1 AND row_id = ANY ($2::text[])`,
      [record.id, rowIds],
    );
  }

  async forget(record: TableRecord, beforeMs: number): Promise<void> {
    await this.#query(
      `DELETE FROM ${this.#name("lakesync_tombstones")} WHERE table_id = $1 AND died < to_timestamp($2::float8 / 1000)`,
      [record.id, beforeMs],
    );
  }

  async append(source: Source, chunks: readonly Chunk[]): Promise<void> {
    const params: unknown[] = [source.id];
    const rows = chunks.map(({ first, last, body }) => {
      const at = params.push(first, last, body);
      return `($1, $${at - 2}::bigint, $${at - 1}::bigint, $${at}::text)`;
    });
    const into = `${this.#name("lakesync_changes")} (source, first, last, body)`;
    await this.#query(`INSERT INTO ${into} VALUES ${rows.join(", ")}`, params);
  }

  async advance(source: Source, seq: number, digest: string | null): Promise<void> {
    const update = `UPDATE ${this.#name("lakesync_watermarks")} SET seq = $2, digest = $3 WHERE id = $1`;
    await this.#query(update, [source.id, seq, digest]);
  }

  async rows(record: TableRecord, { after, limit, ids }: RowsQuery): Promise<ReadRow[]> {
    const { columns } = record;
    const list = columns.map(({ name, type }, at) => `, ${selectOf(type, quote(name))} AS c${at}`).join("");
    const where = `($1::text IS NULL OR "_id" > $1) AND ($2::text[] IS NULL OR "_id" = ANY ($2::text[]))`;
    const rows = await this.#query<{ id: string; stamps: string | null } & Record<string, string | Buffer | null>>(
      `SELECT "_id" AS id, "_stamps" AS stamps${list} FROM ${this.#name(record.table)} WHERE ${where} ORDER BY "_id" LIMIT $3`,
      [after ?? null, ids ?? null, limit],
    );
    return rows.map((row) => ({
      rowId: row.id,
      stamps: row.stamps,
      values: columns.map(({ type }, at): Scalar => fromSql(type, row[`c${at}`] ?? null)),
    }));
  }

  tombstones(record: TableRecord, { after, limit, ids }: RowsQuery): Promise<ReadTombstone[]> {
    return this.#query<{ rowId: string; state: string }>(
      `SELECT row_id AS "rowId", state FROM ${this.#name("lakesync_tombstones")}
       WHERE table_id = $1 AND ($2::text IS NULL OR row_id > $2) AND ($3::text[] IS NULL OR row_id = ANY ($3::text[]))
       ORDER BY row_id LIMIT $4`,
      [record.id, after ?? null, ids ?? null, limit],
    );
  }

  async *chunks(record: TableRecord, gatewayId: string, shard: string, afterSeq: number): AsyncGenerator<string> {
    for (let after = afterSeq; ; ) {
      const chunks = await this.#query<{ last: string; body: string }>(
        `SELECT c.last, c.body FROM ${this.#name("lakesync_changes")} AS c
         WHERE c.source = (SELECT id FROM ${this.#name("lakesync_watermarks")} WHERE table_id = $1 AND gateway = $2 AND shard = $3)
           AND c.last > $4 ORDER BY c.last LIMIT ${CHUNKS_READ}`,
        [record.id, gatewayId, shard, after],
      );
      for (const { body } of chunks) yield body;
      if (chunks.length < CHUNKS_READ) return;
      after = Number(chunks.at(-1)?.last);
    }
  }

  async progress(record: TableRecord): Promise<(ShardProgress & { readonly gatewayId: string })[]> {
    const rows = await this.#query<WatermarkRow>(
      `SELECT gateway, shard, seq, digest FROM ${this.#name("lakesync_watermarks")} WHERE table_id = $1 ORDER BY gateway, shard`,
      [record.id],
    );
    return progressOf(rows);
  }
}

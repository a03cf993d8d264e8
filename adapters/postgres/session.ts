/** Postgres's statements, over one connection. Values travel as arrays, one parameter a column: no batch is too large. */
import type { Buffer } from "node:buffer";
import type pg from "pg";
import type { ShardProgress } from "../../core/index.ts";
import { type Column, hlcMillis, type Scalar, type Seq, stampHlc, type TableSchema } from "../../schemas/index.ts";
import type { Chunk, StoredChunk } from "../sql/changes.ts";
import type { ReadRow, ReadTombstone, RowsQuery, Source, SqlWriter } from "../sql/database.ts";
import { changesView, checkNames, refuseNames } from "../sql/names.ts";
import type { MergedRow, RowUpdate } from "../sql/page.ts";
import { packStamps, packTombstone } from "../sql/row-state.ts";
import type { TableChange, TableColumn, TableRecord } from "../sql/table.ts";
import { copyCell, copyInto } from "./copy.ts";
import { fromSql, SQL_TYPES, selectOf, toText } from "./values.ts";

export type Bulk = "copy" | "arrays";

/** Columns that every Postgres table has already. */
const SYSTEM_COLUMNS = new Set(["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"]);

/** Chunks of the change log that are read at once. */
const CHUNKS_READ = 8;

export const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;

type Params = readonly unknown[];

export class PostgresSession implements SqlWriter {
  readonly #client: pg.ClientBase;
  /** Quoted. */
  readonly #schema: string;
  readonly #bulk: Bulk;

  constructor(client: pg.ClientBase, schema: string, bulk: Bulk) {
    this.#client = client;
    this.#schema = quote(schema);
    this.#bulk = bulk;
  }

  async #query<T extends pg.QueryResultRow>(sql: string, params: Params = []): Promise<T[]> {
    return (await this.#client.query<T>(sql, params as unknown[])).rows;
  }

  #name(name: string): string {
    return `${this.#schema}.${quote(name)}`;
  }

  async prepare(): Promise<void> {
    const own = ["tables", "schemas", "watermarks", "changes", "tombstones"].map((name) => `lakesync_${name}`);
    const [found] = await this.#query<{ n: number }>(
      "SELECT count(to_regclass(name))::int AS n FROM unnest($1::text[]) AS name",
      [own.map((name) => this.#name(name))],
    );
    if (found?.n === own.length) return;
    await this.#client.query(`
      CREATE TABLE IF NOT EXISTS ${this.#name("lakesync_tables")} (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE,
        version integer NOT NULL, columns json NOT NULL);
      CREATE TABLE IF NOT EXISTS ${this.#name("lakesync_schemas")} (
        table_id integer NOT NULL, version integer NOT NULL, columns json NOT NULL, PRIMARY KEY (table_id, version));
      CREATE TABLE IF NOT EXISTS ${this.#name("lakesync_watermarks")} (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, table_id integer NOT NULL, gateway text COLLATE "C" NOT NULL,
        shard text COLLATE "C" NOT NULL, seq bigint NOT NULL, digest text, UNIQUE (table_id, gateway, shard));
      CREATE TABLE IF NOT EXISTS ${this.#name("lakesync_changes")} (
        source integer NOT NULL, last bigint NOT NULL, first bigint NOT NULL, version integer NOT NULL,
        body text NOT NULL, PRIMARY KEY (source, last));
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

  async schema(record: TableRecord, version: number): Promise<readonly Pick<Column, "id" | "name">[]> {
    const [row] = await this.#query<{ columns: Column[] }>(
      `SELECT columns FROM ${this.#name("lakesync_schemas")} WHERE table_id = $1 AND version = $2`,
      [record.id, version],
    );
    return row?.columns ?? record.columns;
  }

  async change(record: TableRecord, { renames, adds }: TableChange): Promise<void> {
    checkNames({ table: record.table, columns: adds });
    const names = adds.map(({ name }) => name);
    refuseNames("Postgres", SYSTEM_COLUMNS, record.table, names);
    const table = this.#name(record.table);
    if (record.version === 0) {
      const columns = adds.map(({ name, type }) => `${quote(name)} ${SQL_TYPES[type]}, `).join("");
      await this.#query(
        `CREATE TABLE ${table} ("_id" text COLLATE "C" PRIMARY KEY, ${columns}"_stamps" text COLLATE "C")`,
      );
      await this.#createView(record);
      return;
    }
    for (const [from, to] of renames) {
      await this.#query(`ALTER TABLE ${table} RENAME COLUMN ${quote(from)} TO ${quote(to)}`);
    }
    if (adds.length > 0) {
      const columns = adds.map(({ name, type }) => `ADD COLUMN ${quote(name)} ${SQL_TYPES[type]}`);
      await this.#query(`ALTER TABLE ${table} ${columns.join(", ")}`);
    }
  }

  #createView({ id, table }: TableRecord): Promise<unknown> {
    return this.#query(`
      CREATE VIEW ${this.#name(changesView(table))} AS
      SELECT w.gateway AS "_gateway", w.shard AS "_shard", (e ->> 0)::bigint AS "_seq",
        to_timestamp((e ->> 1)::float8 / 1000) AS "_received", e ->> 2 AS "_op", e ->> 3 AS "_id", e ->> 4 AS "_hlc",
        e ->> 5 AS "_client_id", e -> 6 AS "_columns"
      FROM ${this.#name("lakesync_watermarks")} AS w
        JOIN ${this.#name("lakesync_changes")} AS c ON c.source = w.id
        CROSS JOIN LATERAL json_array_elements(c.body::json) AS e
      WHERE w.table_id = ${Number(id)}`);
  }

  async remember({ id, version, columns }: TableRecord, schema: TableSchema): Promise<void> {
    await this.#query(`UPDATE ${this.#name("lakesync_tables")} SET version = $2, columns = $3 WHERE id = $1`, [
      id,
      version,
      JSON.stringify(columns),
    ]);
    await this.#query(`INSERT INTO ${this.#name("lakesync_schemas")} VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, [
      id,
      schema.version,
      JSON.stringify(schema.columns.map(({ id, name }) => ({ id, name }))),
    ]);
  }

  async source(record: TableRecord, gatewayId: string, shard: string): Promise<Source> {
    const watermarks = this.#name("lakesync_watermarks");
    const key = [record.id, gatewayId, shard];
    const select = `SELECT id, seq FROM ${watermarks} WHERE table_id = $1 AND gateway = $2 AND shard = $3`;
    let [row] = await this.#query<{ id: number; seq: string }>(select, key);
    if (!row) {
      const insert = `INSERT INTO ${watermarks} (table_id, gateway, shard, seq) VALUES ($1, $2, $3, 0) RETURNING id, seq`;
      [row] = await this.#query<{ id: number; seq: string }>(insert, key);
    }
    return { id: row?.id as number, seq: Number(row?.seq) };
  }

  held(record: TableRecord, rowIds: readonly string[]): Promise<Pick<ReadRow, "rowId" | "stamps">[]> {
    const from = `FROM ${this.#name(record.table)} WHERE "_id" = ANY ($1::text[])`;
    return this.#query(`SELECT "_id" AS "rowId", "_stamps" AS stamps ${from}`, [rowIds]);
  }

  async insert(record: TableRecord, rows: readonly MergedRow[]): Promise<void> {
    if (rows.length === 0) return;
    const { columns } = record;
    const names = ["_id", ...columns.map(({ name }) => name), "_stamps"].map(quote).join(", ");
    const target = `${this.#name(record.table)} (${names})`;
    const cells = new RowCells(columns);
    if (this.#bulk === "copy") {
      let text = "";
      for (const row of rows) {
        text += copyCell(row.rowId);
        for (const cell of cells.of(row)) text += `\t${copyCell(cell)}`;
        text += `\t${packStamps(row.state, row.seq)}\n`;
      }
      return copyInto(this.#client, target, text);
    }
    const params: (string | null)[][] = [rows.map(({ rowId }) => rowId), ...columns.map(() => [])];
    for (const row of rows) for (const [at, cell] of cells.of(row).entries()) params[at + 1]?.push(cell);
    params.push(rows.map(({ state, seq }) => packStamps(state, seq)));
    const types = ["text", ...columns.map(({ type }) => SQL_TYPES[type]), "text"];
    await this.#query(`INSERT INTO ${target} SELECT * FROM unnest(${arrays(types)})`, params);
  }

  async update(record: TableRecord, rows: readonly RowUpdate[]): Promise<void> {
    if (rows.length === 0) return;
    const changed = record.columns.filter(({ id }) => rows.some(({ changes }) => changes.has(String(id))));
    const params: unknown[] = [rows.map(({ rowId }) => rowId), rows.map(({ state, seq }) => packStamps(state, seq))];
    const types = ["text", "text"];
    const sets = [`"_stamps" = u.p1`];
    for (const { id, name, type } of changed) {
      const key = String(id);
      const at = params.push(rows.map(({ changes }) => toText(type, changes.get(key)))) - 1;
      types.push(SQL_TYPES[type]);
      if (rows.every(({ changes }) => changes.has(key))) {
        sets.push(`${quote(name)} = u.p${at}`);
        continue;
      }
      const named = params.push(rows.map(({ changes }) => changes.has(key))) - 1;
      types.push("boolean");
      sets.push(`${quote(name)} = CASE WHEN u.p${named} THEN u.p${at} ELSE t.${quote(name)} END`);
    }
    const names = types.map((_, at) => `p${at}`).join(", ");
    await this.#query(
      `UPDATE ${this.#name(record.table)} AS t SET ${sets.join(", ")}
       FROM unnest(${arrays(types)}) AS u (${names}) WHERE t."_id" = u.p0`,
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
        rows
          .map(({ state }) => (state.deleted === "" ? null : hlcMillis(stampHlc(state.deleted))))
          .map((ms) => ms ?? FAR),
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

  async append(source: Source, version: number, chunks: readonly Chunk[]): Promise<void> {
    await this.#query(
      `INSERT INTO ${this.#name("lakesync_changes")} (source, version, first, last, body)
       SELECT $1, $2, * FROM unnest($3::bigint[], $4::bigint[], $5::text[])`,
      [
        source.id,
        version,
        chunks.map(({ first }) => first),
        chunks.map(({ last }) => last),
        chunks.map(({ body }) => body),
      ],
    );
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

  async *chunks(record: TableRecord, gatewayId: string, shard: string, afterSeq: number): AsyncGenerator<StoredChunk> {
    for (let after = afterSeq; ; ) {
      const chunks = await this.#query<StoredChunk & { last: string }>(
        `SELECT c.last, c.version, c.body FROM ${this.#name("lakesync_changes")} AS c
         WHERE c.source = (SELECT id FROM ${this.#name("lakesync_watermarks")} WHERE table_id = $1 AND gateway = $2 AND shard = $3)
           AND c.last > $4 ORDER BY c.last LIMIT ${CHUNKS_READ}`,
        [record.id, gatewayId, shard, after],
      );
      yield* chunks;
      if (chunks.length < CHUNKS_READ) return;
      after = Number(chunks.at(-1)?.last);
    }
  }

  async progress(record: TableRecord): Promise<(ShardProgress & { readonly gatewayId: string })[]> {
    const rows = await this.#query<{ gateway: string; shard: string; seq: string; digest: string | null }>(
      `SELECT gateway, shard, seq, digest FROM ${this.#name("lakesync_watermarks")} WHERE table_id = $1 ORDER BY gateway, shard`,
      [record.id],
    );
    return rows.map(({ gateway, shard, seq, digest }) => ({
      gatewayId: gateway,
      shard,
      watermark: Number(seq) as Seq,
      ...(digest !== null && { digest }),
    }));
  }
}

/** The year 9999: of what did not die, but was never made. */
const FAR = 253_402_300_799_000;

const arrays = (types: readonly string[]): string => types.map((type, at) => `$${at + 1}::${type}[]`).join(", ");

/** Cells of rows in the order of columns, as text. */
class RowCells {
  readonly #columns: readonly TableColumn[];
  readonly #places: ReadonlyMap<string, number>;

  constructor(columns: readonly TableColumn[]) {
    this.#columns = columns;
    this.#places = new Map(columns.map(({ id }, at) => [String(id), at]));
  }

  of({ state }: MergedRow): (string | null)[] {
    const cells: (string | null)[] = this.#columns.map(() => null);
    for (const layer of state.layers)
      for (const id in layer.cells) {
        const at = this.#places.get(id);
        if (at !== undefined) cells[at] = toText((this.#columns[at] as TableColumn).type, layer.cells[id]);
      }
    return cells;
  }
}

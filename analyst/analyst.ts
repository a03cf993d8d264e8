/**
 * SQL over a gateway's lake, as it is or as it was:
 *
 *   plan   DuckDB's own, over empty tables: which columns of which tables, and what it asks of their rows
 *   load   those columns of the files that can matter, as of the moment, into DuckDB
 *   run    the query as it was written
 */
import type { LakeAdapter } from "../core/index.ts";
import { definitionOf, fieldsOf, keyOf, type LakeField } from "../lake/index.ts";
import { LakeSyncError, type Scalar, type TableSchema } from "../schemas/index.ts";
import { CachedStore } from "./cached-store.ts";
import { type Answer, QUERY_SCHEMA, quoted, SQL_TYPES, type SqlEngine } from "./engine.ts";
import { Gateway, type GatewayOptions } from "./gateway.ts";
import { type AsOf, type Moment, momentOf } from "./moment.ts";
import { type Need, needsOf, PLAN_SETTINGS, RUN_SETTINGS } from "./plan.ts";
import { rulesOut } from "./prune.ts";
import { changesOf, type DiffRow, diffOf, type RowChange } from "./story.ts";
import { type Counts, fieldsNow, heldBy, type Live, type Seen, TableAt, type TableSource } from "./table.ts";

export interface AnalystOptions extends GatewayOptions {
  /** `await duckdbNode()` in Node, `duckdbWasm(database)` in a browser; the analyst closes it. */
  readonly engine: SqlEngine;
  /** Bytes of files that are kept in memory for the next query. 128 MB by default. */
  readonly cacheBytes?: number;
}

export interface QueryOptions {
  /** A time, a snapshot or an HLC; now by default. */
  readonly asOf?: AsOf;
  /** With what the gateway has not flushed yet, up to the head of each shard. */
  readonly live?: boolean;
}

export interface QueryResult extends Answer {
  /** An object a row. */
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  /** What it saw of each table. */
  readonly seen: Readonly<Record<string, Seen>>;
  readonly stats: Counts & { readonly requests: number; readonly bytes: number };
}

const CACHE_BYTES = 128 * 1024 * 1024;
/** A flush may take edits to the lake while a query asks for them. */
const LOADS_MAX = 5;
const CHANGES = "__changes";

export class Analyst {
  readonly #gateway: Gateway;
  readonly #engine: SqlEngine;
  readonly #cacheBytes: number;
  #store: CachedStore | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: AnalystOptions) {
    this.#gateway = new Gateway(options);
    this.#engine = options.engine;
    this.#cacheBytes = options.cacheBytes ?? CACHE_BYTES;
  }

  /** Names of the tables; each has its history beside it, `<table>__changes`. */
  async tables(): Promise<string[]> {
    return (await this.#gateway.tables()).map(({ table }) => table);
  }

  /**
   * Runs one SELECT over the gateway's tables.
   * @throws LakeSyncError `BadRequest` for SQL that DuckDB refuses, `NotFound` for a snapshot that is gone, `Forbidden` for a
   * token that is no admin's, `Network`
   */
  query(sql: string, options: QueryOptions = {}): Promise<QueryResult> {
    const done = this.#queue.then(() => this.#query(sql, options));
    this.#queue = done.catch(() => {});
    return done;
  }

  async #query(sql: string, { asOf, live = false }: QueryOptions): Promise<QueryResult> {
    const schemas = await this.#gateway.tables();
    const before = { requests: this.#store?.requests ?? 0, bytes: this.#store?.bytes ?? 0 };
    const moments = await this.#moments(momentOf(asOf), schemas);
    const shapes = new Map<string, readonly LakeField[]>();
    for (const schema of schemas)
      for (const kind of ["main", "changes"] as const)
        shapes.set(
          kind === "main" ? schema.table : schema.table + CHANGES,
          fieldsOf(definitionOf(schema, kind).schema, kind),
        );
    await this.#shape(shapes);
    const needs = await this.#attempt(async () => {
      await this.#engine.run(PLAN_SETTINGS);
      const columns = new Map([...shapes].map(([name, fields]) => [name, fields.map((field) => field.name)]));
      return needsOf(this.#engine, sql, columns).finally(() => this.#engine.run(RUN_SETTINGS));
    });
    const seen: Record<string, Seen> = {};
    const counts: Counts = { files: 0, filesPruned: 0 };
    for (const schema of schemas) {
      const [main, history] = [needs.get(schema.table), needs.get(schema.table + CHANGES)];
      if (!main && !history) continue;
      const source = await this.#source(schema, live);
      const table = new TableAt(source, moments(schema.table));
      seen[schema.table] = table.seen;
      if (main) await this.#fill(schema.table, shapes, table, main, source, counts);
      if (history) await this.#fillHistory(schema.table + CHANGES, shapes, table, source, counts);
    }
    const answer = await this.#attempt(() => this.#engine.query(sql));
    const requests = (this.#store?.requests ?? 0) - before.requests;
    const bytes = (this.#store?.bytes ?? 0) - before.bytes;
    return { ...answer, rows: rowsOf(answer), seen, stats: { ...counts, requests, bytes } };
  }

  /** Empty tables, in a schema that is made anew for each query. */
  async #shape(shapes: ReadonlyMap<string, readonly LakeField[]>): Promise<void> {
    await this.#engine.run("USE memory.main");
    await this.#engine.run(`DROP SCHEMA IF EXISTS ${QUERY_SCHEMA} CASCADE`);
    await this.#engine.run(`CREATE SCHEMA ${QUERY_SCHEMA}`);
    await this.#engine.run(`USE memory.${QUERY_SCHEMA}`);
    for (const [name, fields] of shapes) {
      const columns = fields.map((field) => `${quoted(field.name)} ${SQL_TYPES[field.type]}`);
      await this.#engine.run(`CREATE TABLE ${quoted(name)} (${columns.join(", ")})`);
    }
  }

  async #attempt<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (cause) {
      if (cause instanceof LakeSyncError) throw cause;
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new LakeSyncError("BadRequest", message, {}, { cause });
    }
  }

  /**
   * The moment of each table. A snapshot is one table's; the others are seen as of what it held: its time.
   */
  async #moments(moment: Moment, schemas: readonly TableSchema[]) {
    if (moment.kind !== "snapshot") return () => moment;
    for (const { table } of schemas)
      for (const kind of ["main", "changes"] as const) {
        const loaded = await this.#gateway.load(table, kind);
        const snapshot = loaded?.metadata.snapshots?.find((each) => String(each["snapshot-id"]) === moment.id);
        if (!snapshot) continue;
        const micros = Number(snapshot.summary["lakesync.to-ms"] ?? snapshot["timestamp-ms"]) * 1000;
        return (name: string): Moment => (name === table && kind === "main" ? moment : { kind: "time", micros });
      }
    throw new LakeSyncError("NotFound", `No table has a snapshot ${moment.id}, or it has expired; ask by time.`);
  }

  async #source(schema: TableSchema, live: boolean): Promise<TableSource> {
    const { table } = schema;
    let lake = await this.#load(table);
    let fresh: Live | undefined;
    // The log is trimmed after the commit: with the same watermarks before and after, nothing fell in between.
    for (let loads = 0; live && !fresh; loads++) {
      if (loads === LOADS_MAX)
        throw new LakeSyncError("Unavailable", `Table ${table} is flushed faster than it can be read; try again.`);
      const asked = await this.#gateway.unflushed(table, lake.held);
      const again = await this.#load(table);
      if (again.state === lake.state) fresh = asked;
      lake = again;
    }
    const { main, changes } = lake;
    return {
      name: table,
      store: this.#storeOf(table, main?.metadata.location ?? changes?.metadata.location),
      main,
      changes,
      fields: main ? fieldsNow(main, "main") : fieldsOf(definitionOf(schema, "main").schema, "main"),
      changeFields: changes
        ? fieldsNow(changes, "changes")
        : fieldsOf(definitionOf(schema, "changes").schema, "changes"),
      live: fresh,
    };
  }

  async #load(table: string) {
    const [main, changes] = await Promise.all([
      this.#gateway.load(table, "main"),
      this.#gateway.load(table, "changes"),
    ]);
    const [inMain, inChanges] = [main, changes].map((each) => heldBy(newestSummary(each)));
    // Of what only one of the two has, the shard still knows.
    const held = new Map([...(inMain ?? [])].map(([shard, seq]) => [shard, Math.min(seq, inChanges?.get(shard) ?? 0)]));
    const state = JSON.stringify([inMain, inChanges].map((each) => [...(each ?? [])].sort()));
    return { main, changes, held, state };
  }

  #storeOf(table: string, location: string | undefined): LakeAdapter {
    const bucket = /^[a-z0-9]+:\/\/[^/]+/.exec(location ?? "")?.[0] ?? "s3://none";
    this.#store ??= new CachedStore(bucket, this.#cacheBytes, () => this.#gateway.store(table));
    if (location) keyOf(this.#store, location);
    return this.#store;
  }

  async #fill(
    name: string,
    shapes: ReadonlyMap<string, readonly LakeField[]>,
    table: TableAt,
    need: Need,
    source: TableSource,
    counts: Counts,
  ): Promise<void> {
    const skip = (entry: Parameters<typeof rulesOut>[0]) => rulesOut(entry, source.fields, need.predicates);
    for await (const batch of table.rows(need.columns, skip, counts))
      await this.#insert(name, shapes.get(name) ?? [], source.fields, batch);
  }

  async #fillHistory(
    name: string,
    shapes: ReadonlyMap<string, readonly LakeField[]>,
    table: TableAt,
    source: TableSource,
    counts: Counts,
  ): Promise<void> {
    for await (const batch of table.history(counts))
      await this.#insert(name, shapes.get(name) ?? [], source.changeFields, batch);
  }

  /** @param from fields of the lake's table, in the order of the batch; @param shape those of the query's */
  async #insert(
    name: string,
    shape: readonly LakeField[],
    from: readonly LakeField[],
    batch: readonly (readonly Scalar[] | undefined)[],
  ): Promise<void> {
    const rows = batch.find((values) => values !== undefined)?.length ?? 0;
    const columns = shape.map((field) => {
      const at = from.findIndex(
        (each) => each.columnId === field.columnId && (field.columnId !== undefined || each.name === field.name),
      );
      return { name: field.name, type: field.type, values: batch[at] };
    });
    if (rows > 0) await this.#engine.insert(name, columns, rows);
  }

  /** Every change of a row, oldest first. */
  async history(table: string, rowId: string, { live = false }: Pick<QueryOptions, "live"> = {}): Promise<RowChange[]> {
    return changesOf(await this.#source(await this.#schema(table), live), rowId);
  }

  /** Rows that differ between two moments; `to` is now by default. */
  async diff(
    table: string,
    from: AsOf,
    to?: AsOf,
    { live = false }: Pick<QueryOptions, "live"> = {},
  ): Promise<DiffRow[]> {
    const schemas = await this.#gateway.tables();
    const source = await this.#source(await this.#schema(table), live);
    const [before, after] = await Promise.all([from, to].map((each) => this.#moments(momentOf(each), schemas)));
    return diffOf(source, before?.(table) ?? { kind: "now" }, after?.(table) ?? { kind: "now" });
  }

  async #schema(table: string): Promise<TableSchema> {
    const schema = (await this.#gateway.tables()).find((each) => each.table === table);
    if (schema) return schema;
    throw new LakeSyncError("NotFound", `There is no table ${JSON.stringify(table)}.`);
  }

  async close(): Promise<void> {
    await this.#queue;
    await this.#engine.close();
  }
}

function newestSummary(loaded: TableSource["main"]): Readonly<Record<string, string>> | undefined {
  const { metadata } = loaded ?? {};
  const current = metadata?.snapshots?.find((each) => each["snapshot-id"] === metadata["current-snapshot-id"]);
  return current?.summary;
}

function rowsOf({ names, values }: Answer): Record<string, unknown>[] {
  const count = values[0]?.length ?? 0;
  return Array.from({ length: count }, (_, row) =>
    Object.fromEntries(names.map((name, at) => [name, values[at]?.[row]])),
  );
}

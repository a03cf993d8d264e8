/**
 * The lake through DuckDB: the catalogue names the metadata, the metadata names the manifests, the manifests name the
 * Parquet files; files are copied out of the emulated bucket and read by DuckDB, position deletes applied in SQL.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import type { Snapshot, TableMetadata } from "../../core/index.ts";
import { CONTENT, type DataFile, keyOf, liveEntries, R2Store } from "../../lake/index.ts";
import { type Scalar, unwrap } from "../../schemas/index.ts";
import type { Table } from "./compare.ts";
import { type DemoGateway, GATEWAY_ID } from "./gateway.ts";

const LOCATION = "s3://lakesync-lake";

export interface LakeTable {
  readonly metadataLocation: string;
  readonly snapshots: number;
  readonly dataFiles: number;
  readonly deleteFiles: number;
  readonly bytes: number;
  /** SQL that gives the table's live rows. */
  readonly sql: string;
}

export class DemoLake {
  readonly #gateway: DemoGateway;
  readonly #directory: string;
  #duckdb: DuckDBConnection | undefined;

  constructor(gateway: DemoGateway, directory: string) {
    this.#gateway = gateway;
    this.#directory = directory;
  }

  async #connection(): Promise<DuckDBConnection> {
    this.#duckdb ??= await (await DuckDBInstance.create()).connect();
    return this.#duckdb;
  }

  /** Copies a table's live files out, and says how to read them. */
  async open(table: string): Promise<LakeTable> {
    const loaded = await this.#gateway.admin<{ "metadata-location": string; metadata: TableMetadata }>(
      "GET",
      `/iceberg/v1/${GATEWAY_ID}/namespaces/app/tables/${table}`,
    );
    const { metadata } = loaded;
    const snapshots = (metadata.snapshots ?? []) as readonly Snapshot[];
    const current = snapshots.find((s) => s["snapshot-id"] === metadata["current-snapshot-id"]);
    const store = new R2Store((await this.#gateway.server.lake()) as unknown as R2Bucket, { location: LOCATION });
    const entries = [...(await liveEntries(store, current, "data")), ...(await liveEntries(store, current, "deletes"))];
    const files = entries.map((e) => e.data_file);
    for (const file of files) await this.#copy(store, file);
    const data = files.filter((f) => f.content === CONTENT.data);
    const deletes = files.filter((f) => f.content === CONTENT.positionDeletes);
    return {
      metadataLocation: loaded["metadata-location"],
      snapshots: snapshots.length,
      dataFiles: data.length,
      deleteFiles: deletes.length,
      bytes: files.reduce((sum, f) => sum + Number(f.file_size_in_bytes), 0),
      sql: this.#sql(data, deletes),
    };
  }

  #local(location: string): string {
    return join(this.#directory, location.slice(LOCATION.length + 1));
  }

  async #copy(store: R2Store, file: DataFile): Promise<void> {
    const path = this.#local(file.file_path);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, unwrap(await store.get(keyOf(store, file.file_path))));
  }

  #sql(data: readonly DataFile[], deletes: readonly DataFile[]): string {
    const list = (files: readonly DataFile[]) =>
      `[${files.map((f) => `'${this.#local(f.file_path).replaceAll("'", "''")}'`).join(", ")}]`;
    const rows = `SELECT * FROM read_parquet(${list(data)}, filename = true, file_row_number = true, union_by_name = true)`;
    if (deletes.length === 0) return rows;
    const prefix = `${this.#directory}/`.replaceAll("'", "''");
    return `${rows} AS d WHERE NOT EXISTS (SELECT 1 FROM read_parquet(${list(deletes)}) AS x
      WHERE replace(x.file_path, '${LOCATION}/', '${prefix}') = d.filename AND x.pos = d.file_row_number)`;
  }

  /** Live rows, canonical values, by row id. */
  async rows(lake: LakeTable, columns: readonly { readonly name: string; readonly type: string }[]): Promise<Table> {
    const expression = {
      timestamp: (c: string) => `epoch_us("${c}")::DOUBLE`,
      integer: (c: string) => `"${c}"::DOUBLE`,
    } as Record<string, (c: string) => string>;
    const selected = columns.map(({ name, type }) => expression[type]?.(name) ?? `"${name}"`);
    const result = await (await this.#connection()).runAndReadAll(
      `SELECT _id, ${selected.join(", ")} FROM (${lake.sql})`,
    );
    const [ids = [], ...values] = result.getColumnsJS() as Scalar[][];
    return new Map(
      ids.map((id, at) => [String(id), Object.fromEntries(columns.map((c, k) => [c.name, values[k]?.[at] ?? null]))]),
    );
  }

  /** One row of a query, for show. */
  async query(sql: string): Promise<Record<string, unknown>[]> {
    return (await (await this.#connection()).runAndReadAll(sql)).getRowObjectsJson();
  }
}

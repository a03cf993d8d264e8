/**
 * BigQuery as a destination of flushes, over its REST interface alone, so that it runs in a Worker.
 *
 *   pages --lines of JSON--> load jobs into a table of the flush's own -> one script: edits, rows, watermark -> drop it
 *
 * A flush costs one load job (or one for each LOAD_CHARS of data) and three queries, whatever its size: what quotas count.
 */
import type {
  DatabaseAdapter,
  DeltasSinceQuery,
  FlushBatch,
  FlushReceipt,
  HistoryBatch,
  LatestStateQuery,
  RowBatch,
  ShardProgress,
} from "../../core/index.ts";
import {
  attempt,
  type ClientId,
  type Column,
  cellsAt,
  clientOf,
  DeltaBatchBuilder,
  type HlcText,
  LakeSyncError,
  type Result,
  type Scalar,
  type Seq,
  type Stamp,
  type TableSchema,
  timestampToIso,
} from "../../schemas/index.ts";
import { watermarkIn } from "../composed.ts";
import { parseServiceAccount, type ServiceAccount, tokenSource } from "./auth.ts";
import { type AnswerRow, BigQueryRest } from "./rest.ts";
import {
  addColumn,
  assertNames,
  BOOKKEEPING,
  columnOf,
  createTable,
  createView,
  dropStage,
  KNOWN,
  PROGRESS,
  REMEMBER,
  STAGE_FIELDS,
  selectChanges,
  selectRows,
  takeStage,
} from "./statements.ts";

type Answer<T> = Promise<Result<T, LakeSyncError>>;

/** Text that is loaded at once; a Worker holds it in memory. Characters. */
const LOAD_CHARS = 8 * 1024 * 1024;

export interface BigQueryOptions {
  /** A service account's key, as Google hands it out: JSON, from the environment. Not needed with an emulator. */
  readonly credentials?: string;
  /** Of the dataset; by default the service account's. */
  readonly projectId?: string;
  /** It has to be there, unless `makeDataset` is set. */
  readonly dataset: string;
  /** Makes the dataset where it is missing; the service account needs Data Editor (or User) on the project for that. */
  readonly makeDataset?: boolean;
  /** Of the dataset, such as `europe-west1`; needed where it is not in the US or EU. */
  readonly location?: string;
  /** Another address than Google's: an emulator. */
  readonly endpoint?: string;
  readonly fetch?: (request: Request) => Promise<Response>;
  readonly now?: () => number;
  readonly sleep?: (milliseconds: number) => Promise<void>;
  readonly chance?: () => number;
}

export class BigQueryAdapter implements DatabaseAdapter {
  readonly #rest: BigQueryRest;
  readonly #chance: () => number;
  readonly #makeDataset: boolean;
  /** Tables that are ready, with their schema's version. */
  readonly #ready = new Map<string, number>();

  /** @throws `Misconfigured` when the credentials are none */
  constructor(options: BigQueryOptions) {
    const { credentials, dataset, location, endpoint = "https://bigquery.googleapis.com" } = options;
    if (!/^\w{1,1024}$/.test(dataset))
      throw new LakeSyncError("Misconfigured", "BigQuery's dataset has to be a name of letters, digits and _.", {
        key: "dataset",
      });
    const account: ServiceAccount | undefined =
      credentials === undefined && options.endpoint !== undefined ? undefined : parseServiceAccount(credentials ?? "");
    this.#chance = options.chance ?? Math.random;
    this.#makeDataset = options.makeDataset ?? false;
    this.#rest = new BigQueryRest({
      ...{ endpoint, dataset, location },
      projectId: options.projectId ?? account?.project_id ?? "local",
      token: account ? tokenSource(account, options.now ?? Date.now) : async () => "none",
      fetch: options.fetch ?? ((request) => fetch(request)),
      sleep: options.sleep ?? ((milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))),
      chance: this.#chance,
    });
  }

  ensureSchema(table: TableSchema): Answer<void> {
    return attempt(async () => {
      if ((this.#ready.get(table.table) ?? 0) >= table.version) return;
      assertNames(table);
      const known = await this.#known(table, true);
      if (known && known.version >= table.version) {
        assertTypes(table, known.columns);
        this.#ready.set(table.table, known.version);
        return;
      }
      if (known) assertTypes(table, known.columns);
      const old = new Set(known?.columns.map(({ id }) => id));
      const added = known ? table.columns.filter(({ id }) => !old.has(id)) : [];
      const columns = [...(known?.columns ?? []), ...table.columns.filter(({ id }) => !old.has(id))];
      const statements = [
        createTable(table),
        ...added.map((column) => addColumn(table.table, column)),
        createView(table),
      ];
      await this.#rest.query(statements.join(";\n"));
      const remembered = JSON.stringify(columns.map(({ id, type }) => ({ id, type })));
      await this.#rest.query(REMEMBER, { tbl: table.table, version: table.version, columns: remembered });
      this.#ready.set(table.table, table.version);
    });
  }

  /** @param make whether to make the tables that it is known by */
  async #known({ table }: TableSchema, make = false) {
    if (make && this.#ready.size === 0) await this.#keepBooks();
    const [row] = await this.#rest.query(KNOWN, { tbl: table }).catch(noneWhereMissing);
    if (!row) return undefined;
    return { version: Number(row.version), columns: JSON.parse(row.columns ?? "[]") as Pick<Column, "id" | "type">[] };
  }

  async #keepBooks(): Promise<void> {
    if (this.#makeDataset) await this.#rest.makeDataset();
    await this.#rest.query(BOOKKEEPING);
  }

  insertDeltas(batch: FlushBatch): Answer<FlushReceipt> {
    return attempt(async () => {
      assertNames(batch.table);
      const { gatewayId, shard, table, toSeq, digest } = batch;
      const held = watermarkIn(await this.#progress(table), batch);
      if (held >= toSeq) return { watermark: held, rows: 0, deltas: 0 };
      const stage = new Stage(this.#rest, `lakesync_stage_${Math.floor(this.#chance() * 2 ** 52).toString(36)}`);
      try {
        const deltas = await stage.addHistory(batch, held);
        const rows = await stage.addRows(batch, held);
        await stage.end({
          k: "m",
          id: gatewayId,
          stamp: shard,
          seq: toSeq,
          ...(digest !== undefined && { body: digest }),
        });
        await this.#rest.query(takeStage(table, stage.name));
        return { watermark: toSeq, rows, deltas };
      } finally {
        await this.#rest.query(dropStage(stage.name)).catch(() => {}); // a stage that stays does no harm
      }
    });
  }

  queryDeltasSince({ table, shard, gatewayId = "", afterSeq, limit }: DeltasSinceQuery): Answer<HistoryBatch> {
    return attempt(async () => {
      assertNames(table);
      const values = { shard, gateway: gatewayId, after: afterSeq, limit };
      const found = await this.#rest.query(selectChanges(table), values).catch(noneWhereMissing);
      const names = new Map(table.columns.map((column) => [columnOf(column), column.name]));
      const builder = new DeltaBatchBuilder(table.table);
      for (const { _op, _id, _hlc, _client_id, _cells } of found) {
        const cells = Object.entries(JSON.parse(_cells ?? "{}") as Record<string, Scalar>);
        const named = cells.flatMap(([key, value]) =>
          names.has(key) ? [[names.get(key) as string, value] as const] : [],
        );
        builder.add(
          _op as "I" | "U" | "D",
          _id ?? "",
          _hlc as HlcText,
          _client_id as ClientId,
          Object.fromEntries(named),
        );
      }
      return {
        seqs: found.map(({ _seq }) => Number(_seq) as Seq),
        receivedMs: found.map(({ received }) => Number(received)),
        batch: builder.build(),
      };
    });
  }

  getLatestState({ table, after = "", limit, ids }: LatestStateQuery): Answer<RowBatch> {
    return attempt(async () => {
      assertNames(table);
      const known = await this.#known(table);
      const there = new Set(known?.columns.map(({ id }) => id));
      const columns = table.columns.filter(({ id }) => there.has(id));
      const found = known
        ? await this.#rest.query(selectRows(table, columns, ids !== undefined), { after, limit, ...(ids && { ids }) })
        : [];
      const stamps = found.map(({ _stamp }) => _stamp as Stamp);
      const seqs = found.map(({ _seq }) => Number(_seq) as Seq);
      return {
        rowIds: found.map(({ _id }) => _id ?? ""),
        ...{ stamps, seqs, flushedSeqs: seqs },
        deleted: found.map(() => false),
        columns: table.columns.map((column) => ({
          name: column.name,
          values: found.map((row) => scalarOf(column, row)),
        })),
        cellStamps: table.columns.map(() => stamps),
      };
    });
  }

  progress(table: TableSchema): Answer<readonly ShardProgress[]> {
    return attempt(() => this.#progress(table));
  }

  async #progress({ table }: TableSchema): Promise<ShardProgress[]> {
    const found = await this.#rest.query(PROGRESS, { tbl: table }).catch(noneWhereMissing);
    return found.map(({ gateway, shard, seq, digest }) => ({
      ...{ gatewayId: gateway ?? "", shard: shard ?? "", watermark: Number(seq) as Seq },
      ...(typeof digest === "string" && { digest }),
    }));
  }

  async close(): Promise<void> {}
}

/** A table that is not there yet has nothing. */
function noneWhereMissing(error: unknown): AnswerRow[] {
  if (error instanceof LakeSyncError && error.details.status === 404) return [];
  throw error;
}

function assertTypes({ table, columns }: TableSchema, known: readonly Pick<Column, "id" | "type">[]): void {
  for (const { id, name, type } of columns) {
    const was = known.find((column) => column.id === id)?.type;
    if (was !== undefined && was !== type)
      throw new LakeSyncError(
        "Conflict",
        `Column ${name} of ${table} is ${was} in BigQuery and cannot become ${type}; add a new column instead.`,
        { table, column: name },
      );
  }
}

/** Lines on their way into a flush's own table. */
class Stage {
  readonly name: string;
  readonly #rest: BigQueryRest;
  #lines: string[] = [];
  #chars = 0;

  constructor(rest: BigQueryRest, name: string) {
    this.#rest = rest;
    this.name = name;
  }

  async #add(line: Readonly<Record<string, unknown>>): Promise<void> {
    const text = JSON.stringify(line);
    this.#lines.push(text);
    this.#chars += text.length;
    if (this.#chars >= LOAD_CHARS) await this.#load();
  }

  async #load(): Promise<void> {
    const lines = this.#lines.join("\n");
    this.#lines = [];
    this.#chars = 0;
    await this.#rest.load(this.name, STAGE_FIELDS, lines);
  }

  /** @param line whose it all is, and up to where */
  async end(line: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#add(line);
    if (this.#lines.length > 0) await this.#load();
  }

  async addHistory(flush: FlushBatch, held: number): Promise<number> {
    const ids = new Map(flush.table.columns.map((column) => [column.name, columnOf(column)]));
    let count = 0;
    for await (const { seqs, receivedMs, batch } of flush.history())
      for (const [at, seq] of seqs.entries()) {
        if (seq <= held) continue;
        const cells = Object.entries(cellsAt(batch, at)).flatMap(([name, value]) =>
          ids.has(name) ? [[ids.get(name), value]] : [],
        );
        await this.#add({
          ...{
            k: "c",
            seq,
            id: batch.rowIds[at],
            stamp: batch.hlcs[at],
            client: clientOf(batch, at),
            op: batch.ops[at],
          },
          ...{ received: Math.floor(receivedMs[at] as number), body: JSON.stringify(Object.fromEntries(cells)) },
        });
        count++;
      }
    return count;
  }

  async addRows(flush: FlushBatch, held: number): Promise<number> {
    let count = 0;
    for await (const page of flush.rows())
      for (const [at, id] of page.rowIds.entries()) {
        const seq = page.seqs[at] as number;
        if (seq <= held) continue;
        const cells = flush.table.columns.flatMap((column, of) => {
          const value = page.columns[of]?.values[at] ?? null;
          return value === null
            ? []
            : [
                [
                  columnOf(column),
                  column.type === "timestamp" ? timestampToIso(value as string | number) : String(value),
                ],
              ];
        });
        const body = JSON.stringify(Object.fromEntries(cells));
        await this.#add({ k: "r", seq, id, stamp: page.stamps[at], dead: page.deleted[at], body });
        count++;
      }
    return count;
  }
}

/** BigQuery says every scalar as text. */
function scalarOf(column: Column, row: AnswerRow): Scalar {
  const text = row[columnOf(column)] ?? null;
  if (text === null) return null;
  if (column.type === "boolean") return text === "true";
  if (column.type === "number") return Number(text) + 0;
  if (column.type !== "integer" && column.type !== "timestamp") return text;
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : text;
}

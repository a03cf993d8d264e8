/** Tables go to the backend that their route names; the rest to a default, or nowhere. */
import type {
  DatabaseAdapter,
  DeltasSinceQuery,
  FlushBatch,
  FlushReceipt,
  HistoryBatch,
  LatestStateQuery,
  RowBatch,
  ShardProgress,
} from "../core/index.ts";
import { err, LakeSyncError, type Result, type TableSchema } from "../schemas/index.ts";
import { type Composed, closeAll, evictable } from "./composed.ts";

type Answer<T> = Promise<Result<T, LakeSyncError>>;

export interface Route {
  readonly tables: readonly string[];
  readonly adapter: DatabaseAdapter;
}

export interface CompositeOptions {
  readonly routes: readonly Route[];
  /** Of tables that no route names. */
  readonly defaultAdapter?: DatabaseAdapter;
  /** Of a table whose own definition names a backend: before any route. */
  readonly named?: (backend: string) => DatabaseAdapter | undefined;
}

export class CompositeAdapter implements Composed {
  readonly #byTable = new Map<string, DatabaseAdapter>();
  readonly #default: DatabaseAdapter | undefined;
  readonly #named: NonNullable<CompositeOptions["named"]>;
  readonly #all: Set<DatabaseAdapter>;
  readonly evictRows?: NonNullable<DatabaseAdapter["evictRows"]>;

  /** @throws `Misconfigured` for a table that two routes name */
  constructor({ routes, defaultAdapter, named = () => undefined }: CompositeOptions) {
    this.#named = named;
    this.#default = defaultAdapter;
    for (const { tables, adapter } of routes)
      for (const table of tables) {
        if (this.#byTable.has(table))
          throw new LakeSyncError(
            "Misconfigured",
            `Table ${JSON.stringify(table)} stands in two routes; leave it in one. To have it in two backends, route it to a FanOutAdapter.`,
            { table },
          );
        this.#byTable.set(table, adapter);
      }
    this.#all = new Set([...routes.map(({ adapter }) => adapter), ...(defaultAdapter ? [defaultAdapter] : [])]);
    if (evictable([...this.#all])) {
      this.evictRows = (rows) =>
        this.#to(rows.table, async (adapter) => (await adapter.evictRows?.(rows)) ?? err(notRouted(rows.table)));
    }
  }

  async #to<T>(table: TableSchema, ask: (adapter: DatabaseAdapter) => Answer<T>): Answer<T> {
    const [adapter] = this.partsFor(table);
    return adapter ? ask(adapter) : err(notRouted(table));
  }

  partsFor({ table, backend }: TableSchema): readonly DatabaseAdapter[] {
    const own = backend === undefined ? undefined : this.#named(backend);
    if (own) this.#all.add(own);
    const adapter = backend === undefined ? (this.#byTable.get(table) ?? this.#default) : own;
    return adapter ? [adapter] : [];
  }

  ensureSchema(table: TableSchema): Answer<void> {
    return this.#to(table, (adapter) => adapter.ensureSchema(table));
  }

  insertDeltas(batch: FlushBatch): Answer<FlushReceipt> {
    return this.#to(batch.table, (adapter) => adapter.insertDeltas(batch));
  }

  queryDeltasSince(query: DeltasSinceQuery): Answer<HistoryBatch> {
    return this.#to(query.table, (adapter) => adapter.queryDeltasSince(query));
  }

  getLatestState(query: LatestStateQuery): Answer<RowBatch> {
    return this.#to(query.table, (adapter) => adapter.getLatestState(query));
  }

  progress(table: TableSchema): Answer<readonly ShardProgress[]> {
    return this.#to(table, (adapter) => adapter.progress(table));
  }

  close(): Promise<void> {
    return closeAll(this.#all);
  }
}

const notRouted = ({ table, backend }: TableSchema): LakeSyncError =>
  new LakeSyncError(
    "Misconfigured",
    backend === undefined
      ? `No backend is configured for table ${JSON.stringify(table)}; add it to a route, or give a default.`
      : `Table ${JSON.stringify(table)} names backend ${JSON.stringify(backend)}, which is not configured; declare it under backends in lakesync.config.ts, or put the table without it.`,
    { table },
  );

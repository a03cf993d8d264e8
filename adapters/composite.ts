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
}

export class CompositeAdapter implements Composed {
  readonly #byTable = new Map<string, DatabaseAdapter>();
  readonly #default: DatabaseAdapter | undefined;
  readonly #all: ReadonlySet<DatabaseAdapter>;
  readonly evictRows?: NonNullable<DatabaseAdapter["evictRows"]>;

  /** @throws `Misconfigured` for a table that two routes name */
  constructor({ routes, defaultAdapter }: CompositeOptions) {
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
        this.#to(rows.table.table, async (adapter) => (await adapter.evictRows?.(rows)) ?? err(notRouted("")));
    }
  }

  async #to<T>(table: string, ask: (adapter: DatabaseAdapter) => Answer<T>): Answer<T> {
    const [adapter] = this.partsFor(table);
    return adapter ? ask(adapter) : err(notRouted(table));
  }

  partsFor(table: string): readonly DatabaseAdapter[] {
    const adapter = this.#byTable.get(table) ?? this.#default;
    return adapter ? [adapter] : [];
  }

  ensureSchema(table: TableSchema): Answer<void> {
    return this.#to(table.table, (adapter) => adapter.ensureSchema(table));
  }

  insertDeltas(batch: FlushBatch): Answer<FlushReceipt> {
    return this.#to(batch.table.table, (adapter) => adapter.insertDeltas(batch));
  }

  queryDeltasSince(query: DeltasSinceQuery): Answer<HistoryBatch> {
    return this.#to(query.table.table, (adapter) => adapter.queryDeltasSince(query));
  }

  getLatestState(query: LatestStateQuery): Answer<RowBatch> {
    return this.#to(query.table.table, (adapter) => adapter.getLatestState(query));
  }

  progress(table: TableSchema): Answer<readonly ShardProgress[]> {
    return this.#to(table.table, (adapter) => adapter.progress(table));
  }

  close(): Promise<void> {
    return closeAll(this.#all);
  }
}

const notRouted = (table: string): LakeSyncError =>
  new LakeSyncError(
    "Misconfigured",
    `No backend is configured for table ${JSON.stringify(table)}; add it to a route, or give a defaultAdapter.`,
    { table },
  );

/** The side that has no adapter, and uses one as if it had (messages.ts). */
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
  isLakeSyncError,
  type LakeSyncError,
  type Result,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import type { CatchUp } from "../fan-out.ts";
import type { TierMove } from "../lifecycle.ts";
import {
  errorOfText,
  type Method,
  type Page,
  type RemoteMessage,
  type RemoteReply,
  resultOfText,
  textOfError,
  type Want,
} from "./messages.ts";

type Answer<T> = Promise<Result<T, LakeSyncError>>;

export interface RemoteAdapterOptions {
  readonly gatewayId: string;
  /** Hands a message to an `AdapterHost`, as JSON. @throws LakeSyncError where it cannot be reached */
  readonly send: (message: RemoteMessage) => Promise<RemoteReply>;
}

export class RemoteAdapter implements DatabaseAdapter {
  readonly #options: RemoteAdapterOptions;

  constructor(options: RemoteAdapterOptions) {
    this.#options = options;
  }

  #call<T>(call: Method, argument: unknown): Answer<T> {
    const { send, gatewayId } = this.#options;
    return attempt(async () => unwrap(resultOf(await send({ gatewayId, call, argument }))) as T);
  }

  ensureSchema(table: TableSchema): Answer<void> {
    return this.#call("ensureSchema", table);
  }

  insertDeltas(batch: FlushBatch): Answer<FlushReceipt> {
    return attempt(() => this.#insert(batch));
  }

  async #insert(batch: FlushBatch): Promise<FlushReceipt> {
    const { send, gatewayId } = this.#options;
    const { rows: _, history: __, ...head } = batch;
    const readers = new Map<number, AsyncIterator<Page>>();
    const pageFor = async ({ reader, of }: Want): Promise<Page | null> => {
      const iterator = readers.get(reader) ?? (of === "rows" ? batch.rows() : batch.history())[Symbol.asyncIterator]();
      readers.set(reader, iterator);
      const { done, value } = await iterator.next();
      return done ? null : value;
    };
    let reply = await send({ gatewayId, call: "insertDeltas", argument: head });
    while ("want" in reply) {
      const { session, want } = reply;
      const { reader } = want;
      let message: RemoteMessage;
      try {
        message = { session, reader, page: await pageFor(want) };
      } catch (error) {
        if (!isLakeSyncError(error)) throw error; // the host gives the flush up
        message = { session, reader, failed: textOfError(error) };
      }
      reply = await send(message);
    }
    for (const reader of readers.values()) await reader.return?.();
    return unwrap(resultOf(reply)) as FlushReceipt;
  }

  queryDeltasSince(query: DeltasSinceQuery): Answer<HistoryBatch> {
    return this.#call("queryDeltasSince", query);
  }

  getLatestState(query: LatestStateQuery): Answer<RowBatch> {
    return this.#call("getLatestState", query);
  }

  progress(table: TableSchema): Answer<readonly ShardProgress[]> {
    return this.#call("progress", table);
  }

  /** Of every fan-out within the adapter. It ends by itself after a while. */
  async catchUp(table: TableSchema): Promise<readonly CatchUp[]> {
    const reports = await this.#call<(CatchUp & { error?: Parameters<typeof errorOfText>[0] })[]>("catchUp", table);
    if (!reports.ok) return [{ secondary: 0, table: table.table, edits: 0, error: reports.error }];
    return reports.value.map(({ error, ...report }) => ({ ...report, ...(error && { error: errorOfText(error) }) }));
  }

  /** Of all tiers within the adapter. It ends by itself after a while. */
  migrateToTier(table: TableSchema, nowMs: number): Answer<TierMove> {
    return this.#call("migrateToTier", { table, nowMs });
  }

  /** The adapter is its owner's. */
  async close(): Promise<void> {}
}

function resultOf(reply: RemoteReply): Result<unknown, LakeSyncError> {
  if ("broken" in reply) throw new Error(`The adapter broke: ${reply.broken}`);
  if ("want" in reply) throw new Error("The adapter's host asks for a page where there is none.");
  return resultOfText(reply.result);
}

/** A database adapter that runs in workerd (adapter-worker.ts), called from Node. */
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
  type ErrorCode,
  type ErrorDetails,
  err,
  LakeSyncError,
  type Result,
  type TableSchema,
} from "../../schemas/index.ts";
import type { AdapterCall, ReadBatch } from "./adapter-worker.ts";

type Answer<T> = Promise<Result<T, LakeSyncError>>;

async function all<T>(pages: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const page of pages) list.push(page);
  return list;
}

export class RemoteAdapter implements DatabaseAdapter {
  readonly #url: URL;
  readonly #binding: string;
  readonly #schema: string;

  constructor(server: URL, binding: string, schema: string) {
    this.#url = new URL("/adapter", server);
    this.#binding = binding;
    this.#schema = schema;
  }

  async #call<T>(method: AdapterCall["method"], argument: unknown): Answer<T> {
    const call: AdapterCall = { binding: this.#binding, schema: this.#schema, method, argument };
    const response = await fetch(this.#url, { method: "POST", body: JSON.stringify(call) });
    if (!response.ok) throw new Error(await response.text());
    const result = (await response.json()) as Result<T, { code: ErrorCode; message: string; details: ErrorDetails }>;
    if (result.ok) return result;
    return err(new LakeSyncError(result.error.code, result.error.message, result.error.details));
  }

  ensureSchema(table: TableSchema): Answer<void> {
    return this.#call("ensureSchema", table);
  }

  async insertDeltas({ rows, history, ...batch }: FlushBatch): Answer<FlushReceipt> {
    const read: ReadBatch = {
      ...batch,
      rowPages: await all(rows()),
      historyPages: await all(history()),
    };
    return this.#call("insertDeltas", read);
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

  async close(): Promise<void> {}
}

/** The gateway's Worker with one route more: calls of a database adapter, as it runs in workerd behind a Hyperdrive binding. */
import { MySQLAdapter, PostgresAdapter } from "../../adapters/index.ts";
import type { FlushBatch, HistoryBatch, RowBatch } from "../../core/index.ts";
import gateway from "../../worker/index.ts";

export * from "../../worker/index.ts";

export interface AdapterCall {
  readonly binding: string;
  readonly schema: string;
  readonly method: "ensureSchema" | "insertDeltas" | "queryDeltasSince" | "getLatestState" | "progress";
  readonly argument: unknown;
}

/** A batch whose pages were read beforehand. */
export type ReadBatch = Omit<FlushBatch, "rows" | "history"> & {
  readonly rowPages: readonly RowBatch[];
  readonly historyPages: readonly HistoryBatch[];
};

async function* inTurn<T>(pages: readonly T[]): AsyncGenerator<T> {
  yield* pages;
}

function batchOf({ rowPages, historyPages, ...batch }: ReadBatch): FlushBatch {
  return { ...batch, rows: () => inTurn(rowPages), history: () => inTurn(historyPages) };
}

async function answer(request: Request, env: Record<string, unknown>): Promise<Response> {
  const { binding, schema, method, argument } = (await request.json()) as AdapterCall;
  const { connectionString } = env[binding] as { connectionString: string };
  const options = { connectionString, schema, connections: "each" } as const;
  const adapter = connectionString.startsWith("mysql:") ? new MySQLAdapter(options) : new PostgresAdapter(options);
  try {
    const result =
      method === "insertDeltas"
        ? await adapter.insertDeltas(batchOf(argument as ReadBatch))
        : await adapter[method](argument as never);
    return Response.json(result);
  } catch (error) {
    return new Response(error instanceof Error ? (error.stack ?? error.message) : String(error), { status: 500 });
  } finally {
    await adapter.close();
  }
}

export default {
  ...gateway,
  fetch: (request: Request, env: never, context: never) =>
    new URL(request.url).pathname === "/adapter" ? answer(request, env) : gateway.fetch(request as never, env, context),
};

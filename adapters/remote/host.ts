/** The side that has the adapter (messages.ts). */
import type {
  DatabaseAdapter,
  DeltasSinceQuery,
  FlushBatch,
  HistoryBatch,
  LatestStateQuery,
  RowBatch,
} from "../../core/index.ts";
import {
  attempt,
  BACKENDS_RUN_MS,
  err,
  isLakeSyncError,
  LakeSyncError,
  ok,
  type Result,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import { catchUp } from "../fan-out.ts";
import { migrateToTier } from "../lifecycle.ts";
import {
  type BatchHead,
  errorOfText,
  type Method,
  type Page,
  type PageMessage,
  type Pages,
  type RemoteMessage,
  type RemoteReply,
  textOfError,
  textOfResult,
} from "./messages.ts";

/** A flush whose other side says nothing for so long is given up, so that its transaction ends. Milliseconds. */
const SILENCE_MS = 60_000;

export interface AdapterHostOptions {
  readonly adapter: DatabaseAdapter;
  /** The one gateway that may use it: in tables that it was given, tenants would meet (S1). */
  readonly gatewayId: string;
  readonly silenceMs?: number;
}

export class AdapterHost {
  readonly #options: AdapterHostOptions;
  readonly #sessions = new Map<string, Session>();

  constructor(options: AdapterHostOptions) {
    this.#options = options;
  }

  /** Never fails: what goes wrong is in the reply. */
  async answer(message: RemoteMessage): Promise<RemoteReply> {
    try {
      if ("session" in message) return await this.#goOn(message);
      if (message.gatewayId !== this.#options.gatewayId) return { result: textOfResult(err(notYours(this.#options))) };
      if (message.call === "insertDeltas") return await this.#begin(message.argument as BatchHead);
      return { result: textOfResult(await this.#call(message.call, message.argument)) };
    } catch (error) {
      return isLakeSyncError(error) ? { result: { error: textOfError(error) } } : { broken: String(error) };
    }
  }

  #call(call: Exclude<Method, "insertDeltas">, argument: unknown): Promise<Result<unknown, LakeSyncError>> {
    const { adapter } = this.#options;
    switch (call) {
      case "ensureSchema":
        return adapter.ensureSchema(argument as TableSchema);
      case "queryDeltasSince":
        return adapter.queryDeltasSince(argument as DeltasSinceQuery);
      case "getLatestState":
        return adapter.getLatestState(argument as LatestStateQuery);
      case "progress":
        return adapter.progress(argument as TableSchema);
      case "catchUp":
        return this.#catchUp(argument as TableSchema);
      case "migrateToTier":
        return this.#migrate(argument as { table: TableSchema; nowMs: number });
    }
  }

  async #catchUp(table: TableSchema): Promise<Result<unknown, LakeSyncError>> {
    const reports = await catchUp(this.#options.adapter, {
      tables: [table],
      signal: AbortSignal.timeout(BACKENDS_RUN_MS),
    });
    return ok(reports.map(({ error, ...report }) => ({ ...report, ...(error && { error: textOfError(error) }) })));
  }

  #migrate({ table, nowMs }: { table: TableSchema; nowMs: number }): Promise<Result<unknown, LakeSyncError>> {
    const signal = AbortSignal.timeout(BACKENDS_RUN_MS);
    return attempt(async () => {
      const moves = unwrap(await migrateToTier(this.#options.adapter, { tables: [table], nowMs, signal }));
      const sum = (of: "moved" | "kept") => moves.reduce((all, move) => all + move[of], 0);
      return { table: table.table, moved: sum("moved"), kept: sum("kept") };
    });
  }

  async #begin(head: BatchHead): Promise<RemoteReply> {
    const { adapter, silenceMs = SILENCE_MS } = this.#options;
    const session = new Session(crypto.randomUUID(), silenceMs);
    this.#sessions.set(session.id, session);
    session.run(adapter, head).finally(() => this.#sessions.delete(session.id));
    return session.reply();
  }

  #goOn(message: PageMessage): Promise<RemoteReply> {
    const session = this.#sessions.get(message.session);
    if (!session) throw silent();
    session.take(message);
    return session.reply();
  }
}

const notYours = ({ gatewayId }: AdapterHostOptions): LakeSyncError =>
  new LakeSyncError(
    "DestinationUnavailable",
    `The adapter is gateway ${gatewayId}'s alone, since tenants share no table; run a server of its own for this gateway, or name backends in its configuration.`,
    { gatewayId, needs: "operator" },
  );

const silent = (): LakeSyncError =>
  new LakeSyncError(
    "DestinationUnavailable",
    "The flush was given up, since it was silent for too long; it will be tried again.",
  );

/** One flush on its way into the adapter. What the adapter asks for is replied in turn, its answer last. */
class Session {
  readonly id: string;
  readonly #silenceMs: number;
  readonly #replies: RemoteReply[] = [];
  readonly #pages = new Map<number, PromiseWithResolvers<Page | null>>();
  #listener: ((reply: RemoteReply) => void) | undefined;
  #readers = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(id: string, silenceMs: number) {
    this.id = id;
    this.#silenceMs = silenceMs;
  }

  /** Never fails. */
  async run(adapter: DatabaseAdapter, head: BatchHead): Promise<void> {
    const batch: FlushBatch = {
      ...head,
      rows: () => this.#read("rows") as AsyncGenerator<RowBatch>,
      history: () => this.#read("history") as AsyncGenerator<HistoryBatch>,
    };
    try {
      const receipt = await attempt(async () => unwrap(await adapter.insertDeltas(batch)));
      this.#tell({ result: textOfResult(receipt) });
    } catch (error) {
      this.#tell({ broken: String(error) });
    }
    clearTimeout(this.#timer);
  }

  /** What the other side has to know next. */
  reply(): Promise<RemoteReply> {
    clearTimeout(this.#timer);
    return new Promise((resolve) => {
      const listener = (reply: RemoteReply) => {
        // Now it is the other side's turn.
        if ("want" in reply) this.#timer = setTimeout(() => this.#giveUp(), this.#silenceMs);
        resolve(reply);
      };
      const ready = this.#replies.shift();
      if (ready) listener(ready);
      else this.#listener = listener;
    });
  }

  #tell(reply: RemoteReply): void {
    const listener = this.#listener;
    this.#listener = undefined;
    if (listener) listener(reply);
    else this.#replies.push(reply);
  }

  async *#read(of: Pages): AsyncGenerator<Page> {
    const reader = ++this.#readers;
    for (;;) {
      const answer = Promise.withResolvers<Page | null>();
      this.#pages.set(reader, answer);
      this.#tell({ session: this.id, want: { reader, of } });
      const page = await answer.promise;
      if (page === null) return;
      yield page;
    }
  }

  take({ reader, page = null, failed }: PageMessage): void {
    const answer = this.#pages.get(reader);
    this.#pages.delete(reader);
    if (failed) answer?.reject(errorOfText(failed));
    else answer?.resolve(page);
  }

  #giveUp(): void {
    for (const answer of this.#pages.values()) answer.reject(silent());
    this.#pages.clear();
  }
}

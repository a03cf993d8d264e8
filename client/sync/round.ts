/**
 * One round of sync: everything in the outbox is pushed, oldest first; then pages are pulled until there is no more, unless
 * those that came by themselves are all there is. What a page or an answer says, and the cursor or outbox entry that it settles, change in one transaction.
 *
 *   push  a batch is one request; refused edits go to lakesync_rejected, the rest is acknowledged, nothing stays behind
 *   take  pages that came unasked are merged, as far as each goes on from where the device stands
 *   pull  pages are merged; those of a pull from nothing replace what is there, row by row (sweep.ts, PL5, PL8)
 *   then  now and then, rows are compared with the gateway's (verify.ts, V2)
 */
import { ERRORS, type HlcText, isLakeSyncError, LakeSyncError } from "../../schemas/index.ts";
import type { LocalDB, Transaction } from "../db/local-db.ts";
import type { Checkpoint, Page, PushAnswer, Transport } from "../transport/port.ts";
import { applyBatch, settle } from "./apply.ts";
import { install } from "./bootstrap.ts";
import { learnOffset, receive, restamp } from "./device-clock.ts";
import { type OutboxEntry, readOutbox, toBatches } from "./outbox.ts";
import { recordRejections, type Verdict } from "./rejections.ts";
import { Sweep } from "./sweep.ts";
import type { Verifier } from "./verify.ts";

export interface RoundOptions {
  /** Deltas in one push. */
  readonly batchDeltas: number;
  /** Bytes of cells in one push, about. */
  readonly batchBytes: number;
  /** Bytes of one page that the gateway is asked for. */
  readonly pageBytes: number;
  readonly tables: readonly string[];
  /** Rows as well that have left a table's hot window. */
  readonly older: boolean;
  /** An answer that takes longer is lost. Milliseconds. */
  readonly requestMs: number;
}

/** What is known of the gateway's news between rounds. */
export interface Inbox {
  /** That came unasked, in their order. */
  readonly pages: Page[];
  /** There may be more than came by itself. */
  behind: boolean;
  /** A push was sent, and its answer has not come: pages may tell of edits that still wait here, and a pull has to tell of them again. */
  doubt?: boolean;
}

export interface RoundEvents {
  /** Something was acknowledged, refused or applied: the round is alive. */
  progress(step: { readonly pushed: number; readonly pulled: number; readonly rejected: number }): void;
  firstSync(step: { readonly rows: number; readonly bytes: number; readonly total: number }): void;
  /** These tables' rows are not the gateway's. @param persists a resync has not helped */
  diverged(tables: readonly string[], persists: boolean): void;
}

/** Among the tables that a cursor stands for; no table's name. */
const OLDER = "+";

/** Codes of a whole answer that some delta in it may be the cause of: the batch is halved until it is found. */
const BLAMED_ON_A_DELTA = new Set(["BadRequest", "TooLarge", "BadIdentifier"]);

export class Round {
  readonly #db: LocalDB;
  readonly #transport: Transport;
  readonly #options: RoundOptions;
  readonly #events: RoundEvents;
  readonly #signal: AbortSignal;
  readonly #verifier: Verifier;
  readonly #inbox: Inbox;
  #batchDeltas: number;
  #restamped = false;
  #renamed = false;
  #installed = false;
  #repaired = false;
  #digests: Page["digests"];
  /** Something was pushed, and nothing has come since. */
  #owed = false;

  constructor(
    db: LocalDB,
    transport: Transport,
    options: RoundOptions,
    events: RoundEvents,
    signal: AbortSignal,
    verifier: Verifier,
    inbox: Inbox,
  ) {
    this.#db = db;
    this.#transport = transport;
    this.#options = options;
    this.#events = events;
    this.#signal = signal;
    this.#batchDeltas = options.batchDeltas;
    this.#verifier = verifier;
    this.#inbox = inbox;
  }

  /** @throws LakeSyncError whatever ended the round early; nothing is lost by it */
  async run(): Promise<void> {
    await this.#takePages();
    do {
      while (await this.#pushBatch());
      await this.#takePages();
    } while (((this.#inbox.behind || this.#owed) && (await this.#pullPage())) || (await this.#diverged()));
  }

  /** What came unasked. Pages of a push stand for the pull after it. */
  async #takePages(): Promise<void> {
    const inbox = this.#inbox;
    const pages = inbox.pages.splice(0);
    if (inbox.doubt) inbox.behind = true;
    if (inbox.doubt || pages.length === 0) return;
    await this.#db.applyRemote(async (tx) => {
      this.#owed = false;
      for (const page of pages)
        if ((await tx.getMeta("cursor")) === page.follows) await this.#merge(tx, page);
        else inbox.behind = true; // whatever it brings, a pull does
    });
    this.#pulled(pages);
  }

  /** @returns whether everything is to be pulled anew, since the device has come to hold other rows than the gateway (V2) */
  async #diverged(): Promise<boolean> {
    const tables = await this.#verifier.compare(this.#digests ?? {}, this.#signal, this.#repaired);
    if (tables.length === 0) return false;
    this.#events.diverged(tables, this.#repaired);
    if (this.#repaired) return false;
    this.#repaired = true;
    this.#inbox.behind = true;
    await this.#db.transaction(async (tx) => {
      await tx.setMeta("cursor", "");
      // A checkpoint is merged with what is there, pages replace it; but they have no older rows.
      await tx.setMeta("checkpoint", this.#options.older ? "" : "off");
    });
    return true;
  }

  /** @returns whether there may be more to push */
  async #pushBatch(): Promise<boolean> {
    const db = this.#db;
    const entries = await readOutbox(db, this.#batchDeltas, this.#options.batchBytes);
    if (entries.length === 0) return false;
    const faulty = entries.filter((e) => e.fault);
    if (faulty.length > 0) {
      await this.#refuse(faulty.map((entry) => ({ entry, ...(entry.fault as NonNullable<OutboxEntry["fault"]>) })));
      return true;
    }
    let timed: Timed<PushAnswer>;
    try {
      const { clientId } = db;
      this.#owed = this.#inbox.doubt = true;
      timed = await this.#ask((signal) =>
        this.#transport.push({ clientId, batches: toBatches(entries, clientId) }, signal),
      );
    } catch (error) {
      await this.#pushFailed(error, entries);
      return true;
    }
    this.#batchDeltas = Math.min(this.#options.batchDeltas, this.#batchDeltas * 2);
    await this.#answered(entries, timed);
    return true;
  }

  /** What can be done about a refused request, is; otherwise the round ends here. */
  async #pushFailed(error: unknown, entries: readonly OutboxEntry[]): Promise<void> {
    if (!isLakeSyncError(error)) throw error;
    if (error.code === "ClientIdTaken") return this.#rename(error);
    if (!BLAMED_ON_A_DELTA.has(error.code)) throw error;
    if (entries.length === 1) {
      const entry = entries[0] as OutboxEntry;
      return this.#refuse([{ entry, code: error.code, message: error.message }]);
    }
    this.#batchDeltas = Math.max(1, Math.floor(entries.length / 2));
  }

  /** The client id is another user's: someone else signed in on this device (S6). Once a round, or it is something else. */
  async #rename(error: LakeSyncError): Promise<void> {
    if (this.#renamed) throw error;
    this.#renamed = true;
    await this.#db.renewClientId();
  }

  async #answered(entries: readonly OutboxEntry[], { answer, askedMs, answeredMs }: Timed<PushAnswer>): Promise<void> {
    const refusals = new Map(answer.rejected.map((r) => [r.hlc, r]));
    const accepted: OutboxEntry[] = [];
    const refused: Verdict[] = [];
    let drifted = false;
    let kept = 0;
    for (const entry of entries) {
      const refusal = refusals.get(entry.hlc);
      if (!refusal) accepted.push(entry);
      else if (refusal.code === "ClockDrift") drifted = true;
      else if (ERRORS[refusal.code].retry) kept++;
      else refused.push({ entry, code: refusal.code, message: refusal.message });
    }
    await this.#db.applyRemote(async (tx) => {
      await learnOffset(tx, answer.serverHlc, askedMs, answeredMs);
      await this.#settle(tx, accepted, refused, answer.serverHlc);
      if (drifted) await restamp(tx);
    });
    this.#inbox.doubt = false;
    this.#events.progress({ pushed: accepted.length, pulled: 0, rejected: refused.length });
    const settled = accepted.length + refused.length;
    if (drifted && this.#restamped && settled === 0)
      throw new LakeSyncError("ClockDrift", "The gateway refuses this device's clock.");
    this.#restamped = drifted;
    if (kept > 0 && settled === 0)
      throw new LakeSyncError("Unavailable", "The gateway asks to push these edits later.");
  }

  async #refuse(verdicts: readonly Verdict[]): Promise<void> {
    await this.#db.applyRemote((tx) => this.#settle(tx, [], verdicts));
    this.#events.progress({ pushed: 0, pulled: 0, rejected: verdicts.length });
  }

  /** @param seen further stamps */
  async #settle(tx: Transaction, accepted: readonly OutboxEntry[], refused: readonly Verdict[], ...seen: HlcText[]) {
    const { platform, clientId } = this.#db;
    const entries = refused.map((v) => v.entry);
    await settle({ tx, clientId }, accepted, entries);
    await recordRejections(tx, refused, platform.clock.now());
    await receive(tx, [...accepted, ...entries].map((e) => e.hlc).concat(seen));
  }

  /** @returns whether there is more to pull */
  async #pullPage(): Promise<boolean> {
    const db = this.#db;
    const cursor = await this.#cursor();
    if (cursor === "" && (await this.#install())) return true;
    const { clientId } = db;
    const { tables, older, pageBytes: maxBytes } = this.#options;
    const inbox = this.#inbox;
    inbox.behind = this.#owed = false; // until a poke says otherwise
    let timed: Timed<Page>;
    try {
      timed = await this.#ask((signal) => this.#transport.pull({ clientId, cursor, tables, maxBytes }, signal));
      if (older && cursor !== "" && timed.answer.resync)
        throw new LakeSyncError("CursorExpired", "Pages have no older rows.");
    } catch (error) {
      inbox.behind = true;
      if (!isLakeSyncError(error)) throw error;
      if (error.code === "ClientIdTaken") await this.#rename(error);
      else if (cursor !== "" && (error.code === "CursorExpired" || error.code === "BadCursor")) {
        await db.transaction(async (tx) => {
          await tx.setMeta("cursor", "");
          // What was just installed is too old already: the next would be, too.
          if (this.#installed && !older) await tx.setMeta("checkpoint", "off");
        });
        if (this.#installed && older) throw error; // another one is made meanwhile
      } else throw error;
      return true;
    }
    const { answer: page, askedMs, answeredMs } = timed;
    await db.applyRemote(async (tx) => {
      await learnOffset(tx, page.serverHlc, askedMs, answeredMs);
      await this.#merge(tx, page, page.resync || cursor === "" ? await Sweep.begin(tx) : await Sweep.resume(tx));
      if (cursor === "") await tx.setMeta("checkpoint", "");
    });
    if (page.hasMore) inbox.behind = true;
    this.#pulled([page]);
    return page.hasMore;
  }

  async #merge(tx: Transaction, page: Page, sweep?: Sweep): Promise<void> {
    const applier = { tx, clientId: this.#db.clientId, sweep };
    for (const batch of page.batches) await applyBatch(applier, batch);
    if (sweep && !page.hasMore) await sweep.finish(applier);
    await receive(tx, [...page.batches.flatMap((batch) => batch.hlcs), page.serverHlc]);
    await tx.setMeta("cursor", page.cursor);
  }

  #pulled(pages: readonly Page[]): void {
    this.#digests = pages.at(-1)?.digests;
    const pulled = pages.flatMap(({ batches }) => batches.flatMap(({ rowIds }) => rowIds)).length;
    this.#events.progress({ pushed: 0, pulled, rejected: 0 });
  }

  /** A device without data takes a checkpoint, where there is one. @returns whether it did */
  async #install(): Promise<boolean> {
    const held = await this.#db.transaction((tx) => tx.getMeta("checkpoint"));
    if (held === "off") return false;
    const { tables, older } = this.#options;
    const ask = <T>(request: (signal: AbortSignal) => Promise<T>) => this.#ask(request).then(({ answer }) => answer);
    const offer = () =>
      ask((signal) => this.#transport.checkpoint(tables, signal, older)).catch((error): undefined => {
        if (older) throw error;
        // Without a checkpoint the pull brings everything; and what is wrong with the gateway the pull will say.
      });
    const plan = held ? (JSON.parse(held) as Checkpoint) : await offer();
    if (!plan?.cursor) return false;
    const done = await install(this.#db, plan, {
      offer,
      chunk: (name) => ask((signal) => this.#transport.chunk(name, signal)),
      replace: this.#repaired,
      progress: (step, rows) => {
        this.#events.progress({ pushed: 0, pulled: rows, rejected: 0 });
        this.#events.firstSync(step);
      },
      push: async () => {
        while (await this.#pushBatch());
      },
    });
    this.#installed ||= done;
    return done;
  }

  /** Where to go on. A cursor stands for the tables that were asked for: an app that wants more of them starts from nothing. */
  async #cursor(): Promise<string> {
    const { tables, older } = this.#options;
    const wanted = JSON.stringify(older ? [...tables, OLDER] : tables);
    const meta = await this.#db.query<{ key: string; value: string }>(
      "SELECT key, value FROM lakesync_meta WHERE key IN ('cursor', 'tables')",
    );
    const { cursor = "", tables: last = wanted } = Object.fromEntries(meta.map(({ key, value }) => [key, value]));
    if (last === wanted && meta.length === 2) return cursor;
    const had = new Set<string>(JSON.parse(last));
    const hadOlder = had.delete(OLDER);
    const enough =
      (hadOlder || !older) && (had.size === 0 || (tables.length > 0 && tables.every((table) => had.has(table))));
    await this.#db.transaction(async (tx) => {
      await tx.setMeta("tables", wanted);
      if (enough) return;
      await tx.setMeta("cursor", "");
      await tx.setMeta("checkpoint", "");
    });
    return enough ? cursor : "";
  }

  /** A request that is bounded in time whatever the transport does (C9), and the moment halfway through it. */
  async #ask<T>(request: (signal: AbortSignal) => Promise<T>): Promise<Timed<T>> {
    const { clock, timers } = this.#db.platform;
    this.#signal.throwIfAborted();
    const abort = new AbortController();
    const started = clock.now();
    let timer: unknown;
    const late = new Promise<never>((_, reject) => {
      const stop = () => reject(new LakeSyncError("Timeout", "The gateway did not answer in time."));
      timer = timers.set(stop, this.#options.requestMs);
    });
    try {
      const answer = await Promise.race([request(abort.signal), late, aborted(this.#signal)]);
      return { answer, askedMs: started, answeredMs: clock.now() };
    } finally {
      timers.clear(timer);
      abort.abort();
    }
  }
}

/** Fails when a round is cut off. */
export const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const stop = () => reject(new LakeSyncError("Closed", "The sync was stopped."));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop);
  });

interface Timed<T> {
  readonly answer: T;
  /** Our wall clock at the question, and at the answer. */
  readonly askedMs: number;
  readonly answeredMs: number;
}

/**
 * Keeps a database in step with a gateway: rounds of push and pull (round.ts), started by the states of machine.ts.
 *
 *   const coordinator = new SyncCoordinator(db, transport);
 *   coordinator.startAutoSync();
 *
 * A watchdog looks on: when a round makes no progress for `stallMs`, it is cut off, the app is told (`error`, `Timeout`),
 * and the next try is scheduled (C9).
 */
import { type ErrorCode, isLakeSyncError, LakeSyncError } from "../../schemas/index.ts";
import type { LocalDB } from "../db/local-db.ts";
import { OUTBOX } from "../db/table-watch.ts";
import type { Transport } from "../transport/port.ts";
import { Emitter } from "./emitter.ts";
import { backoffMs, MACHINE, type SyncEvent, type SyncState } from "./machine.ts";
import { dismissRejections, listRejections, type RejectedEdit } from "./rejections.ts";
import { aborted, type Inbox, Round, type RoundOptions } from "./round.ts";
import { SyncTracker } from "./tracker.ts";
import { Verifier } from "./verify.ts";

export interface SyncOptions extends Partial<RoundOptions> {
  /** How often to look when the gateway cannot poke. Milliseconds, default 5,000. */
  readonly pollMs?: number;
  /** How often to look all the same when it can, in case a poke was lost. Milliseconds, default 30,000. */
  readonly livePollMs?: number;
  /** First and longest wait after a failure. Milliseconds, default 500 and 60,000. */
  readonly backoffFirstMs?: number;
  readonly backoffMaxMs?: number;
  /** A round that makes no progress for this long is cut off. Milliseconds, default 90,000. */
  readonly stallMs?: number;
  /** How often, at most, rows are compared with the gateway's (V2). Milliseconds, default an hour. */
  readonly verifyMs?: number;
}

export interface SyncStatus {
  readonly state: SyncState;
  /** Local edits that wait. */
  readonly pending: number;
  /** Whether the gateway can poke just now. */
  readonly live: boolean;
  /** When the last round ended well; milliseconds since 1970. */
  readonly syncedAtMs: number | undefined;
  /** What ended the last round, if it failed. */
  readonly error: LakeSyncError | undefined;
}

/** Entries that were acknowledged, edits that came, edits that were refused. */
export interface SyncReport {
  readonly pushed: number;
  readonly pulled: number;
  readonly rejected: number;
}

export interface SyncEvents {
  /** A commit, local or remote, touched these tables. */
  change: { readonly tables: ReadonlySet<string>; readonly origin: "local" | "remote" };
  /** A round ended well. */
  synced: SyncReport;
  /** A part of a round is done. */
  progress: SyncReport;
  /** A device without data is being filled. */
  firstSync: FirstSync;
  /** The gateway refused an edit, and it was taken back (C6). */
  rejected: RejectedEdit;
  /**
   * This device did not hold what the gateway does (V2): it pulls everything anew, and keeps its outbox. `persists` where that
   * was done just before, and has not helped.
   */
  diverged: { readonly tables: readonly string[]; readonly persists: boolean };
  error: LakeSyncError;
  status: SyncStatus;
}

/** How far a first sync has come. */
export interface FirstSync {
  readonly rows: number;
  /** That were downloaded. */
  readonly bytes: number;
  /** Rows in all, as far as the gateway knows. */
  readonly total: number;
}

/** Between the tabs of a database: what the one that leads says of sync, or the question for it. */
type TabNews = Omit<SyncStatus, "pending" | "error"> & {
  readonly error: { code: ErrorCode; message: string } | undefined;
};
const ASK = "status?";

const DEFAULTS = {
  batchDeltas: 1000,
  batchBytes: 3 * 1024 * 1024,
  pageBytes: 0,
  tables: [] as readonly string[],
  older: false,
  requestMs: 45_000,
  pollMs: 5_000,
  livePollMs: 30_000,
  backoffFirstMs: 500,
  backoffMaxMs: 60_000,
  stallMs: 90_000,
  verifyMs: 3_600_000,
};

export class SyncCoordinator {
  readonly db: LocalDB;
  readonly tracker: SyncTracker;
  readonly #transport: Transport;
  readonly #options: typeof DEFAULTS;
  readonly #emitter = new Emitter<SyncEvents>();
  #state: SyncState = "stopped";
  /** Automatic sync was asked for. */
  #wanted = false;
  #again = false;
  #failures = 0;
  #live = false;
  #syncedAtMs: number | undefined;
  #error: LakeSyncError | undefined;
  #timer: unknown;
  #watchdog: unknown;
  #abort: AbortController | undefined;
  #round: Promise<SyncReport> | undefined;
  #rejectionsSeen = 0;
  readonly #verifier: Verifier;
  readonly #inbox: Inbox = { pages: [], behind: true };
  /** What the tab that leads last said, where that is another one. */
  #leaders: Omit<SyncStatus, "pending"> | undefined;
  #release: (() => void)[] = [];

  constructor(db: LocalDB, transport: Transport, options: SyncOptions = {}) {
    this.db = db;
    this.#transport = transport;
    this.#options = { ...DEFAULTS, ...options };
    this.tracker = new SyncTracker(db);
    this.#verifier = new Verifier(db, this.#options.verifyMs, () => this.#progressed());
    db.onCommit(({ tables, origin }) => {
      const changed = new Set(tables);
      changed.delete(OUTBOX);
      if (changed.size > 0) this.#emitter.emit("change", { tables: changed, origin });
      if (origin === "local") this.#on("change");
    });
    db.onNews((news) => this.#heard(news as TabNews | typeof ASK));
  }

  /** Calls `listener` at each such event. @returns a function that ends it */
  on<Name extends keyof SyncEvents>(name: Name, listener: (event: SyncEvents[Name]) => void): () => void {
    return this.#emitter.on(name, listener);
  }

  /**
   * Pushes and pulls by itself from now on: after local commits, at pokes, and from time to time. Of several tabs, the one
   * that leads does it for all; the others take over when it is gone (C3).
   */
  startAutoSync(): void {
    this.#wanted = true;
    if (!this.db.leads) this.db.tell(ASK);
    this.db.whenLeading(() => (this.db.leads ? this.#start() : this.#stop()));
  }

  #start(): void {
    if (this.#state !== "stopped" || !this.#wanted) return;
    const stop = this.#transport.listen?.({
      poke: () => this.wake(),
      page: (page) => {
        this.#inbox.pages.push(page);
        this.#on("poke", false);
      },
      live: (connected) => {
        this.#live = connected;
        void this.#announce();
      },
    });
    if (stop) this.#release.push(stop);
    const unlisten = this.db.platform.onOnline?.(() => this.wake());
    if (unlisten) this.#release.push(unlisten);
    this.#watch();
    this.#on("start");
  }

  stopAutoSync(): void {
    this.#wanted = false;
    this.#stop();
  }

  #stop(): void {
    for (const release of this.#release.splice(0)) release();
    this.#live = false;
    this.#on("stop");
  }

  /** Tells that the network may be back: a device that waits tries at once. */
  wake(): void {
    this.#on("poke");
  }

  /**
   * One round: everything in the outbox is pushed, then everything new is pulled. Joins a round that is under way.
   * @throws LakeSyncError whatever ended it early; nothing is lost, and it may be tried again
   */
  async syncOnce(): Promise<SyncReport> {
    this.#inbox.behind = true;
    if (this.#round) await this.#round.catch(() => undefined); // it may have passed what this caller waits for
    return this.#round ?? this.#startRound();
  }

  async status(): Promise<SyncStatus> {
    const [row] = await this.db.query<{ n: number }>("SELECT count(*) AS n FROM lakesync_outbox");
    return { ...((this.db.leads ? undefined : this.#leaders) ?? this.#own()), pending: row?.n ?? 0 };
  }

  #own(): Omit<SyncStatus, "pending"> {
    return { state: this.#state, live: this.#live, syncedAtMs: this.#syncedAtMs, error: this.#error };
  }

  /** Edits that the gateway refused and the app has not dismissed, oldest first. */
  rejections(): Promise<RejectedEdit[]> {
    return listRejections(this.db);
  }

  /** Forgets refused edits; without ids, all of them. */
  async dismiss(...ids: number[]): Promise<void> {
    await dismissRejections(this.db, ids.length > 0 ? ids : undefined);
    await this.#announce();
  }

  /** @param behind whether there may be something to pull */
  #on(event: SyncEvent, behind = event !== "change" && event !== "done"): void {
    this.#inbox.behind ||= behind;
    const { to, effect } = MACHINE[this.#state][event];
    const changed = to !== this.#state;
    this.#state = to;
    switch (effect) {
      case "run":
        this.#clearTimer();
        this.#auto();
        break;
      case "again":
        this.#again = true;
        break;
      case "rest":
        if (this.#again) this.#on("poke", false);
        else this.#schedule(this.#live ? this.#options.livePollMs : this.#options.pollMs);
        break;
      case "backOff":
        this.#schedule(this.#backoff());
        break;
      case "halt":
        this.#clearTimer();
        this.db.platform.timers.clear(this.#watchdog);
        this.#abort?.abort();
        break;
      case "nothing":
        break;
    }
    if (changed) void this.#announce();
  }

  #auto(): void {
    this.#again = false;
    const round = this.#round ?? this.#startRound();
    round.then(
      () => this.#on("done"),
      () => this.#on("failed"),
    );
  }

  #startRound(): Promise<SyncReport> {
    const abort = new AbortController();
    this.#abort = abort;
    const report = { pushed: 0, pulled: 0, rejected: 0 };
    this.#progressed();
    const events = {
      progress: (step: SyncReport) => {
        report.pushed += step.pushed;
        report.pulled += step.pulled;
        report.rejected += step.rejected;
        this.#progressed();
        this.#emitter.emit("progress", step);
        if (step.rejected > 0) this.#tellRejections().catch(() => undefined); // with the next ones, then
      },
      firstSync: (step: FirstSync) => this.#emitter.emit("firstSync", step),
      diverged: (tables: readonly string[], persists: boolean) => this.#emitter.emit("diverged", { tables, persists }),
    };
    const run = async (): Promise<SyncReport> => {
      try {
        const round = new Round(
          this.db,
          this.#transport,
          this.#options,
          events,
          abort.signal,
          this.#verifier,
          this.#inbox,
        );
        await this.#alone(() => round.run(), abort.signal);
        this.#failures = 0;
        this.#error = undefined;
        this.#syncedAtMs = this.db.platform.clock.now();
        return report;
      } catch (cause) {
        const error = isLakeSyncError(cause) ? cause : new LakeSyncError("Internal", String(cause), {}, { cause });
        this.#failures++;
        this.#inbox.behind = true;
        this.#error = error;
        if (!abort.signal.aborted) this.#emitter.emit("error", error);
        throw error;
      } finally {
        this.#round = undefined;
      }
    };
    this.#round = run();
    this.#round.then(
      (done) => this.#emitter.emit("synced", done),
      () => undefined,
    );
    return this.#round;
  }

  /** Rounds of several tabs come one after the other; one that is cut off lets the next one in, whatever it hangs in. */
  #alone(round: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { tabs } = this.db.platform;
    if (!tabs) return Promise.race([round(), aborted(signal)]);
    const body = async () => {
      await this.db.refresh();
      await round();
    };
    return tabs.exclusively(`lakesync-round:${this.db.name}`, () => Promise.race([aborted(signal), body()]));
  }

  #backoff(): number {
    const asked = Number(this.#error?.details.retryAfterMs ?? 0);
    const { backoffFirstMs: firstMs, backoffMaxMs: maxMs } = this.#options;
    return backoffMs(this.#failures, asked, this.db.platform.random, { firstMs, maxMs });
  }

  #schedule(ms: number): void {
    this.#clearTimer();
    this.#timer = this.db.platform.timers.set(() => this.#on("timer"), ms);
  }

  #clearTimer(): void {
    this.db.platform.timers.clear(this.#timer);
  }

  #lastProgressMs = 0;

  #progressed(): void {
    this.#lastProgressMs = this.db.platform.clock.now();
  }

  #watch(): void {
    const { clock, timers } = this.db.platform;
    this.#watchdog = timers.set(() => {
      if (this.#state === "stopped") return;
      if (this.#state === "syncing" && clock.now() - this.#lastProgressMs > this.#options.stallMs) {
        this.#emitter.emit("error", new LakeSyncError("Timeout", "Sync made no progress and is tried again."));
        this.#abort?.abort();
      }
      this.#watch();
    }, this.#options.stallMs / 3);
  }

  async #tellRejections(): Promise<void> {
    const seen = this.#rejectionsSeen;
    for (const edit of await listRejections(this.db, seen)) {
      if (edit.id <= this.#rejectionsSeen) continue;
      this.#rejectionsSeen = edit.id;
      this.#emitter.emit("rejected", edit);
    }
  }

  #heard(news: TabNews | typeof ASK): void {
    if (news !== ASK) {
      const { error } = news;
      this.#leaders = { ...news, error: error && new LakeSyncError(error.code, error.message) };
    }
    if (news !== ASK || this.db.leads) void this.#announce();
  }

  async #announce(): Promise<void> {
    if (this.db.leads) {
      const { error, ...own } = this.#own();
      this.db.tell({ ...own, error: error && { code: error.code, message: error.message } } satisfies TabNews);
    }
    if (!this.#emitter.has("status")) return;
    const status = await this.status().catch(() => undefined); // closed meanwhile
    if (status) this.#emitter.emit("status", status);
  }
}

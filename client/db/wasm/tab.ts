/**
 * What a tab's dedicated worker does. Of all the tabs of one database, the worker that holds its Web Lock leads: it owns SQLite, the
 * file and the clock, and answers everyone's calls, so that there is one writer and one sequence of stamps (C3).
 *
 *   page A --message--> worker A (leads)  --> SQLite
 *   page B --message--> worker B --channel--> worker A
 *
 * A browser that ends a worker waits for a moment between two of its tasks, and cuts it off in the middle of one after some
 * seconds. So a leader that is kept busy rests now and then, and one whose SQLite was cut off serves nobody any more.
 *
 * When the leader's tab dies, its lock passes to the next worker, which opens the file and says so. Calls that were under
 * way are then repeated if they only read; a write, or a transaction, fails with a `StorageUnavailable`, since nobody can
 * say whether it was committed.
 */
import type { Backend, Driver } from "../driver.ts";
import { DriverError } from "../errors.ts";
import type { Locks, Port } from "./browser.ts";
import {
  type CallMessage,
  type ChannelMessage,
  type FromWorker,
  failure,
  type Opened,
  type OpenMessage,
  perform,
  type RequestMessage,
} from "./protocol.ts";
import { BEGIN, END, ROLLBACK, Turnstile } from "./turnstile.ts";

/** How long a leader works without a rest. Milliseconds. */
const WORK_MS = 50;
const READS = /^\s*(?:select|with)\b/i;
const tabLock = (tab: string): string => `lakesync-tab:${tab}`;
const gone = () =>
  new DriverError(
    "StorageUnavailable",
    "The tab that held the database was closed. Look whether the write is there, and try again.",
  );

/** What the worker's world gives it. */
export interface TabHost {
  /** The page that started it; `close` ends the worker. */
  readonly page: Port & { close(): void };
  /** Its name among the tabs. */
  readonly session: string;
  /** Absent where the browser has none: then nothing is shared. */
  readonly locks: Locks | undefined;
  channel(name: string): Port;
  openDatabase(name: string, backend: Backend): Promise<LeadersDriver>;
  /** Milliseconds of any clock that goes on. */
  now(): number;
  /** Lets the browser do something else. */
  rest(): Promise<void>;
}

/** @see WasmDriver */
interface LeadersDriver extends Driver {
  readonly torn: boolean;
}

export function runTab(host: TabHost): void {
  const { page, session, locks } = host;
  const tell = (message: FromWorker) => page.postMessage(message);

  let channel: Port | undefined;
  /** When this worker leads. */
  let own: { driver: LeadersDriver; opened: Opened; turnstile: Turnstile; sessions: Set<string> } | undefined;
  /** Who leads, as far as is known. */
  let leader: string | undefined;
  let announced: (opened: Opened) => void;
  const known = new Promise<Opened>((resolve) => {
    announced = resolve;
  });
  /** This page's calls that another tab's worker has to answer, in order. */
  const sent = new Map<number, CallMessage>();
  let inTransaction = false;
  let broken = false;
  let rested = host.now();

  page.addEventListener("message", (event) => {
    const message = event.data as RequestMessage;
    if (message.call === "open") void open(message);
    else if (message.call === "close") void close(message.id);
    else answerPage(message);
  });

  async function open(message: OpenMessage): Promise<void> {
    const { id, name } = message;
    broken = inTransaction = message.lost;
    try {
      if (!locks) await lead(message);
      else {
        channel = host.channel(`lakesync:${name}`);
        channel.addEventListener("message", (event) => hear(event.data as ChannelMessage));
        // Held until this worker ends.
        void locks.request(tabLock(session), {}, () => new Promise(() => undefined));
        const failed = new Promise<never>((_, reject) => {
          void locks.request(`lakesync:${name}`, {}, () =>
            lead(message).then(
              () => new Promise(() => undefined),
              // One that follows already is of no use any more, and must not keep the file.
              (cause) => (leader ? tear() : reject(cause)),
            ),
          );
        });
        say({ kind: "who" });
        await Promise.race([known, failed]);
      }
      tell({ id, value: await known });
    } catch (cause) {
      tell({ id, error: failure(cause) });
    }
  }

  const tear = () => {
    tell({ torn: true, inTransaction });
    page.close();
  };
  /** Calls `run` when a tab's worker is gone: its lock is granted then. */
  const onEnd = (tab: string, run: () => void) => void locks?.request(tabLock(tab), {}, async () => run());
  const say = (message: ChannelMessage) => channel?.postMessage(message);

  /** The lock is this worker's: it opens the file and answers from now on. */
  async function lead({ name, backend, setup }: OpenMessage): Promise<void> {
    const driver = await host.openDatabase(name, backend);
    // Whoever takes over goes on with the clock of the one before (H1, H3).
    await driver.script(setup);
    const opened = { backend: driver.backend, identity: driver.identity };
    own = { driver, opened, turnstile: new Turnstile(driver), sessions: new Set() };
    follow(session, opened);
    announce();
  }

  function announce(): void {
    if (own) say({ kind: "leader", leader: session, opened: own.opened });
  }

  /** Somebody leads, maybe anew, and pages look again: what the last leader did not answer is repeated or given up. */
  function follow(name: string, opened: Opened): void {
    tell({ leads: own !== undefined });
    if (leader === name) return;
    leader = name;
    // What a dead leader said may arrive after what the next one says.
    if (!own) onEnd(name, () => say({ kind: "who" }));
    announced(opened);
    const unanswered = [...sent.values()];
    sent.clear();
    broken ||= inTransaction;
    for (const message of unanswered) {
      if (!broken && (message.call === "tablesOf" || READS.test(message.sql))) answerPage(message);
      else tell({ id: message.id, error: failure(gone()) });
    }
  }

  function hear(message: ChannelMessage): void {
    switch (message.kind) {
      case "who":
        announce();
        break;
      case "leader":
        if (!own) follow(message.leader, message.opened);
        break;
      case "call":
        if (message.leader === session) serve(message.session, message.message);
        break;
      case "reply":
        if (message.session === session && sent.delete(message.reply.id)) tell(message.reply);
        break;
    }
  }

  function serve(from: string, message: CallMessage): void {
    if (!own) return;
    const { driver, turnstile, sessions } = own;
    if (from !== session && !sessions.has(from)) {
      sessions.add(from);
      tell({ others: true }); // before it is answered: whatever is committed later, it is told of
      onEnd(from, () => {
        sessions.delete(from);
        turnstile.leave(from);
        // It may have committed what it told nobody: all look again.
        tell({ leads: true });
        announce();
      });
    }
    const sql = message.call === "execute" ? message.sql : undefined;
    turnstile.pass(from, sql, async () => {
      const reply = await perform(driver, message);
      if (driver.torn) {
        tear();
        return false;
      }
      if (from === session) tell(reply);
      else say({ kind: "reply", session: from, reply });
      if (host.now() - rested > WORK_MS) {
        await host.rest();
        rested = host.now();
      }
      return reply.error === undefined;
    });
  }

  function answerPage(message: CallMessage): void {
    const sql = message.call === "execute" ? message.sql : "";
    if (broken) {
      // The transaction died with its leader: nothing of it may run by itself.
      if (ROLLBACK.test(sql)) broken = inTransaction = false;
      tell({ id: message.id, error: failure(gone()) });
      return;
    }
    if (BEGIN.test(sql)) inTransaction = true;
    else if (END.test(sql)) inTransaction = false;
    if (own) {
      serve(session, message);
      return;
    }
    sent.set(message.id, message);
    if (leader) say({ kind: "call", leader, session, message });
  }

  async function close(id: number): Promise<void> {
    await own?.driver.close().catch(() => undefined);
    own = undefined;
    tell({ id });
  }
}

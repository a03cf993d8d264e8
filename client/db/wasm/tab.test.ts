/** Workers of several tabs on channels that deliver when the test says so. */
import { expect, test } from "vitest";
import type { Locks, Port } from "./browser.ts";
import { runTab, type TabHost } from "./tab.ts";

type Listener = Parameters<Port["addEventListener"]>[1];
type Database = Awaited<ReturnType<TabHost["openDatabase"]>>;

const settled = () => new Promise<void>((resolve) => setTimeout(resolve));

/** A browser with one database. */
class Browser {
  readonly #queues = new Map<string, { readonly owner: string; readonly grant: () => void }[]>();
  readonly #members = new Map<string, Listener>();
  /** Messages on their way that do not arrive yet. */
  readonly late: (() => void)[] = [];
  isLate: (from: string, to: string) => boolean = () => false;

  #locks(owner: string): Locks {
    return {
      request: (name, _options, held) =>
        new Promise(() => {
          const queue = this.#queues.get(name) ?? [];
          this.#queues.set(name, queue);
          queue.push({ owner, grant: () => void held().then(() => this.#release(name, owner)) });
          if (queue.length === 1) queue[0]?.grant();
        }),
    };
  }

  #release(name: string, owner: string): void {
    const queue = this.#queues.get(name) ?? [];
    const at = queue.findIndex((each) => each.owner === owner);
    if (at < 0) return;
    queue.splice(at, 1);
    if (at === 0) queue[0]?.grant();
  }

  kill(owner: string): void {
    this.#members.delete(owner);
    for (const name of this.#queues.keys()) this.#release(name, owner);
  }

  #channel(owner: string): Port {
    return {
      addEventListener: (_type, listener) => void this.#members.set(owner, listener),
      postMessage: (data) => {
        for (const [to, hear] of this.#members) {
          if (to === owner) continue;
          if (this.isLate(owner, to)) this.late.push(() => hear({ data }));
          else queueMicrotask(() => hear({ data }));
        }
      },
    };
  }

  /** @returns what its page asks with, and what it has heard */
  tab(session: string) {
    let ask: Listener = () => undefined;
    const heard: unknown[] = [];
    const answer = async () => ({ columns: [], rows: [[session]], changes: 0, writes: [] });
    const database: Partial<Database> = { backend: "opfs", identity: "opfs", torn: false, script: async () => {} };
    runTab({
      page: {
        postMessage: (message) => void heard.push(message),
        addEventListener: (_type, listener) => {
          ask = listener;
        },
        close: () => this.kill(session),
      },
      session,
      locks: this.#locks(session),
      channel: () => this.#channel(session),
      openDatabase: async () => ({ ...database, execute: answer }) as Database,
      now: () => 0,
      rest: settled,
    });
    ask({ data: { id: 0, call: "open", name: "db", backend: "opfs", lost: false, setup: "" } });
    const query = (id: number) => ask({ data: { id, call: "execute", sql: "SELECT 1" } });
    return { heard, query };
  }
}

test("[C9] [C3] what a leader said before it died arrives after the next one's word: who heard it is answered all the same", async () => {
  const browser = new Browser();
  browser.tab("first");
  await settled();
  browser.tab("second");
  await settled();
  browser.isLate = (from, to) => from === "first" && to === "third";
  const { heard, query } = browser.tab("third");
  await settled();
  browser.kill("first");
  await settled();
  expect(heard).toEqual([{ leads: false }, { id: 0, value: { backend: "opfs", identity: "opfs" } }]);
  expect(browser.late.length).toBeGreaterThan(0);
  for (const arrive of browser.late) arrive();
  query(1);
  await settled();
  expect(heard).toContainEqual({ id: 1, value: { columns: [], rows: [["second"]], changes: 0, writes: [] } });
});

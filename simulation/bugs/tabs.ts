/** Planted in what the tabs of one database share: who leads, whose turn it is, who is told. */
import type { Bug } from "./list.ts";

const TAB = "client/db/wasm/tab.ts";
const LOCAL_DB = "client/db/local-db.ts";

export const TABS_BUGS: readonly Bug[] = [
  {
    name: "two-leaders",
    what: "each tab leads",
    edits: [
      {
        file: TAB,
        find: "void locks.request(`lakesync:$",
        replace:
          "void new (class { request = (_: string, __: object, held: () => Promise<unknown>) => held(); })().request(`lakesync:$",
      },
    ],
  },
  {
    name: "clock-per-tab",
    what: "two tabs stamp what they write under one client id, each by a clock of its own",
    edits: [
      {
        file: LOCAL_DB,
        find: '        await driver.execute("BEGIN IMMEDIATE");\n',
        replace: `        await driver.execute("BEGIN IMMEDIATE");
        const tab = this as unknown as { last?: string };
        if (this.#tabs) await driver.execute("SELECT lakesync_clock(?, 0)", [tab.last ?? "0000000000000000"]);
`,
      },
      {
        file: LOCAL_DB,
        find: '        await driver.execute("COMMIT");\n',
        replace: `        tab.last = (await driver.execute("SELECT lakesync_last()")).rows[0]?.[0] as string;
        await driver.execute("COMMIT");
`,
      },
    ],
  },
  {
    name: "takeover-forgets-the-clock",
    what: "a tab that takes over begins with a clock of its own",
    edits: [{ file: TAB, find: "    await driver.script(setup);\n", replace: "" }],
  },
  {
    name: "write-lost-at-takeover",
    what: "what the last leader did not answer counts as done",
    edits: [
      {
        file: TAB,
        find: "      else tell({ id: message.id, error: failure(gone()) });",
        replace: "      else tell({ id: message.id, value: { columns: [], rows: [], changes: 1, writes: [] } });",
      },
    ],
  },
  {
    name: "dead-tab-keeps-its-turn",
    what: "the transaction of a tab that died stays open",
    edits: [{ file: TAB, find: "        turnstile.leave(from);\n", replace: "" }],
  },
  {
    name: "turns-not-taken",
    what: "statements of two tabs get into one transaction",
    edits: [
      {
        file: "client/db/wasm/turnstile.ts",
        find: "(job) => this.#owner === undefined || job.session === this.#owner",
        replace: "() => true",
      },
    ],
  },
  {
    name: "failed-takeover-keeps-the-file",
    what: "a tab that could not take over keeps the file open",
    edits: [{ file: TAB, find: "(leader ? tear() : reject(cause))", replace: "reject(cause)" }],
  },
  {
    name: "former-leader-goes-on",
    what: "a tab that leads no longer goes on syncing",
    edits: [
      {
        file: "client/sync/coordinator.ts",
        find: "(this.db.leads ? this.#start() : this.#stop())",
        replace: "this.db.leads && this.#start()",
      },
    ],
  },
  {
    name: "takeover-unheard",
    what: "live queries do not look again when another tab leads",
    edits: [{ file: LOCAL_DB, find: "      void this.#elsewhere();\n", replace: "" }],
  },
  {
    name: "dead-leader-heard-late",
    what: "a tab believes what a leader said before it died, and hears after the next one's word",
    edits: [{ file: TAB, find: 'if (!own) onEnd(name, () => say({ kind: "who" }));', replace: "" }],
  },
  {
    name: "left-unheard",
    what: "what a tab committed and told nobody before it died, live queries do not show",
    edits: [
      {
        file: "client/db/wasm/tab.ts",
        find: `        tell({ leads: true });
        announce();
`,
        replace: "",
      },
    ],
  },
  {
    name: "columns-of-another-tab",
    what: "a tab goes by the columns that it knew when it opened",
    edits: [
      { file: LOCAL_DB, find: "if (table !== before) this.#writes.add(TABLES);", replace: "" },
      { file: "client/sync/outbox.ts", find: "if (db.platform.tabs) await tx.reload();", replace: "" },
    ],
  },
  {
    name: "others-unheard",
    what: "a tab that was alone tells nobody of its commits",
    edits: [
      {
        file: "client/db/wasm/remote.ts",
        find: 'if ("others" in message) this.alone = false;',
        replace: 'if ("others" in message) return;',
      },
    ],
  },
];

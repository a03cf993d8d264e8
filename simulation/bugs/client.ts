/** Planted in client/: what a device keeps, sends and believes. */
import type { Bug } from "./list.ts";

const ROUND = "client/sync/round.ts";
const APPLY = "client/sync/apply.ts";
const COORDINATOR = "client/sync/coordinator.ts";
const LOCAL_DB = "client/db/local-db.ts";

export const CLIENT_BUGS: readonly Bug[] = [
  {
    name: "acknowledged-before-answer",
    what: "a push that was never answered counts as taken",
    edits: [
      {
        file: ROUND,
        find: "    if (!BLAMED_ON_A_DELTA.has(error.code)) throw error;",
        replace: `    if (error.code === "Network") return this.#answered(entries, { answer: { rejected: [], serverHlc: "0000000000000000" as HlcText, cursorHint: "" }, midMs: 0 });
    if (!BLAMED_ON_A_DELTA.has(error.code)) throw error;`,
      },
    ],
  },
  {
    name: "acknowledgement-clears-the-outbox",
    what: "an answer acknowledges what was committed since it was asked for",
    edits: [
      {
        file: "client/sync/outbox.ts",
        find: '"DELETE FROM lakesync_outbox WHERE hlc IN (SELECT value FROM json_each(?))", [list]',
        replace: "\"DELETE FROM lakesync_outbox WHERE ? <> ''\", [list]",
      },
    ],
  },
  {
    name: "outbox-acknowledged-twice",
    what: "an acknowledgement takes as many entries again as it has taken",
    edits: [
      {
        file: "client/sync/outbox.ts",
        find: '  await tx.run("DELETE FROM lakesync_outbox WHERE hlc IN (SELECT value FROM json_each(?))", [list]);',
        replace: `  await tx.run("DELETE FROM lakesync_outbox WHERE hlc IN (SELECT value FROM json_each(?))", [list]);
  await tx.run("DELETE FROM lakesync_outbox WHERE hlc IN (SELECT hlc FROM lakesync_outbox ORDER BY hlc LIMIT ?)", [hlcs.length]);`,
      },
    ],
  },
  {
    name: "entry-dropped-after-failures",
    what: "an edit that could not be pushed five times is given up",
    edits: [
      {
        file: ROUND,
        find: "    if (!BLAMED_ON_A_DELTA.has(error.code)) throw error;",
        replace: `    const count = globalThis as unknown as { tries?: number };
    count.tries = (count.tries ?? 0) + 1;
    if (count.tries % 5 === 0) await this.#db.exec("DELETE FROM lakesync_outbox WHERE hlc = (SELECT min(hlc) FROM lakesync_outbox)");
    if (!BLAMED_ON_A_DELTA.has(error.code)) throw error;`,
      },
    ],
  },
  {
    name: "cursor-moved-after-push",
    what: "a push moves the pull cursor to where the shards stand",
    edits: [
      {
        file: ROUND,
        find: "      if (drifted) await restamp(tx);",
        replace: `      if (drifted) await restamp(tx);
      const held = await tx.getMeta("cursor");
      if (held) {
        const cursor = JSON.parse(atob(held.replaceAll("-", "+").replaceAll("_", "/")));
        for (const each of answer.cursorHint.split(",")) {
          const part = cursor.s[each.slice(0, each.lastIndexOf(":"))];
          if (part?.length === 3) part[1] = Number(each.slice(each.lastIndexOf(":") + 1));
        }
        await tx.setMeta("cursor", btoa(JSON.stringify(cursor)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, ""));
      }`,
      },
    ],
  },
  {
    name: "page-fits-anywhere",
    what: "a page that came unasked is taken wherever the device stands",
    edits: [{ file: ROUND, find: 'if ((await tx.getMeta("cursor")) === page.follows)', replace: "if (page)" }],
  },
  {
    name: "has-more-ignored",
    what: "a round ends after one page",
    edits: [{ file: ROUND, find: "    return page.hasMore;", replace: "    return false;" }],
  },
  {
    name: "resync-sweeps-nothing",
    what: "rows that a resync did not bring stay",
    edits: [{ file: ROUND, find: "    if (sweep && !page.hasMore) await sweep.finish(applier);", replace: "" }],
  },
  {
    name: "expired-cursor-kept",
    what: "a device whose cursor has expired asks with it again",
    edits: [
      {
        file: ROUND,
        find: 'await tx.setMeta("cursor", "");\n          // What was just',
        replace: "throw error;\n          // What was just",
      },
    ],
  },
  {
    name: "page-hides-waiting-edits",
    what: "a page replaces what the app has written and not pushed",
    edits: [
      {
        file: APPLY,
        find: "    writes.show(rowId, visible, visibleOf(state, remaining, clientId));",
        replace: "    writes.show(rowId, visible, visibleOf(state, [], clientId));",
      },
    ],
  },
  {
    name: "refusal-keeps-the-cell",
    what: "an edit that was refused stays in the table",
    edits: [
      {
        file: APPLY,
        find: "      if (!turnedDown.has(entry)) change.edits.push(",
        replace: "      if (turnedDown) change.edits.push(",
      },
    ],
  },
  {
    name: "poke-lost-no-watchdog",
    what: "a device that can be poked never looks by itself",
    edits: [
      {
        file: COORDINATOR,
        find: "        else this.#schedule(this.#live ? this.#options.livePollMs : this.#options.pollMs);",
        replace: "        else if (!this.#live) this.#schedule(this.#options.pollMs);",
      },
    ],
  },
  {
    name: "no-timeouts",
    what: "a request that is never answered is waited for",
    edits: [
      {
        file: ROUND,
        find: "timer = timers.set(stop, this.#options.requestMs);",
        replace: "",
      },
      {
        file: "client/transport/http.ts",
        find: "timers.set(stop, this.#timeoutMs);",
        replace: "timers.set(() => undefined, this.#timeoutMs);",
      },
      { file: COORDINATOR, find: 'is tried again."));\n        this.#abort?.abort();', replace: 'is tried again."));' },
    ],
  },
  {
    name: "stale-token-kept",
    what: "a 401 is an error like any other",
    edits: [
      {
        file: "client/transport/http.ts",
        find: 'if (error.code === "Unauthenticated" && !stale',
        replace: "if (error.status === 0 && !stale",
      },
    ],
  },
  {
    name: "client-id-shared",
    what: "a copy of a database keeps the client id",
    edits: [
      {
        file: LOCAL_DB,
        find: 'const copied = meta.get("identity") !== driver.identity;',
        replace: 'const copied = meta.get("identity") === undefined;',
      },
    ],
  },
  {
    name: "copy-keeps-the-cursor",
    what: "a copied database goes on from where its original was",
    edits: [{ file: LOCAL_DB, find: ', cursor: "" }),', replace: " })," }],
  },
  {
    name: "clock-forgotten",
    what: "a device that starts again forgets which stamps it gave out",
    edits: [
      {
        file: "client/db/bookkeeping.ts",
        find: "max(lakesync_last(), coalesce((SELECT max(h) FROM (",
        replace: "max('0000000000000000', coalesce((SELECT max(h) FROM (",
      },
    ],
  },
  {
    name: "drifted-edit-given-up",
    what: "an edit refused for a clock that is off is taken back",
    edits: [
      {
        file: ROUND,
        find: 'else if (refusal.code === "ClockDrift") drifted = true;\n      else if (ERRORS[refusal.code].retry) kept++;',
        replace: "",
      },
    ],
  },
  {
    name: "write-and-entry-apart",
    what: "a row and its outbox entry are not one transaction",
    edits: [
      {
        file: LOCAL_DB,
        find: '      await driver.execute("BEGIN IMMEDIATE");\n',
        replace: "",
      },
      { file: LOCAL_DB, find: '        await driver.execute("COMMIT");\n', replace: "" },
    ],
  },
  {
    name: "page-before-its-answer",
    what: "a page that came unasked is taken although the answer to a push that it tells of was lost",
    edits: [
      {
        file: "client/sync/round.ts",
        find: "if (inbox.doubt || pages.length === 0) return;",
        replace: "if (pages.length === 0) return;",
      },
    ],
  },
];

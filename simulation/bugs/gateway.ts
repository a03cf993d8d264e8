/** Planted in core/ and durable-objects/: what a shard merges, remembers and serves. */
import type { Bug } from "./list.ts";

const PULL = "core/shard/pull.ts";
const MERGE = "core/merge.ts";
const ENGINE = "core/shard/engine.ts";
const SHARD = "durable-objects/shard/index.ts";
const FOLLOWERS = "durable-objects/followers.ts";

export const GATEWAY_BUGS: readonly Bug[] = [
  {
    name: "cursor-by-hlc",
    what: "a pull leaves out rows whose clock is older than what was pulled before",
    edits: [
      {
        file: PULL,
        find: "        const row = rows.get(id);\n        if (!row) continue;",
        replace: `        const row = rows.get(id);
        const [top] = this.#context.sql.exec<{ h: string | null }>(
          "SELECT max(high) AS h FROM (SELECT high, last FROM log UNION ALL SELECT high, last FROM lists) WHERE last <= ?", since);
        if (!row || (JSON.parse(row.state) as string[])[0]!.slice(0, 16) < (top?.h ?? "")) continue;`,
      },
    ],
  },
  {
    name: "no-tie-break",
    what: "of two edits with one clock, the one that comes later wins",
    edits: [
      {
        file: MERGE,
        find: "layer.stamp > stamp || (layer.stamp === stamp && compareAny(layer.values[k] as Scalar, value) >= 0)",
        replace: "layer.stamp.slice(0, 16) > stamp.slice(0, 16) || (k < 0 && compareAny(0, value) > 0)",
      },
    ],
  },
  {
    name: "one-stamp-per-row",
    what: "an edit stamps the whole row, not the cells that it names",
    edits: [
      {
        file: MERGE,
        find: "    addLayer(row, { stamp, seq, columns: won.columns, values: won.values });",
        replace: `    const top = row.layers.at(-1)?.stamp ?? stamp;
    const all = [...row.layers, won];
    row.layers = [{ stamp: top > stamp ? top : stamp, seq, columns: all.flatMap((l) => l.columns), values: all.flatMap((l) => l.values) }];`,
      },
    ],
  },
  {
    name: "re-insert-below-tombstone",
    what: "cells that a delete buried come back with the next insert",
    edits: [
      {
        file: MERGE,
        find: "      row.layers = row.layers.filter((layer) => layer.stamp >= stamp);",
        replace: "",
      },
    ],
  },
  {
    name: "dedup-forgotten",
    what: "a repeated edit that left no trace in its row is logged again",
    edits: [
      {
        file: "core/shard/push.ts",
        find: "      if (known.has(editKey(candidate)) || takenBefore(candidate.rowId, candidate.hlc)) continue;",
        replace: "",
      },
    ],
  },
  {
    name: "dedup-stays-behind",
    what: "when a table moves, the new shards do not learn which edits the old ones took",
    edits: [{ file: "core/shard/push.ts", find: " || takenBefore(candidate.rowId, candidate.hlc)", replace: "" }],
  },
  {
    name: "filter-on-delta-columns",
    what: "sync rules look at the cells that changed, not at the row",
    edits: [
      {
        file: PULL,
        find: "    if (isAlive(state) && access.sees((c) => cellOf(state, c))) {",
        replace:
          "    if (isAlive(state) && access.sees((c) => cellOf({ ...state, layers: state.layers.filter((l) => l.seq > since) }, c))) {",
      },
    ],
  },
  {
    name: "move-out-not-sent",
    what: "a row that leaves a bucket stays on the device",
    edits: [
      {
        file: PULL,
        find: 'if (isAlive(state) || state.deleted === "") builder.add("R",',
        replace: 'if (isAlive(state) || state.deleted === "") void ("R",',
      },
    ],
  },
  {
    name: "delete-not-sent",
    what: "a row that died is not taken off those who had it",
    edits: [{ file: PULL, find: '    else builder.add("D", row.id,', replace: '    else void ("D", row.id,' }],
  },
  {
    name: "own-row-not-taken-back",
    what: "a device keeps a row that it wrote and may not see",
    edits: [{ file: PULL, find: "const own = list.client === this.#input.clientId;", replace: "const own = false;" }],
  },
  {
    name: "end-of-what-never-was",
    what: "a device that wrote to a row that never was is told of its delete, which there was not",
    edits: [{ file: PULL, find: 'if (isAlive(state) || state.deleted === "")', replace: "if (isAlive(state))" }],
  },
  {
    name: "unfiltered-scan",
    what: "a first sync sends every row",
    edits: [
      {
        file: PULL,
        find: "(judge && !(isAlive(state) && table.access.sees((c) => cellOf(state, c))))",
        replace: "(judge && !isAlive(state))",
      },
    ],
  },
  {
    name: "rules-change-ignored",
    what: "a cursor of other rules or claims is taken as it is",
    edits: [
      {
        file: PULL,
        find: "input.position !== undefined && input.fingerprint !== fingerprint;",
        replace: "false;",
      },
    ],
  },
  {
    name: "expired-cursor-taken",
    what: "a cursor older than the change lists is served what is left of them",
    edits: [
      {
        file: PULL,
        find: "  if (position && position.seq < Math.max(context.floor, listedAfter(context.sql, head))) return err(expired());",
        replace: "",
      },
    ],
  },
  {
    name: "trim-before-acknowledgement",
    what: "a flush that failed is trimmed from the log",
    edits: [
      {
        file: ENGINE,
        find: "const retry = failed.some((r) => !r.error?.hopeless) ? leaseAgain(lease, failed, nowMs) : undefined;",
        replace: "const retry = undefined as Lease | undefined;",
      },
    ],
  },
  {
    name: "flush-sees-the-present",
    what: "a flush that is repeated hands over rows as they are now",
    edits: [
      {
        file: "core/shard/store.ts",
        find: "r.seq = ?3 + k.key AND octet_length(r.state) <=",
        replace: "r.seq >= ?3 + k.key AND octet_length(r.state) <=",
      },
    ],
  },
  {
    name: "flush-forgets-a-former-row",
    what: "a row that was edited twice in a lease and again since is handed over only if the second edit won",
    edits: [
      {
        file: "core/shard/flush.ts",
        find: "changed.get(id)?.includes(row.seq)",
        replace: "changed.get(id)?.at(-1) === row.seq",
      },
    ],
  },
  {
    name: "sealed-shard-takes-writes",
    what: "a shard takes rows that are on the move, or live elsewhere",
    edits: [
      {
        file: "core/shard/push.ts",
        find: "if (!ownsAll(context.config, input))",
        replace: "if (ownsAll === undefined)",
      },
    ],
  },
  {
    name: "move-forgets-the-lake",
    what: "rows that moved do not know that the lake has them",
    edits: [
      {
        file: ENGINE,
        find: "flushedSeq: flushedVersion(row, Number.POSITIVE_INFINITY as Seq)",
        replace: "flushedSeq: 0",
      },
    ],
  },
  {
    name: "hint-not-repeated",
    what: "a flush is asked for once, and the message may be lost",
    edits: [
      {
        file: SHARD,
        find: "    await this.#setAlarm(Date.now() + this.#ageMs);\n    await this.#hint(config.gatewayId, config.shard);",
        replace: "    await this.#hint(config.gatewayId, config.shard);",
      },
    ],
  },
  {
    name: "change-told-to-nobody",
    what: "new rules are answered before the shards know them",
    edits: [
      {
        file: "durable-objects/tenant/index.ts",
        find: "      await this.#tellShards(gatewayId as GatewayId);\n      return result.value;",
        replace: "      return result.value;",
      },
    ],
  },
  {
    name: "digest-of-some-shards",
    what: "a table's digest is added up of the shards that give one, while others know newer rules",
    edits: [
      {
        file: "durable-objects/router.ts",
        find: "if (pages.some((page) => page.hasMore || page.version !== pages[0]?.version)) return {};",
        replace: "if (pages.some((page) => page.hasMore)) return {};",
      },
    ],
  },
  {
    name: "digest-of-what-was",
    what: "a row that changes leaves its old hash in the digest",
    edits: [
      {
        file: "core/digest.ts",
        find: "    if (this.#only) addCells(hash, before, this.#nameOf, this.#only);\n",
        replace: "    if (this.#only) return;\n",
      },
    ],
  },
  {
    name: "alarm-after-log",
    what: "a shard sets its alarm after the log has grown, and may die between the two",
    edits: [
      {
        file: SHARD,
        find: "deltas: input.deltas });\n      await this.#arm();\n",
        replace: "deltas: input.deltas });\n",
      },
      {
        file: SHARD,
        find: "this.#moved(address, onlookers === undefined);",
        replace: "this.#moved(address, onlookers === undefined); await this.#arm();",
      },
    ],
  },
  {
    name: "page-for-those-behind",
    what: "a device that has missed something is sent the page after it",
    edits: [{ file: FOLLOWERS, find: " || part?.position.seq !== moved.before", replace: " || !part" }],
  },
  {
    name: "page-by-other-rules",
    what: "a device that follows by old rules is sent pages by the new ones, and not told to start over",
    edits: [
      {
        file: FOLLOWERS,
        find: "if (page.fingerprint !== part.fingerprint || page.version !== follower.version)",
        replace: "if (page.position === part.position)",
      },
    ],
  },
  {
    name: "upkeep-unregistered",
    what: "a gateway whose first upkeep was asked for by an operator is unknown to Cron",
    edits: [
      {
        file: "durable-objects/tenant/index.ts",
        find: "      await this.#registered(gatewayId, [table]);\n",
        replace: "",
      },
    ],
  },
  {
    name: "upkeep-lease-for-ever",
    what: "the lease of a run that died is never over",
    edits: [
      {
        file: "core/maintenance.ts",
        find: "if (row && row.until_ms > nowMs) return undefined;",
        replace: "if (row && row.until_ms > 0) return undefined;",
      },
    ],
  },
  {
    name: "left-rows-forgotten",
    what: "a row that has left its shard is taken for one that never was",
    edits: [{ file: "core/shard/cold.ts", find: "    if (!runs) return [];\n", replace: "    return [];\n" }],
  },
  {
    name: "merge-keeps-the-oldest",
    what: "of a row that is in several runs, what the oldest of them has stays when they are merged",
    edits: [
      {
        file: "lake/cold/merge.ts",
        find: "newest(runs.toReversed().map(",
        replace: "newest(runs.map(",
      },
    ],
  },
  {
    name: "scan-passes-over-own-rows",
    what: "where a device scans a shard after it has installed others, it is not told of what it wrote meanwhile and may not see",
    edits: [
      {
        file: "worker/checkpoint/serve.ts",
        find: 'parts.set(shard, { fingerprint, position: { at: "scan", seq: head, table: "", after: "" } });',
        replace: "void head;",
      },
    ],
  },
];

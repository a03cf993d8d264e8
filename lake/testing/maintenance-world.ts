/**
 * A lake with two shards, readers, and everything that maintains it, whose every step can be killed or raced at any fault
 * point. The oracle is the shards' own history: a snapshot says in its summary how far it holds each of them.
 */
import type { FlushBatch, LoadedTable, Snapshot } from "../../core/index.ts";
import { hlcToBigInt, invariant, isLakeSyncError, type TableSchema, unwrap } from "../../schemas/index.ts";
import { type CompactOptions, compact, expireSnapshots, removeOrphans, rewriteManifests } from "../compact/index.ts";
import { reachableFrom } from "../compact/reachable.ts";
import {
  currentSchema,
  type FaultPoint,
  fieldsOf,
  flushToIceberg,
  identOf,
  KINDS,
  keyOf,
  scanSnapshot,
  type TableKind,
} from "../iceberg/index.ts";
import { type TestLake, testLake } from "./lake.ts";
import type { Weather } from "./memory-catalogue.ts";
import { ShardModel } from "./shard-model.ts";

class Killed extends Error {}

export const GRACE_MS = 10_000;
const SNAPSHOT_MS = 5_000;
/** Longer than anything here takes. */
const ORPHAN_MS = 20_000;

export type Job = "compact" | "expire" | "orphans" | "manifests";

interface Reader {
  readonly kind: TableKind;
  readonly table: LoadedTable;
  readonly snapshot: Snapshot;
  readonly openedMs: number;
}

export class MaintenanceWorld {
  readonly lake: TestLake;
  readonly shards: readonly ShardModel[];
  readonly reached = new Set<FaultPoint>();
  readonly #table: TableSchema;
  readonly #options: CompactOptions;
  readonly #weather: Weather[];
  /** What happens at the n-th fault point from now. */
  #at: { left: number; act: () => Promise<unknown> } | undefined;
  #readers: Reader[] = [];

  constructor(seed: number, table: TableSchema, options: CompactOptions, weather: readonly Weather[] = []) {
    this.#table = table;
    this.#options = options;
    this.#weather = [...weather];
    this.lake = testLake({
      seed,
      weather: () => this.#weather.shift() ?? "fine",
      fault: (point) => this.#fault(point),
    });
    this.shards = ["one", "two"].map((name) => new ShardModel(name, table));
  }

  async #fault(point: FaultPoint): Promise<void> {
    this.reached.add(point);
    if (!this.#at || this.#at.left-- > 0) return;
    const { act } = this.#at;
    this.#at = undefined;
    await act();
  }

  /** Runs something, and something else at its n-th fault point. */
  async racing(left: number, rival: () => Promise<unknown>, body: () => Promise<unknown>): Promise<void> {
    this.#at = { left, act: rival };
    await body();
    this.#at = undefined;
  }

  /** Runs something that dies at its n-th fault point, if it has so many. @returns whether it died */
  async killed(left: number, body: () => Promise<unknown>): Promise<boolean> {
    let died = false;
    const die = async () => {
      died = true;
      throw new Killed();
    };
    await this.racing(left, die, async () => {
      try {
        await body();
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
      }
    });
    return died;
  }

  wait(milliseconds: number): void {
    this.lake.clock.ms += milliseconds;
  }

  async flush(batch: FlushBatch): Promise<void> {
    unwrap(await flushToIceberg(batch, this.lake.deps));
  }

  /** @returns whether there may be more to do */
  async maintain(job: Job, kind: TableKind): Promise<boolean> {
    const { deps } = this.lake;
    const ident = identOf(deps, this.#table.table, kind);
    if (!(await deps.catalogue.load(ident)).ok) return false;
    if (job === "compact") return unwrap(await compact(deps, ident, this.#options)).state !== "nothing";
    if (job === "manifests") unwrap(await rewriteManifests(deps, ident));
    if (job === "expire")
      unwrap(await expireSnapshots(deps, ident, { olderThanMs: SNAPSHOT_MS, retainLast: 2, gracePeriodMs: GRACE_MS }));
    if (job === "orphans")
      unwrap(await removeOrphans(deps, ident, { olderThanMs: ORPHAN_MS, gracePeriodMs: GRACE_MS }));
    return false;
  }

  async #load(kind: TableKind): Promise<LoadedTable | undefined> {
    const loaded = await this.lake.deps.catalogue.load(identOf(this.lake.deps, this.#table.table, kind));
    return loaded.ok ? loaded.value : undefined;
  }

  /** Somebody begins to read a snapshot, by the metadata as it is now. @param at counted from the newest */
  async open(kind: TableKind, at: number): Promise<void> {
    const table = await this.#load(kind);
    const snapshots = table?.metadata.snapshots ?? [];
    const snapshot = snapshots[snapshots.length - 1 - (at % Math.max(1, snapshots.length))];
    if (table && snapshot) this.#readers.push({ kind, table, snapshot, openedMs: this.lake.clock.ms });
  }

  /** Every reader within its grace period reads what it came for. @returns what is wrong */
  async readAll(): Promise<string | undefined> {
    this.#readers = this.#readers.filter(({ openedMs }) => openedMs + GRACE_MS > this.lake.clock.ms);
    for (const { kind, table, snapshot } of this.#readers) {
      const wrong = await this.#compare(kind, table, snapshot);
      if (wrong) return `reader of ${wrong}`;
    }
    return undefined;
  }

  /** Compares every snapshot that the metadata has with the oracle. @returns what is wrong */
  async check(newest = Number.POSITIVE_INFINITY): Promise<string | undefined> {
    for (const kind of KINDS) {
      const table = await this.#load(kind);
      for (const snapshot of (table?.metadata.snapshots ?? []).slice(-newest)) {
        const wrong = await this.#compare(kind, table as LoadedTable, snapshot);
        if (wrong) return wrong;
      }
    }
    return undefined;
  }

  async #compare(kind: TableKind, { metadata }: LoadedTable, snapshot: Snapshot): Promise<string | undefined> {
    const fields = fieldsOf(currentSchema(metadata), kind);
    const seen: string[] = [];
    try {
      for await (const { columns } of scanSnapshot(this.lake.deps.store, snapshot, { columns: fields }))
        for (let at = 0; at < (columns[0]?.length ?? 0); at++)
          seen.push(
            JSON.stringify(
              fields.map(({ name }, of) => (name === "_hlc" ? String(columns[of]?.[at]) : (columns[of]?.[at] ?? null))),
            ),
          );
    } catch (error) {
      if (!isLakeSyncError(error)) throw error;
      return `${kind} at ${snapshot["snapshot-id"]}: ${error.message}`;
    }
    const names = fields.map(({ name }) => name);
    const wanted = this.shards.flatMap((shard) => this.#expected(kind, shard, snapshot, names));
    if (seen.sort().join("\n") === wanted.sort().join("\n")) return undefined;
    return `${kind} at ${snapshot["snapshot-id"]} (${snapshot.summary.operation}):\n${seen.join("\n")}\nis not\n${wanted.join("\n")}`;
  }

  #expected(kind: TableKind, shard: ShardModel, snapshot: Snapshot, names: readonly string[]): string[] {
    const held = Number(snapshot.summary[`lakesync.watermark.${shard.name}`] ?? 0);
    if (kind === "main")
      return [...shard.rowsAt(held).values()].map(({ rowId, seq, hlc, cells }) => {
        const own = { _id: rowId, _seq: seq, _hlc: String(hlcToBigInt(hlc)) };
        return JSON.stringify(names.map((name) => ({ ...cells, ...own })[name as "_id"] ?? null));
      });
    return shard.log.slice(0, held).map(({ seq, rowId, hlc, client, op, cells, receivedMs }) => {
      const ids = this.#table.columns.filter(({ name }) => Object.hasOwn(cells, name)).map(({ id }) => id);
      const own = {
        _seq: seq,
        _shard: shard.name,
        _received: receivedMs * 1000,
        _hlc: String(hlcToBigInt(hlc)),
        _client_id: client,
        _op: op,
        _id: rowId,
        _columns: ids.join(),
      };
      return JSON.stringify(names.map((name) => ({ ...cells, ...own })[name as "_id"] ?? null));
    });
  }

  /** Lets everything come to rest: what nobody needs any more goes. */
  async settle(): Promise<void> {
    for (const kind of KINDS) {
      for (let jobs = 0; await this.maintain("compact", kind); jobs++) invariant(jobs < 100, "compaction ends");
      this.wait(SNAPSHOT_MS + ORPHAN_MS);
      await this.maintain("expire", kind);
      await this.maintain("orphans", kind);
      this.wait(GRACE_MS);
      await this.maintain("orphans", kind);
      await this.maintain("orphans", kind);
    }
  }

  /** Files that no metadata names. */
  async orphans(): Promise<string[]> {
    const { store } = this.lake.deps;
    const orphans: string[] = [];
    for (const kind of KINDS) {
      const table = await this.#load(kind);
      if (!table) continue;
      const needed = await reachableFrom(store, table);
      for (let cursor: string | undefined; ; ) {
        const page = await store.list(`${keyOf(store, table.metadata.location)}/`, cursor);
        if (!page.ok) throw page.error;
        orphans.push(...page.value.objects.map(({ key }) => key).filter((key) => !needed.has(key)));
        if (page.value.cursor === undefined) break;
        cursor = page.value.cursor;
      }
    }
    return orphans;
  }
}

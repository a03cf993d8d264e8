/**
 * The Shard: a shell that carries calls to the engine, keeps its configuration current, tells the hub that something
 * moved, and asks for a flush when the log is large or old (F4).
 */
import { DurableObject } from "cloudflare:workers";
import {
  type CheckpointChanges,
  type CheckpointRows,
  type CheckpointStart,
  type ClientClocks,
  type ColdAsk,
  type ColdRun,
  clientIdTaken,
  type FilteredRun,
  type HistoryBatch,
  indexedColumns,
  type MovedClock,
  type PackedRow,
  type PullInput,
  type PullPage,
  type PushInput,
  type PushOutcome,
  RateLimiter,
  type RebuildState,
  type RebuildStep,
  type ShardConfig,
  ShardEngine,
  type ShardStatus,
  type TableResult,
} from "../../core/index.ts";
import { type LeavingTable, type MergingTable, R2Store, readCold } from "../../lake/index.ts";
import {
  type Claims,
  decodeBatch,
  encodeBatch,
  err,
  FLUSH_AGE_MS,
  FLUSH_BYTES,
  FLUSH_DELTAS,
  FLUSH_PAGE_BYTES,
  FOLLOWED_BYTES_MAX,
  HOT_CHUNKS_PER_PUSH,
  HOT_LEAVE_EDITS,
  LakeSyncError,
  NO_RULES,
  type PackedBatch,
  packBatch,
  ROW_ID_BYTES_MAX,
  type Seq,
  unwrap,
} from "../../schemas/index.ts";
import { type Env, lakeLocation } from "../env.ts";
import type { Moved, Onlooker } from "../followers.ts";
import { call, type Plain, plainly, toPlain } from "../rpc.ts";
import { DurableSqlStore } from "../sql-store.ts";

/** What each call says of where it goes: a Durable Object does not know its own name before it is told. */
export interface ShardAddress {
  readonly gatewayId: string;
  readonly shard: string;
  /** The tenant's version that the caller knows: a shard that knows an older one asks the tenant first. */
  readonly version: number;
}

/** Batches cross RPC packed: a string a column clones faster than its values, and only the shard reads them. */
export type ShardPush = Pick<PushInput, "clientId" | "claims" | "deltas"> & {
  readonly batches: readonly PackedBatch[];
};
export type ShardPage = Omit<PullPage, "batches"> & {
  readonly batches: readonly PackedBatch[];
  /** The tenant's version that this page goes by: a caller that knows an older one may have asked the wrong shards. */
  readonly version: number;
};

/** Where a device's cursor may begin. */
export interface ShardStanding {
  /** What it is bound to. */
  readonly fingerprint: string;
  /** Whether a device can catch up from the seq that was asked for. */
  readonly remembered: boolean;
  /** The tenant's version that the shard goes by. */
  readonly version: number;
  readonly head: number;
}

/** At most one hint a second, however fast the log grows. */
const HINT_MS = 1000;
/** While no device listens, the hub hears of pushes no more often than this: each call is a request, which is billed. */
const UNHEARD_POKE_MS = 50;
/** Client ids whose owner is held in memory. */
const OWNERS_MAX = 10_000;
/** Rows read at once for a copy; each may have a megabyte. */
const EXPORT_ROWS = 8;

export class Shard extends DurableObject<Env> {
  readonly #sql: DurableSqlStore;
  readonly #engine: ShardEngine;
  readonly #rate = new RateLimiter();
  /** Whose client ids are, of those that pushed lately; they never change hands. */
  readonly #owners = new Map<string, string>();
  #alarmAt: number | null | undefined;
  #hintedMs = 0;
  #pokedMs = 0;
  #pokeTimer: ReturnType<typeof setTimeout> | undefined;
  /** Sockets, as the hub said last; undefined when it has not said. */
  #listeners: number | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql = new DurableSqlStore(ctx.storage);
    this.#engine = new ShardEngine(this.#sql, { leaveEdits: Number(env.HOT_LEAVE_EDITS) || HOT_LEAVE_EDITS });
  }

  /** @param met whether the tenant has told this shard its configuration before */
  configure(config: ShardConfig, met = false): void {
    if (met && !this.#engine.config) this.#lost(config);
    this.#engine.configure(config);
  }

  /** Told before, and without a configuration: what was here is gone, and nobody may take that for an empty table (L7). */
  #lost({ gatewayId, shard }: Pick<ShardConfig, "gatewayId" | "shard">): void {
    this.#engine.declareLost(Date.now());
    console.error(JSON.stringify({ level: "error", event: "shard lost", gatewayId, shard }));
  }

  /** A shard that is lost or being rebuilt does not know its rows: moves and checkpoints wait. A blank one may not know that it is. */
  #inService(): ShardEngine {
    if (this.#engine.config && !this.#engine.rebuilding) return this.#engine;
    throw new LakeSyncError("Unavailable", "The shard is out of service.");
  }

  async #current(address: ShardAddress): Promise<void> {
    if ((this.#engine.config?.version ?? -1) >= address.version) return;
    const tenant = this.env.TENANT.getByName(address.gatewayId);
    const config = await call("tenant", tenant.shardConfig(address.gatewayId, address.shard));
    if (!config.ok) throw config.error;
    if (!this.#engine.config) {
      const met = await call("tenant", tenant.met(address.gatewayId, address.shard));
      if (!met.ok) throw met.error;
      if (met.value) this.#lost(address);
    }
    this.#engine.configure(config.value);
  }

  /** @param onlookers of a hub, which tells its sockets itself what has changed */
  async push(
    address: ShardAddress,
    input: ShardPush,
    onlookers?: readonly Onlooker[],
  ): Promise<Plain<PushOutcome & { readonly head: number; readonly moved?: Moved }>> {
    return plainly(async () => {
      unwrap(this.#rate.take(input.claims.sub, Date.now()));
      await this.#current(address);
      await this.#claim(address, input);
      const batches = input.batches.map((b) => unwrap(decodeBatch(b, input.clientId)));
      await this.#thaw(address, { batches, deltas: input.deltas });
      await this.#arm();
      const before = this.#engine.head;
      const result = this.#engine.push({ ...input, batches, nowMs: Date.now() });
      if (!result.ok) throw result.error;
      const { head } = this.#engine;
      if (head === before) return { ...result.value, head };
      this.#moved(address, onlookers === undefined);
      if (!onlookers) return { ...result.value, head };
      const inputs = onlookers.map((onlooker) => ({ ...onlooker, maxBytes: FOLLOWED_BYTES_MAX }));
      const pages = this.#engine.follow(before, inputs).map((page) => page && this.#packed(page));
      return { ...result.value, head, moved: { before, head, pages } };
    });
  }

  #packed(page: PullPage): ShardPage {
    const batches = page.batches.map((b) => packBatch(encodeBatch(b)));
    return { ...page, batches, version: this.#engine.config?.version ?? 0 };
  }

  /** Rows that have left come back for the edits that name them. */
  async #thaw({ gatewayId, shard }: ShardAddress, input: Pick<PushInput, "batches" | "deltas">): Promise<void> {
    for (let read = 0; ; ) {
      const { version, asks } = this.#engine.coldAsks(input);
      const [ask] = asks;
      if (!ask) return;
      // What has come back stays for a while: the push goes on there when it comes again.
      if (read >= HOT_CHUNKS_PER_PUSH)
        throw new LakeSyncError(
          "Unavailable",
          "The push edits many rows that are not in the shard any more; repeat it.",
          {
            retryAfterSeconds: 1,
          },
        );
      const { schema } = ask;
      const some = asks.filter((each) => each.schema === schema);
      const store = new R2Store(this.env.LAKE, { location: lakeLocation(this.env) });
      const found = await readCold(store, { gatewayId, shard }, schema, some, HOT_CHUNKS_PER_PUSH - read);
      read += found.chunks;
      this.#engine.thaw(version, schema.table, found.asked, found.rows);
    }
  }

  /** A client id belongs to the user that first used it (S6); the tenant knows, the shard remembers. */
  async #claim({ gatewayId }: ShardAddress, { clientId, claims }: ShardPush): Promise<void> {
    if (this.#owners.get(clientId) === claims.sub) return;
    const owner = this.#engine.ownerOf(clientId);
    if (owner !== undefined && owner !== claims.sub) throw clientIdTaken(clientId);
    if (this.#owners.size >= OWNERS_MAX) this.#owners.clear();
    if (owner !== undefined) return void this.#owners.set(clientId, owner);
    const claimed = await call(
      "tenant",
      this.env.TENANT.getByName(gatewayId).claimClient(gatewayId, clientId, claims.sub),
    );
    if (!claimed.ok) throw claimed.error;
    this.#engine.rememberOwner(clientId, claims.sub);
  }

  /** After a push that changed something: poke, and ask for a flush if the log is large. */
  #moved({ gatewayId, shard }: ShardAddress, unheard = true): void {
    if (unheard) this.#poke(gatewayId, shard);
    const { deltas, bytes } = this.#engine.unflushed;
    const grown = deltas >= FLUSH_DELTAS || bytes >= FLUSH_BYTES;
    if (grown && Date.now() - this.#hintedMs >= HINT_MS) this.ctx.waitUntil(this.#hint(gatewayId, shard));
  }

  /** A device that connects in between pulls by itself, and hears of what came after that a moment later. */
  #poke(gatewayId: string, shard: string): void {
    if (this.#pokeTimer !== undefined) return;
    const poke = async () => {
      this.#pokeTimer = undefined;
      this.#pokedMs = Date.now();
      this.#listeners = undefined;
      this.#listeners = await this.env.HUB.getByName(gatewayId).poke(gatewayId, shard, this.#engine.head);
    };
    const wait = this.#listeners === 0 ? this.#pokedMs + UNHEARD_POKE_MS - Date.now() : 0;
    if (wait <= 0) this.ctx.waitUntil(poke());
    else this.#pokeTimer = setTimeout(() => this.ctx.waitUntil(poke()), wait);
  }

  /** Before the log grows: an object that dies between the two has an alarm and nothing to flush, not the reverse (F4). */
  async #arm(): Promise<void> {
    if (this.#alarmAt === undefined) {
      const at = await this.ctx.storage.getAlarm();
      if (this.#alarmAt === undefined) this.#alarmAt = at; // unless it rang meanwhile
    }
    if (this.#alarmAt === null) await this.#setAlarm((this.#engine.unflushed.oldestMs ?? Date.now()) + this.#ageMs);
  }

  get #ageMs(): number {
    return Number(this.env.FLUSH_AGE_MS) || FLUSH_AGE_MS;
  }

  async #setAlarm(at: number): Promise<void> {
    this.#alarmAt = at;
    await this.ctx.storage.setAlarm(at);
  }

  async #hint(gatewayId: string, shard: string): Promise<void> {
    this.#hintedMs = Date.now();
    await this.env.FLUSH_QUEUE.send({ gatewayId, shard });
  }

  /** Repeats the hint until everything is flushed: messages get lost, the log does not (decision 12). */
  override async alarm(): Promise<void> {
    this.#alarmAt = null;
    const { config, unflushed } = this.#engine;
    if (!config || unflushed.deltas === 0) return;
    await this.#setAlarm(Date.now() + this.#ageMs);
    await this.#hint(config.gatewayId, config.shard);
  }

  /** @param clientId whose device asks, where it says so: another user's is refused (S6) */
  async pull(address: ShardAddress, input: PullInput, clientId = ""): Promise<Plain<ShardPage>> {
    return plainly(async () => {
      unwrap(this.#rate.take(input.claims.sub, Date.now()));
      await this.#current(address);
      const owner = clientId === "" ? undefined : this.#engine.ownerOf(clientId);
      if (owner !== undefined && owner !== input.claims.sub) throw clientIdTaken(clientId);
      const page = this.#engine.pull({ ...input, clientId });
      if (!page.ok) throw page.error;
      return this.#packed(page.value);
    });
  }

  /** Rows as a token may see them now, those of them that it may. */
  async pick(
    address: ShardAddress,
    claims: Claims,
    table: string,
    ids: readonly string[],
  ): Promise<Plain<PackedBatch[]>> {
    return plainly(async () => {
      unwrap(this.#rate.take(claims.sub, Date.now()));
      await this.#current(address);
      return this.#engine.pick(claims, table, ids).map((b) => packBatch(encodeBatch(b)));
    });
  }

  /** The same, and where those are that may have left. */
  async pickOlder(
    address: ShardAddress,
    claims: Claims,
    table: string,
    ids: readonly string[],
  ): Promise<Plain<{ readonly batches: PackedBatch[]; readonly asks: readonly ColdAsk[] }>> {
    return plainly(async () => {
      unwrap(this.#rate.take(claims.sub, Date.now()));
      await this.#current(address);
      const batches = this.#engine.pick(claims, table, ids).map((b) => packBatch(encodeBatch(b)));
      return { batches, asks: this.#engine.coldAsksOf(table, ids) };
    });
  }

  async standing(address: ShardAddress, claims: Claims, seq: number): Promise<Plain<ShardStanding>> {
    return plainly(async () => {
      unwrap(this.#rate.take(claims.sub, Date.now()));
      await this.#current(address);
      const version = this.#engine.config?.version ?? 0;
      const remembered = this.#engine.remembers(seq);
      return { fingerprint: this.#engine.fingerprint(claims), remembered, version, head: this.#engine.head };
    });
  }

  /** What a checkpoint is to hold: the tables that have rows here. */
  async checkpointStart(address: ShardAddress): Promise<Plain<CheckpointStart>> {
    return plainly(async () => {
      await this.#current(address);
      this.#inService();
      const { tables = [], owns = {}, rules = NO_RULES } = this.#engine.config ?? {};
      const own = tables.filter(({ table }) => Object.hasOwn(owns, table));
      const withIndexes = own.map((schema) => ({
        schema,
        indexed: indexedColumns(rules, schema),
        cold: String(this.#engine.coldDigest(schema.table)),
      }));
      return { head: this.#engine.head as Seq, tables: withIndexes };
    });
  }

  async checkpointRows(table: string, after: string): Promise<Plain<CheckpointRows>> {
    return plainly(() => this.#inService().checkpointRows(table, after));
  }

  async checkpointChanges(tables: readonly string[], since: Seq): Promise<Plain<CheckpointChanges>> {
    return plainly(() => this.#inService().checkpointChanges(tables, since));
  }

  async checkpointClocks(tables: readonly string[]): Promise<Plain<{ clocks: ClientClocks; head: Seq }>> {
    return plainly(() => ({ clocks: this.#inService().clientClocks(tables), head: this.#engine.head as Seq }));
  }

  /** Rows leave, step by step; see core/shard/cold.ts. */
  async leaveBegin(address: ShardAddress, token: string): Promise<Plain<LeavingTable | undefined>> {
    return plainly(async () => {
      await this.#current(address);
      const schema = this.#inService().leaveBegin(token, Date.now());
      return schema && { schema, indexed: indexedColumns(this.#engine.config?.rules ?? NO_RULES, schema) };
    });
  }

  async leavingRows(token: string, after: string): Promise<Plain<CheckpointRows>> {
    return plainly(() => this.#inService().leavingRows(token, after));
  }

  async leave(
    token: string,
    table: string,
    run: ColdRun,
    filter: Uint8Array,
    rows: readonly (readonly [string, number])[],
  ): Promise<Plain<number>> {
    return plainly(() => this.#inService().leave(token, table, run, filter, rows));
  }

  async mergeBegin(address: ShardAddress): Promise<Plain<MergingTable | undefined>> {
    return plainly(async () => {
      await this.#current(address);
      const found = this.#inService().runsToMerge();
      return found && { ...found, indexed: indexedColumns(this.#engine.config?.rules ?? NO_RULES, found.schema) };
    });
  }

  async mergeRuns(table: string, from: readonly string[], into: readonly FilteredRun[]): Promise<Plain<boolean>> {
    return plainly(() => this.#inService().mergeRuns(table, from, into, Date.now()));
  }

  async knownRuns(): Promise<Plain<string[]>> {
    return plainly(() => this.#inService().knownRuns(Date.now()));
  }

  async leaveEnd(token: string): Promise<Plain<void>> {
    return plainly(() => this.#inService().leaveEnd(token));
  }

  async remembers(seq: number): Promise<Plain<boolean>> {
    return plainly(() => this.#inService().remembers(seq));
  }

  /** Digests of a table's rows here: as they are kept, and as they have to be by reading every row (V1). */
  async verify(
    address: ShardAddress,
    table: string,
  ): Promise<Plain<{ readonly kept: string; readonly counted: string; readonly flushed: boolean }>> {
    return plainly(async () => {
      await this.#current(address);
      const kept = String(this.#engine.digest(table));
      const counted = String(this.#engine.countDigest(table));
      return { kept, counted, flushed: this.#engine.unflushed.deltas === 0 };
    });
  }

  /** A rebuild, step by step (L7); see core/shard/rebuild.ts. */
  async rebuildBegin(address: ShardAddress, at: string, top: number, force: boolean): Promise<Plain<RebuildState>> {
    return plainly(async () => {
      await this.#current(address);
      let above = top;
      if (force || !this.#engine.rebuildBegun) {
        const { gatewayId } = address;
        const seqs = await call("tenant", this.env.TENANT.getByName(gatewayId).reserveSeqs(gatewayId, top));
        if (!seqs.ok) throw seqs.error;
        above = seqs.value;
      }
      return this.#engine.beginRebuild(at, Date.now(), above, force);
    });
  }

  async rebuildClocks(at: string, table: string, clocks: readonly MovedClock[]): Promise<Plain<void>> {
    return plainly(() => this.#engine.rebuildClocks(at, table, clocks));
  }

  async rebuildRows(step: RebuildStep, table: string, rows: readonly PackedRow[]): Promise<Plain<RebuildState>> {
    return plainly(() => this.#engine.rebuildRows(step, table, rows));
  }

  async rebuildEdits(
    step: RebuildStep,
    table: string,
    edits: HistoryBatch,
    watermark?: number,
  ): Promise<Plain<RebuildState>> {
    return plainly(() => this.#engine.rebuildEdits(step, table, edits, watermark));
  }

  async rebuiltDigests(tables: readonly string[]): Promise<Plain<Record<string, string>>> {
    return plainly(() => Object.fromEntries(tables.map((table) => [table, this.#engine.rebuiltDigest(table)])));
  }

  /** Devices come back: their cursors have expired. What a flush left halfway is flushed. */
  async rebuildEnd(address: ShardAddress, at: string): Promise<Plain<void>> {
    return plainly(async () => {
      this.#engine.endRebuild(at);
      await this.#arm();
      this.#moved(address);
    });
  }

  async lease(token: string, atOnce = false) {
    return plainly(() => this.#engine.lease(Date.now(), token, atOnce));
  }

  async renew(token: string) {
    return plainly(() => this.#engine.renew(token, Date.now()));
  }

  async flushRows(token: string, table: string, after: Seq) {
    return plainly(() => this.#engine.flushRows(token, table, after));
  }

  async flushHistory(token: string, table: string, after: Seq) {
    return plainly(() => this.#engine.flushHistory(token, table, after));
  }

  /**
   * Edits of a table that are not flushed yet, after a seq and up to another, the head by default; a page of them.
   * @returns `to` as it was or became, and whether there is more after the last edit of the page
   */
  async unflushed(address: ShardAddress, table: string, after: Seq, upTo?: Seq) {
    return plainly(async () => {
      await this.#current(address);
      const to = (upTo ?? this.#engine.head) as Seq;
      const { page, next } = this.#engine.unflushedHistory(table, after, to);
      return { to, page, more: next !== undefined };
    });
  }

  async settle(token: string, results: readonly TableResult[]) {
    return plainly(() => this.#engine.settle(token, results, Date.now()));
  }

  async status(address: ShardAddress): Promise<Plain<ShardStatus & { readonly rowsWritten: number }>> {
    return plainly(async () => {
      await this.#current(address);
      return { ...this.#engine.status(), rowsWritten: this.#sql.rowsWritten };
    });
  }

  async progress(): Promise<Plain<{ head: number; flushed: number }>> {
    return plainly(() => {
      const { head, unflushed } = this.#inService();
      return { head, flushed: head - unflushed.deltas };
    });
  }

  async pending(table: string): Promise<Plain<number>> {
    return plainly(() => this.#inService().pending(table));
  }

  /** A page of stored rows, by id, that fits into one message. No rows: there are no more. */
  async exportRows(table: string, after: string): Promise<Plain<{ rows: PackedRow[]; head: number }>> {
    return plainly(() => {
      const rows: PackedRow[] = [];
      let chars = 0;
      for (let last = after; chars < FLUSH_PAGE_BYTES; ) {
        const some = this.#inService().exportRows(table, last, EXPORT_ROWS);
        rows.push(...some);
        for (const { state } of some) chars += state.length + ROW_ID_BYTES_MAX;
        last = some.at(-1)?.id ?? "";
        if (some.length < EXPORT_ROWS) break;
      }
      return { rows, head: this.#engine.head };
    });
  }

  async movedClocks(table: string, index: number, count: number): Promise<Plain<MovedClock[]>> {
    return plainly(() => this.#engine.movedClocks(table, index, count));
  }

  async importRows(
    table: string,
    rows: readonly PackedRow[],
    head: number,
    clocks: readonly MovedClock[] = [],
  ): Promise<Plain<void>> {
    return plainly(() => this.#inService().importRows(table, rows, head, clocks));
  }

  async dropRows(table: string): Promise<Plain<void>> {
    return plainly(() => this.#engine.dropRows(table));
  }

  /** Sends the flush hint now, whatever the thresholds say. */
  async askFlush(): Promise<Plain<void>> {
    return toPlain(await this.#askFlush());
  }

  async #askFlush() {
    const { config } = this.#engine;
    if (!config) return err(new LakeSyncError("NotFound", "This shard has never been used."));
    await this.#hint(config.gatewayId, config.shard);
    return { ok: true as const, value: undefined };
  }
}

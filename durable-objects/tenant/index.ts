/**
 * The Tenant: a shell around the tenant engine. A change of schemas or rules reaches every shard before it is answered; what
 * broke off on the way, and a change of layout, is carried on by the alarm, step by step, each of which may be repeated:
 *
 *   drain     wait until the old shards have flushed what they held: the destination works
 *   sealed    they refuse pushes to the table; flush the rest, copy rows
 *   switched  every shard knows the new map; drop old rows
 */
import { DurableObject } from "cloudflare:workers";
import {
  type Duties,
  dutyOf,
  FeedRegistry,
  GatewayRegistry,
  MaintenanceLedger,
  type MaintenanceReport,
  type PackedRow,
  rowHash,
  SEQS_APART,
  type ShardConfig,
  type TableMaintenance,
  TenantEngine,
  type TenantState,
} from "../../core/index.ts";
import {
  FOLLOW_AGAIN_MS,
  type GatewayId,
  LakeSyncError,
  type Result,
  type SyncRules,
  type TableDefinition,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import type { Env } from "../env.ts";
import { call, type Plain, plainly, toPlain } from "../rpc.ts";
import { DurableSqlStore } from "../sql-store.ts";

/** Between two looks at a move; doubled each time that it could not go on. Milliseconds. */
const STEP_MS = 200;
const STEP_MS_MAX = 30_000;

/** The object that knows all gateways; no gateway id has such a name (S1). */
export const REGISTRY = "~gateways";

export class Tenant extends DurableObject<Env> {
  readonly #engine: TenantEngine;
  /** Seqs that the shards of a move have to have flushed before they are sealed; forgotten with the memory, and set anew. */
  readonly #goals = new Map<string, number>();
  #waited = 0;

  readonly #sql: DurableSqlStore;
  #ledger: MaintenanceLedger | undefined;
  #registry: GatewayRegistry | undefined;
  #feedRegistry: FeedRegistry | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql = new DurableSqlStore(ctx.storage);
    this.#engine = new TenantEngine(this.#sql);
  }

  get #maintenance(): MaintenanceLedger {
    this.#ledger ??= new MaintenanceLedger(this.#sql);
    return this.#ledger;
  }

  /** The tenant's whole state, for routing; cached by callers under its version. */
  async state(_gatewayId: string): Promise<Plain<TenantState>> {
    return plainly(() => this.#engine.state);
  }

  async shardConfig(gatewayId: string, shard: string): Promise<Plain<ShardConfig>> {
    return plainly(() => this.#engine.shardConfig(gatewayId as GatewayId, shard));
  }

  async claimClient(_gatewayId: string, clientId: string, sub: string): Promise<Plain<void>> {
    return toPlain(this.#engine.claimClient(clientId, sub));
  }

  async putTable(gatewayId: string, name: string, definition: TableDefinition): Promise<Plain<TableSchema>> {
    return this.#change(gatewayId, () => this.#engine.putTable(name, definition));
  }

  async putRules(gatewayId: string, rules: SyncRules): Promise<Plain<void>> {
    return this.#change(gatewayId, () => this.#engine.putRules(rules));
  }

  /** Takes note of flushed tables. @returns those that are due for maintenance now */
  async flushed(gatewayId: string, tables: readonly string[]): Promise<Plain<string[]>> {
    return plainly(async () => {
      await this.#registered(gatewayId, tables);
      return this.#maintenance.flushed(tables, Date.now());
    });
  }

  /** Before the ledger knows a table, so that what breaks off here is done at its next flush. */
  async #registered(gatewayId: string, tables: readonly string[]): Promise<void> {
    if (tables.every((table) => this.#maintenance.knows(table))) return;
    const registered = await call("registry", this.env.TENANT.getByName(REGISTRY).register(gatewayId));
    if (!registered.ok) throw registered.error;
  }

  /** What time has made due. @param known entries of the ledger that are there without a flush */
  async maintenanceDue(_gatewayId: string, known: readonly string[] = []): Promise<Plain<string[]>> {
    return plainly(() => this.#maintenance.due(Date.now(), known));
  }

  async leaseMaintenance(gatewayId: string, table: string, token: string): Promise<Plain<Duties | undefined>> {
    return plainly(async () => {
      await this.#registered(gatewayId, [table]);
      return this.#maintenance.lease(table, token, Date.now());
    });
  }

  /** @returns whether another run is due at once; one of secondaries that failed is looked at again soon */
  async settleMaintenance(
    gatewayId: string,
    table: string,
    token: string,
    ended: { readonly report: MaintenanceReport; readonly duties: Duties },
  ): Promise<Plain<boolean>> {
    return plainly(async () => {
      const now = Date.now();
      const again = this.#maintenance.settle(table, token, ended.report, ended.duties, now);
      if (!ended.report.ok && dutyOf(table).kind === "follow") {
        const registry = this.env.TENANT.getByName(REGISTRY);
        await call("registry", registry.hurry(gatewayId, now + FOLLOW_AGAIN_MS)); // lost, it is the next turn's
      }
      return again;
    });
  }

  async maintenance(_gatewayId: string): Promise<Plain<TableMaintenance[]>> {
    return plainly(() => this.#maintenance.status(Date.now()));
  }

  /** Of the registry only. */
  async register(gatewayId: string): Promise<Plain<void>> {
    return plainly(() => this.#gateways.register(gatewayId));
  }

  /** Of the registry only. */
  async hurry(gatewayId: string, nextMs: number): Promise<Plain<void>> {
    return plainly(() => this.#gateways.hurry(gatewayId, nextMs));
  }

  /** Tables of which a database keeps what others edit. */
  async feeds(_gatewayId: string): Promise<Plain<string[]>> {
    return plainly(async () => (await this.ctx.storage.get<string[]>("feeds")) ?? []);
  }

  /** The registry knows a gateway before it has such tables, and until it has none. */
  async putFeeds(gatewayId: string, tables: readonly string[]): Promise<Plain<void>> {
    return plainly(async () => {
      const registry = this.env.TENANT.getByName(REGISTRY);
      if (tables.length > 0) unwrap(await call("registry", registry.enterFed(gatewayId, true)));
      await this.ctx.storage.put("feeds", tables);
      if (tables.length === 0) unwrap(await call("registry", registry.enterFed(gatewayId, false)));
    });
  }

  /** Of the registry only. */
  async enterFed(gatewayId: string, fed: boolean): Promise<Plain<void>> {
    return plainly(() => (fed ? this.#fed.enter(gatewayId) : this.#fed.leave(gatewayId)));
  }

  /** Of the registry only. */
  async fedGateways(): Promise<Plain<string[]>> {
    return plainly(() => this.#fed.all());
  }

  get #fed(): FeedRegistry {
    this.#feedRegistry ??= new FeedRegistry(this.#sql);
    return this.#feedRegistry;
  }

  /** Of the registry only: gateways whose turn it is. */
  async gatewaysDue(limit: number): Promise<Plain<string[]>> {
    return plainly(() => this.#gateways.due(Date.now(), limit));
  }

  get #gateways(): GatewayRegistry {
    this.#registry ??= new GatewayRegistry(this.#sql);
    return this.#registry;
  }

  async #change<T>(gatewayId: string, body: () => Result<T, LakeSyncError>): Promise<Plain<T>> {
    return plainly(async () => {
      const result = body();
      if (!result.ok) throw result.error;
      // What is stored is carried out by the alarm, whatever breaks off below.
      if ((await this.#told()) < this.#engine.state.version) await this.#wake(gatewayId as GatewayId);
      await this.#tellShards(gatewayId as GatewayId);
      return result.value;
    });
  }

  /** The tenant's version that every shard knows. */
  async #told(): Promise<number> {
    return (await this.ctx.storage.get<number>("told")) ?? 0;
  }

  /** Shards that were told their configuration: one that says it has none has lost its storage. */
  async #met(): Promise<readonly string[]> {
    return (await this.ctx.storage.get<string[]>("met")) ?? [];
  }

  /** Whether a shard was told its configuration. */
  async met(_gatewayId: string, shard: string): Promise<Plain<boolean>> {
    return plainly(async () => (await this.#met()).includes(shard));
  }

  /**
   * A seq above which a shard that is rebuilt goes on: also above those that earlier rebuilds gave out, of which the lake may know
   * nothing.
   */
  async reserveSeqs(_gatewayId: string, above: number): Promise<Plain<number>> {
    return plainly(async () => {
      const from = Math.max(above, (await this.ctx.storage.get<number>("seqs")) ?? 0);
      // The rebuilt shard begins less than two gaps above it.
      await this.ctx.storage.put("seqs", from + 2 * SEQS_APART);
      return from;
    });
  }

  async #wake(gatewayId: GatewayId): Promise<void> {
    await this.ctx.storage.put("gatewayId", gatewayId);
    this.#waited = 0;
    await this.ctx.storage.setAlarm(Date.now() + STEP_MS);
  }

  #shard(gatewayId: GatewayId, shard: string) {
    return this.env.SHARD.getByName(`${gatewayId}/${shard}`);
  }

  /** Every shard knows before the change is answered: nobody sees by old rules what new ones forbid. */
  async #tellShards(gatewayId: GatewayId): Promise<void> {
    const { version } = this.#engine.state;
    if ((await this.#told()) >= version) return;
    const met = await this.#met();
    const shards = this.#engine.shards();
    const told = shards.map((shard) =>
      this.#shard(gatewayId, shard).configure(this.#engine.shardConfig(gatewayId, shard), met.includes(shard)),
    );
    try {
      await Promise.all(told);
    } catch (cause) {
      throw new LakeSyncError(
        "Unavailable",
        "The change is stored, but a shard did not answer when told of it; it will be told. Send the change again to be sure.",
        {},
        { cause },
      );
    }
    await this.ctx.storage.put({ told: Math.max(await this.#told(), version), met: shards });
    await this.env.HUB.getByName(gatewayId).poke(gatewayId, "rules", version);
  }

  /** At least once, and again after a crash: what is set here counts only once all has been done. */
  override async alarm(): Promise<void> {
    const gatewayId = await this.ctx.storage.get<GatewayId>("gatewayId");
    if (!gatewayId) return;
    let done = false;
    try {
      await this.#tellShards(gatewayId);
      done = await this.#step(gatewayId);
    } catch (error) {
      const cause = error instanceof Error && error.cause ? `: ${error.cause}` : "";
      console.warn(JSON.stringify({ level: "warn", event: "move", gatewayId, error: `${error}${cause}` }));
    }
    if (done) return;
    await this.ctx.storage.setAlarm(Date.now() + Math.min(STEP_MS_MAX, STEP_MS * 2 ** this.#waited++));
  }

  /** Takes a move as far as it goes now. @returns whether there is nothing left to do */
  async #step(gatewayId: GatewayId): Promise<boolean> {
    const { move } = this.#engine.state;
    if (!move) return true;
    const { table, from, to } = move;
    switch (move.phase) {
      case "drain":
        if (!(await this.#flushedOnce(gatewayId, from))) return false;
        this.#engine.sealMove();
        break;
      case "sealed":
        if (!(await this.#drained(gatewayId, table, from))) return false;
        for (const shard of from) await this.#copy(gatewayId, table, shard, from, to);
        this.#engine.switchMove();
        break;
      case "switched":
        for (const shard of from) await this.#ask(this.#shard(gatewayId, shard).dropRows(table));
        this.#engine.endMove();
    }
    this.#waited = 0;
    await this.#tellShards(gatewayId);
    return this.#step(gatewayId);
  }

  async #ask<T>(promise: Promise<Plain<T>>): Promise<T> {
    const answer = await call("shard", promise);
    if (!answer.ok) throw answer.error;
    return answer.value;
  }

  /** Whether everything that the shards held when first asked is flushed. */
  async #flushedOnce(gatewayId: GatewayId, shards: readonly string[]): Promise<boolean> {
    let behind = false;
    for (const name of shards) {
      const shard = this.#shard(gatewayId, name);
      const { head, flushed } = await this.#ask(shard.progress());
      const goal = this.#goals.get(name) ?? head;
      this.#goals.set(name, goal);
      if (flushed >= goal) continue;
      behind = true;
      await this.#ask(shard.askFlush());
    }
    if (!behind) this.#goals.clear();
    return !behind;
  }

  /** Whether nothing of a sealed table waits to be flushed. */
  async #drained(gatewayId: GatewayId, table: string, shards: readonly string[]): Promise<boolean> {
    let left = 0;
    for (const name of shards) {
      const shard = this.#shard(gatewayId, name);
      const pending = await this.#ask(shard.pending(table));
      if (pending > 0) await this.#ask(shard.askFlush());
      left += pending;
    }
    return left === 0;
  }

  /** Copies rows as they are; a copy that is repeated after a failure writes the same again. */
  async #copy(
    gatewayId: GatewayId,
    table: string,
    shard: string,
    from: readonly string[],
    to: readonly string[],
  ): Promise<void> {
    const old = this.#shard(gatewayId, shard);
    const clocks = await this.#ask(old.movedClocks(table, from.indexOf(shard), from.length));
    for (let after = ""; ; ) {
      const { rows, head } = await this.#ask(old.exportRows(table, after));
      const parts = to.map((): PackedRow[] => []);
      for (const row of rows) parts[rowHash(row.id) % to.length]?.push(row);
      for (const [at, part] of parts.entries())
        await this.#ask(
          this.#shard(gatewayId, to[at] as string).importRows(table, part, head, after === "" ? clocks : []),
        );
      const last = rows.at(-1);
      if (!last) return;
      after = last.id;
    }
  }
}

/**
 * The Tenant: a shell around the tenant engine. A change of schemas or rules reaches every shard before it is answered; a
 * change of layout is carried out step by step by the alarm, and survives a restart at any of them:
 *
 *   seal (shards refuse pushes to the table) -> drain (its log is flushed) -> copy rows -> switch the map -> drop old rows
 */
import { DurableObject } from "cloudflare:workers";
import {
  COMMON_SHARD,
  type PackedRow,
  rowHash,
  type ShardConfig,
  TenantEngine,
  type TenantState,
} from "../../core/index.ts";
import {
  type GatewayId,
  LakeSyncError,
  type Result,
  type SyncRules,
  type TableDefinition,
  type TableSchema,
} from "../../schemas/index.ts";
import type { Env } from "../env.ts";
import { call, type Plain, plainly, toPlain } from "../rpc.ts";
import { DurableSqlStore } from "../sql-store.ts";

const MOVE_STEP_MS = 500;
const COPY_ROWS = 2000;

export class Tenant extends DurableObject<Env> {
  readonly #engine: TenantEngine;
  #gatewayId: GatewayId | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#engine = new TenantEngine(new DurableSqlStore(ctx.storage));
  }

  /** The tenant's whole state, for routing; cached by callers under its version. */
  async state(gatewayId: string): Promise<Plain<TenantState>> {
    this.#gatewayId = gatewayId as GatewayId;
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

  async #change<T>(gatewayId: string, body: () => Result<T, LakeSyncError>): Promise<Plain<T>> {
    return plainly(async () => {
      const version = this.#engine.state.version;
      const result = body();
      if (!result.ok) throw result.error;
      if (this.#engine.state.version > version) await this.#tellShards(gatewayId as GatewayId);
      if (this.#engine.state.move) await this.#planMove(gatewayId as GatewayId);
      return result.value;
    });
  }

  #shard(gatewayId: GatewayId, shard: string) {
    return this.env.SHARD.getByName(`${gatewayId}/${shard}`);
  }

  /** Every shard knows before the change is answered: nobody sees by old rules what new ones forbid. */
  async #tellShards(gatewayId: GatewayId): Promise<void> {
    const shards = new Set([COMMON_SHARD, ...this.#engine.shards()]);
    const told = [...shards].map((shard) =>
      this.#shard(gatewayId, shard).configure(this.#engine.shardConfig(gatewayId, shard)),
    );
    try {
      await Promise.all(told);
    } catch (cause) {
      throw new LakeSyncError(
        "Unavailable",
        "The change is stored, but a shard did not answer when told of it; send it again.",
        {},
        { cause },
      );
    }
    await this.env.HUB.getByName(gatewayId).poke(gatewayId, "rules", this.#engine.state.version);
  }

  async #planMove(gatewayId: GatewayId): Promise<void> {
    await this.ctx.storage.put("gatewayId", gatewayId);
    await this.ctx.storage.setAlarm(Date.now());
  }

  override async alarm(): Promise<void> {
    const gatewayId = this.#gatewayId ?? (await this.ctx.storage.get<GatewayId>("gatewayId"));
    const { move } = this.#engine.state;
    if (!gatewayId || !move) return;
    await this.ctx.storage.setAlarm(Date.now() + MOVE_STEP_MS); // whatever fails below is tried again
    await this.#tellShards(gatewayId);
    if (!(await this.#drained(gatewayId, move.table, move.from))) return;
    for (const from of move.from) await this.#copy(gatewayId, move.table, from, move.to);
    this.#engine.finishMove();
    await this.#tellShards(gatewayId);
    for (const from of move.from) await this.#ask(this.#shard(gatewayId, from).dropRows(move.table));
    await this.ctx.storage.deleteAlarm();
  }

  async #ask<T>(promise: Promise<Plain<T>>): Promise<T> {
    const answer = await call("shard", promise);
    if (!answer.ok) throw answer.error;
    return answer.value;
  }

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
  async #copy(gatewayId: GatewayId, table: string, from: string, to: readonly string[]): Promise<void> {
    for (let after = ""; ; ) {
      const { rows, head } = await this.#ask(this.#shard(gatewayId, from).exportRows(table, after, COPY_ROWS));
      const parts = to.map((): PackedRow[] => []);
      for (const row of rows) parts[rowHash(row.id) % to.length]?.push(row);
      for (const [at, part] of parts.entries())
        await this.#ask(this.#shard(gatewayId, to[at] as string).importRows(table, part, head));
      const last = rows.at(-1);
      if (!last) return;
      after = last.id;
    }
  }
}

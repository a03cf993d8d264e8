/**
 * Ears on the product: what each shard accepts and what it serves, at the very moment, which rules a tenant stored, how the
 * lake's upkeep ended. The product is not changed by it.
 */
import {
  MaintenanceLedger,
  type MaintenanceReport,
  type PullInput,
  type PullPage,
  type PushInput,
  ShardEngine,
  TenantEngine,
} from "../core/index.ts";
import { type Delta, deltasOf, type SyncRules } from "../schemas/index.ts";

export interface Ears {
  accepted(deltas: readonly Delta[], shard: string): void;
  refused(deltas: readonly Delta[]): void;
  served(input: PullInput, page: PullPage, shard: string): void;
  rulesStored(version: number, rules: SyncRules): void;
  maintained(table: string, report: MaintenanceReport): void;
}

let ears: Ears | undefined;

/** @param listener undefined: nobody listens any more */
export function listen(listener: Ears | undefined): void {
  ears = listener;
}

const { push, pull } = ShardEngine.prototype;
const { putRules } = TenantEngine.prototype;
const { settle } = MaintenanceLedger.prototype;

ShardEngine.prototype.push = function (input: PushInput) {
  const result = push.call(this, input);
  if (!result.ok || !ears) return result;
  const rejected = new Set(result.value.rejected.map((r) => `${r.table}/${r.rowId} ${r.hlc}`));
  const isRejected = (d: Delta) => rejected.has(`${d.table}/${d.rowId} ${d.hlc}`);
  const deltas = input.batches.flatMap((batch) => [...deltasOf(batch)]);
  ears.refused(deltas.filter(isRejected));
  ears.accepted(
    deltas.filter((d) => !isRejected(d)),
    this.config?.shard ?? "",
  );
  return result;
};

ShardEngine.prototype.pull = function (input: PullInput) {
  const result = pull.call(this, input);
  if (result.ok) ears?.served(input, result.value, this.config?.shard ?? "");
  return result;
};

TenantEngine.prototype.putRules = function (rules: SyncRules) {
  const result = putRules.call(this, rules);
  if (result.ok) ears?.rulesStored(this.state.rulesVersion, rules);
  return result;
};

MaintenanceLedger.prototype.settle = function (table, token, report, duties, nowMs) {
  const again = settle.call(this, table, token, report, duties, nowMs);
  ears?.maintained(table, report);
  return again;
};

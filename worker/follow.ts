/**
 * What backends that are made of others need beside flushes, table by table, as entries of the tenant's ledger (maintenance.ts):
 *
 *   follow:<table>   secondaries of a fan-out take from their primary what they lack: after each flush, and by Cron where one failed
 *   tiers:<table>    rows that have aged move to the cold tier: by Cron
 *
 * Where either stands is written in the backends themselves; a run may be killed anywhere, and doubled.
 */
import { catchUp, migrateToTier } from "../adapters/index.ts";
import { followDuty, type TenantState, tiersDuty } from "../core/index.ts";
import { call, type Env, Router } from "../durable-objects/index.ts";
import {
  BACKENDS_RUN_MS,
  type BackendConfig,
  err,
  LakeSyncError,
  ok,
  type Result,
  type TableSchema,
  unwrap,
} from "../schemas/index.ts";
import { backendsIn } from "./backends.ts";
import { upkeepOf } from "./config.ts";
import { destinationFor } from "./destination.ts";

const COMPOSED: ReadonlySet<BackendConfig["type"]> = new Set(["fan-out", "lifecycle", "adapter"]);

/** Entries of a gateway's tables that are made of others; asks nobody where the configuration knows of none. */
export async function dutiesOf(env: Env, gatewayId: string): Promise<string[]> {
  if (!Object.values(backendsIn(env).backends).some(({ type }) => COMPOSED.has(type))) return [];
  const state = unwrap(await call<TenantState>("tenant", env.TENANT.getByName(gatewayId).state(gatewayId)));
  return state.tables.flatMap((table) => tableDuties(env, table));
}

export function tableDuties(env: Env, table: TableSchema): string[] {
  const { follows, tiers } = upkeepOf(backendsIn(env), table);
  return [...(follows ? [followDuty(table.table)] : []), ...(tiers ? [tiersDuty(table.table)] : [])];
}

interface Run {
  readonly more: boolean;
  /** The lake was written to. */
  readonly written: boolean;
}

const NOTHING: Run = { more: false, written: false };

async function tableNamed(env: Env, gatewayId: string, name: string): Promise<TableSchema | undefined> {
  const { tables } = unwrap(await new Router(env).freshState(gatewayId));
  return tables.find(({ table }) => table === name);
}

/** Each secondary of a table by its name; the first that failed is the run's error, after all had their turn. */
export async function followTable(env: Env, gatewayId: string, name: string): Promise<Result<Run, LakeSyncError>> {
  const table = await tableNamed(env, gatewayId, name);
  if (!table) return ok(NOTHING);
  const { secondaries: names, lake, hosted, follows } = upkeepOf(backendsIn(env), table);
  if (!follows) return ok(NOTHING);
  const signal = AbortSignal.timeout(BACKENDS_RUN_MS);
  const adapter = destinationFor(env, gatewayId);
  try {
    const reports = await catchUp(adapter, { tables: [table], signal });
    // Those within an adapter object have no names here.
    const nameOf = (at: number, place: number) => (!hosted && names[at]) || `secondary ${place}`;
    const secondaries = reports.map(({ secondary, edits, error }, at) => ({
      backend: nameOf(at, secondary),
      edits,
      error,
    }));
    const failed = secondaries.find(({ error }) => error !== undefined);
    if (failed?.error) return err(behind(failed.backend, failed.error));
    return ok({
      more: signal.aborted,
      written: lake && secondaries.some(({ edits }) => edits > 0),
      secondaries: secondaries.map(({ backend, edits }) => ({ backend, edits })),
    });
  } finally {
    await adapter.close();
  }
}

const behind = (backend: string, { code, message, details }: LakeSyncError): LakeSyncError =>
  new LakeSyncError(code, `${backend} is behind: ${message}`, { ...details, backend });

/** Moves the rows of a table that are due, and no others. */
export async function ageTable(env: Env, gatewayId: string, name: string): Promise<Result<Run, LakeSyncError>> {
  const table = await tableNamed(env, gatewayId, name);
  if (!table || !upkeepOf(backendsIn(env), table).tiers) return ok(NOTHING);
  const signal = AbortSignal.timeout(BACKENDS_RUN_MS);
  const adapter = destinationFor(env, gatewayId);
  try {
    const moves = await migrateToTier(adapter, { tables: [table], nowMs: Date.now(), signal });
    if (!moves.ok) return moves;
    const sum = (of: "moved" | "kept") => moves.value.reduce((all, move) => all + move[of], 0);
    const moved = sum("moved");
    const { lake } = upkeepOf(backendsIn(env), table);
    return ok({ more: signal.aborted, written: lake && moved > 0, moved, kept: sum("kept") });
  } finally {
    await adapter.close();
  }
}

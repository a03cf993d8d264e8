/**
 * The lake's maintenance, as the Worker runs it (docs/lake.md):
 *
 *   a flush landed     the tenant counts it; a table with enough of them is sent for, and secondaries at once
 *   Cron               the registry says which gateways' turn it is, each tenant what is due there
 *   message            one run for one table, or of one shard's checkpoint, or of a table's secondaries or tiers (follow.ts), under
 *                      the tenant's lease; what is left over is sent for again
 *
 * Messages are hints: what is due stays due until a run was settled, and Cron comes again.
 */
import { type Duties, dutyOf, type MaintenanceReport } from "../core/index.ts";
import { ask, call, type Env, type MaintenanceMessage, REGISTRY } from "../durable-objects/index.ts";
import { maintain } from "../lake/index.ts";
import { err, GATEWAYS_PER_CRON, LakeSyncError, ok, type Result } from "../schemas/index.ts";
import { checkpointShard } from "./checkpoint/make.ts";
import { lakeOf } from "./destination.ts";
import { ageTable, dutiesOf, followTable } from "./follow.ts";
import { log } from "./middleware/log.ts";
import { sendAll } from "./send.ts";

/** Tenants asked at once. */
const CONCURRENCY = 20;

const tenantOf = (env: Env, gatewayId: string) => env.TENANT.getByName(gatewayId);

export const sendFor = (env: Env, messages: readonly MaintenanceMessage[]): Promise<void> =>
  sendAll(env.MAINTENANCE_QUEUE, messages);

/** After a flush that these entries of the ledger count. What goes wrong here is made good by the next flush, or by Cron. */
export async function noteFlush(env: Env, gatewayId: string, entries: readonly string[]): Promise<void> {
  if (entries.length === 0) return;
  try {
    const due = await call("tenant", tenantOf(env, gatewayId).flushed(gatewayId, [...entries]));
    if (!due.ok) throw due.error;
    await sendFor(
      env,
      due.value.map((duty) => ({ gatewayId, duty })),
    );
  } catch (error) {
    log("error", { event: "maintenance", gatewayId, error: String(error) });
  }
}

/** Sends for every table that time has made due. @returns how many */
export async function planMaintenance(env: Env): Promise<number> {
  const gateways = await call("registry", tenantOf(env, REGISTRY).gatewaysDue(GATEWAYS_PER_CRON));
  if (!gateways.ok) throw gateways.error;
  let sent = 0;
  for (let at = 0; at < gateways.value.length; at += CONCURRENCY) {
    const some = gateways.value.slice(at, at + CONCURRENCY);
    const messages = await Promise.all(
      some.map(async (gatewayId): Promise<MaintenanceMessage[]> => {
        const due = await call(
          "tenant",
          tenantOf(env, gatewayId).maintenanceDue(gatewayId, await dutiesOf(env, gatewayId)),
        );
        if (due.ok) return due.value.map((duty) => ({ gatewayId, duty }));
        log("error", { event: "maintenance", gatewayId, error: due.error.message });
        return [];
      }),
    );
    await sendFor(env, messages.flat());
    sent += messages.flat().length;
  }
  return sent;
}

/**
 * One run for a table or a shard's checkpoint; "busy" while another goes on.
 * @param asked an operator wants it now, however little there is to do
 */
export async function maintainOne(
  env: Env,
  { gatewayId, duty }: MaintenanceMessage,
  asked = false,
): Promise<Result<MaintenanceReport | "busy", LakeSyncError>> {
  const tenant = tenantOf(env, gatewayId);
  const token = crypto.randomUUID();
  const duties = await ask<Duties | undefined>("tenant", tenant.leaseMaintenance(gatewayId, duty, token));
  if (!duties.ok) return duties;
  if (!duties.value) return { ok: true, value: "busy" };
  const { kind, of } = dutyOf(duty);
  const runs = {
    lake: () => maintainTable(env, gatewayId, of, duties.value as Duties),
    checkpoint: () => checkpointShard(env, gatewayId, of, asked),
    follow: () => followTable(env, gatewayId, of),
    tiers: () => ageTable(env, gatewayId, of),
  };
  const started = Date.now();
  const report = await told(started, runs[kind]());
  if (report.ok && report.written === true) await noteFlush(env, gatewayId, [of]);
  const settled = await call(
    "tenant",
    tenant.settleMaintenance(gatewayId, duty, token, { report: { ...report }, duties: duties.value }),
  );
  return settled.ok ? { ok: true, value: { ...report, more: report.more || settled.value } } : settled;
}

/** A run's report, whatever became of it. */
async function told(
  started: number,
  run: Promise<Result<{ readonly more: boolean }, LakeSyncError>>,
): Promise<MaintenanceReport> {
  const done = await run.catch((cause: unknown) =>
    err(new LakeSyncError("Internal", `Maintenance broke: ${cause}`, {}, { cause })),
  );
  const milliseconds = Date.now() - started;
  if (!done.ok) return { ok: false, more: false, milliseconds, error: `${done.error.code}: ${done.error.message}` };
  return { ok: true, milliseconds, ...done.value };
}

async function maintainTable(env: Env, gatewayId: string, table: string, duties: Duties) {
  const options = { ...(duties.expire && { expire: {} }), ...(duties.orphans && { orphans: {} }) };
  const done = await maintain(lakeOf(env, gatewayId), table, options);
  return done.ok ? ok({ more: Object.values(done.value).some((kind) => kind.more), ...done.value }) : done;
}

/** The maintenance queue's consumer. */
export async function maintainAll(messages: readonly MaintenanceMessage[], env: Env): Promise<void> {
  for (const body of messages) {
    const report = await maintainOne(env, body);
    if (!report.ok) throw report.error; // the queue delivers it again
    if (report.value === "busy") continue;
    if (!report.value.ok) log("error", { event: "maintenance", ...body, ...report.value });
    else if (env.LOG_LEVEL !== "error") log("info", { event: "maintenance", ...body, ...report.value });
    if (report.value.more) await sendFor(env, [body]);
  }
}

/** What operators use; every route needs the admin role. */
import { Hono } from "hono";
import { z } from "zod";
import { checkpointDuty, dutyOf, layoutOf, shardsOf, type TableMaintenance } from "../../core/index.ts";
import { ask, call } from "../../durable-objects/index.ts";
import {
  EXPIRE_EVERY_MS,
  LakeSyncError,
  MAINTENANCE_EVERY_MS,
  MAINTENANCE_FLUSHES,
  parseIdentifier,
  syncRulesSchema,
  type TableSchema,
  tableDefinitionSchema,
  unwrap,
} from "../../schemas/index.ts";
import { backendsOf, checkBackend, lagOf } from "../backends.ts";
import { backendOf, configOf } from "../config.ts";
import type { AppContext, AppEnv } from "../context.ts";
import { flushShard } from "../flush.ts";
import { tableDuties } from "../follow.ts";
import { maintainOne } from "../maintenance.ts";
import { adminOnly } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { rebuildOne } from "../rebuild.ts";
import { verifyGateway } from "../verify.ts";
import { unflushed } from "./unflushed.ts";

export const adminRoutes = new Hono<AppEnv>();
adminRoutes.use(adminOnly);

const maintenanceOf = (c: AppContext) =>
  ask<TableMaintenance[]>("tenant", tenant(c).maintenance(c.get("grant").gatewayId));

/** The entries of one kind in the ledger, with what they are of. */
const entriesOf = (ledger: readonly TableMaintenance[], kind: ReturnType<typeof dutyOf>["kind"]) =>
  ledger.flatMap(({ table, ...entry }) => {
    const duty = dutyOf(table);
    return duty.kind === kind ? [{ of: duty.of, ...entry }] : [];
  });

/** The ledger's tables, and shards with their checkpoints. */
const lakeLedger = (ledger: readonly TableMaintenance[]) => ({
  tables: entriesOf(ledger, "lake").map(({ of: table, ...entry }) => ({ table, ...entry })),
  checkpoints: entriesOf(ledger, "checkpoint").map(({ of: shard, ...entry }) => ({ shard, ...entry })),
});

/** How secondaries and tiers of a table stand; `flushes` are those that its secondaries do not have. */
const backendLedger = (ledger: readonly TableMaintenance[], kind: "follow" | "tiers") =>
  entriesOf(ledger, kind).map(({ of: table, flushes, running, lastMs, report }) => ({
    table,
    ...(kind === "follow" && { flushes }),
    running,
    lastMs,
    report,
  }));

/** What a device holds: digests by table, as an answer to a pull has them. */
const heldDigestsSchema = z.strictObject({ digests: z.record(z.string(), z.string().max(100)).default({}) });

/** Which shards to rebuild: one by its name, or those of a table. */
const rebuildSchema = z.strictObject({
  shard: z.string().max(200).optional(),
  table: z.string().max(200).optional(),
  force: z.boolean().default(false),
  noCheckpoint: z.boolean().default(false),
  unverified: z.boolean().default(false),
});

/** Tables by name, each with the backend that it goes to. */
const backendsSchema = z.strictObject({ tables: z.record(z.string().max(100), z.string().max(100)) });

const tenant = (c: AppContext) => c.env.TENANT.getByName(c.get("grant").gatewayId);

adminRoutes.put("/tables/:table", async (c) => {
  const name = parseIdentifier("table name", c.req.param("table"));
  const definition = await readJson(c, tableDefinitionSchema);
  if (definition.backend !== undefined) checkBackend(c.env, definition.backend);
  return c.json(unwrap(await call("tenant", tenant(c).putTable(c.get("grant").gatewayId, name, definition))));
});

adminRoutes.get("/tables/:table", async (c) => {
  const name = parseIdentifier("table name", c.req.param("table"));
  const { tables } = unwrap(await c.get("router").freshState(c.get("grant").gatewayId));
  const table = tables.find((t) => t.table === name);
  if (!table) throw new LakeSyncError("NotFound", `There is no table ${JSON.stringify(name)}; PUT its schema here.`);
  return c.json(table);
});

adminRoutes.get("/tables", async (c) => {
  const { tables } = unwrap(await c.get("router").freshState(c.get("grant").gatewayId));
  return c.json({ tables });
});

adminRoutes.post("/tables/:table/unflushed", unflushed);

/** The backends that there are, and which table is in which; names only. */
const backendsAnswer = (c: AppContext, tables: readonly TableSchema[]) => ({
  backends: backendsOf(c.env),
  tables: Object.fromEntries(tables.map((table) => [table.table, backendOf(configOf(c.env), table)])),
});

adminRoutes.get("/backends", async (c) => {
  const { tables } = unwrap(await c.get("router").freshState(c.get("grant").gatewayId));
  return c.json(backendsAnswer(c, tables));
});

/** From the next flush on; what another backend has stays there. */
adminRoutes.put("/backends", async (c) => {
  const wanted = new Map(Object.entries((await readJson(c, backendsSchema)).tables));
  const { gatewayId } = c.get("grant");
  const { tables } = unwrap(await c.get("router").freshState(gatewayId));
  for (const [name, backend] of wanted) {
    checkBackend(c.env, backend);
    if (!tables.some(({ table }) => table === name))
      throw new LakeSyncError("NotFound", `There is no table ${JSON.stringify(name)}; PUT its schema first.`);
  }
  const now: TableSchema[] = [];
  for (const old of tables) {
    const backend = wanted.get(old.table);
    const columns = old.columns.map(({ name, type, nullable }) => ({ name, type, nullable }));
    const put = () =>
      call("tenant", tenant(c).putTable(gatewayId, old.table, { columns, shards: old.shards, backend }));
    const stays = backend === undefined || backend === old.backend;
    now.push(stays ? old : unwrap(await put()));
  }
  return c.json(backendsAnswer(c, now));
});

/** What queue and Cron do, now: secondaries catch up, rows that are due change their tier. "busy" where a run goes on. */
adminRoutes.post("/backends", async (c) => {
  const { gatewayId } = c.get("grant");
  const state = unwrap(await c.get("router").freshState(gatewayId));
  const tables = [];
  for (const table of state.tables)
    for (const duty of tableDuties(c.env, table)) {
      const report = unwrap(await maintainOne(c.env, { gatewayId, duty }, true));
      const { kind, of } = dutyOf(duty);
      tables.push({ table: of, duty: kind, ...(report === "busy" ? { busy: true } : report) });
    }
  return c.json({ tables });
});

adminRoutes.put("/sync-rules", async (c) => {
  const rules = await readJson(c, syncRulesSchema);
  const { gatewayId } = c.get("grant");
  unwrap(await call("tenant", tenant(c).putRules(gatewayId, rules)));
  const state = unwrap(await c.get("router").freshState(gatewayId));
  return c.json({ ...state.rules, version: state.rulesVersion });
});

adminRoutes.get("/sync-rules", async (c) => {
  const { rules, rulesVersion } = unwrap(await c.get("router").freshState(c.get("grant").gatewayId));
  return c.json({ ...rules, version: rulesVersion });
});

/** Flushes now, also what rests since it failed, and answers when every destination has it. */
adminRoutes.post("/flush", async (c) => {
  const { gatewayId } = c.get("grant");
  const state = unwrap(await c.get("router").freshState(gatewayId));
  const shards = [];
  for (const shard of shardsOf(state)) shards.push({ shard, ...(await flushShard(c.env, { gatewayId, shard }, true)) });
  return c.json({ shards });
});

/** Maintains the lake's tables now, one after the other, and answers what was done; "busy" where a run goes on. */
adminRoutes.post("/compact", async (c) => {
  const { gatewayId } = c.get("grant");
  const state = unwrap(await c.get("router").freshState(gatewayId));
  const tables = [];
  for (const { table } of state.tables) {
    const report = unwrap(await maintainOne(c.env, { gatewayId, duty: table }));
    tables.push({ table, ...(report === "busy" ? { busy: true } : report) });
  }
  return c.json({ tables });
});

/** Makes a checkpoint of each shard now; "busy" where a run goes on. */
adminRoutes.post("/checkpoint", async (c) => {
  const { gatewayId } = c.get("grant");
  const state = unwrap(await c.get("router").freshState(gatewayId));
  const shards = [];
  for (const shard of shardsOf(state)) {
    const duty = checkpointDuty(shard);
    let report = unwrap(await maintainOne(c.env, { gatewayId, duty }, true));
    while (report !== "busy" && report.more) report = unwrap(await maintainOne(c.env, { gatewayId, duty }, true));
    shards.push({ shard, ...(report === "busy" ? { busy: true } : report) });
  }
  return c.json({ shards });
});

/** Rebuilds lost shards from the lake; "more" where it takes longer than a request: post again, without "force". */
adminRoutes.post("/rebuild", async (c) => {
  const { shard, table, ...request } = await readJson(c, rebuildSchema);
  const { gatewayId } = c.get("grant");
  const state = unwrap(await c.get("router").freshState(gatewayId));
  const known = [...shardsOf(state), ...(state.move?.from ?? []), ...(state.move?.to ?? [])];
  const asked = shard !== undefined ? [shard] : shardsOf(state, [table ?? ""]);
  if ((shard === undefined) === (table === undefined) || asked.length === 0 || !asked.every((s) => known.includes(s)))
    throw new LakeSyncError("NotFound", 'Name a "shard" or a "table" of this gateway; admin/status lists them.');
  const shards = [];
  for (const name of asked) {
    const report = unwrap(await rebuildOne(c.env, gatewayId, name, request));
    shards.push({ shard: name, ...report });
    if (report.state === "more") break;
  }
  return c.json({ shards });
});

/** Reads everything, and says whether shards and lake hold the same rows; with a body, whether a device does. */
adminRoutes.get("/verify", async (c) => c.json(await verifyGateway(c.env, c.get("grant").gatewayId, {})));

adminRoutes.post("/verify", async (c) => {
  const { digests } = await readJson(c, heldDigestsSchema);
  return c.json(await verifyGateway(c.env, c.get("grant").gatewayId, digests));
});

adminRoutes.get("/status", async (c) => {
  const { gatewayId } = c.get("grant");
  const router = c.get("router");
  const state = unwrap(await router.freshState(gatewayId));
  const { version } = state;
  const ledger = unwrap(await maintenanceOf(c));
  const shards = await Promise.all(
    shardsOf(state).map(async (shard) =>
      unwrap(await call("shard", router.shard(gatewayId, shard).status({ gatewayId, shard, version }))),
    ),
  );
  return c.json({
    gatewayId,
    version: state.version,
    rulesVersion: state.rulesVersion,
    map: state.map,
    ...(state.move && { move: state.move }),
    tables: state.tables,
    shards,
    backends: lagOf(c.env, state.tables, (table) => layoutOf(state.map, table), shards),
    secondaries: backendLedger(ledger, "follow"),
    tiers: backendLedger(ledger, "tiers"),
    sockets: await c.env.HUB.getByName(gatewayId).sockets(),
    lake: {
      schedule: { flushes: MAINTENANCE_FLUSHES, everyMs: MAINTENANCE_EVERY_MS, expiryEveryMs: EXPIRE_EVERY_MS },
      ...lakeLedger(ledger),
    },
  });
});

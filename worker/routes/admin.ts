/** What operators use; every route needs the admin role. */
import { Hono } from "hono";
import { z } from "zod";
import { type HistoryBatch, shardsOf, type TableMaintenance } from "../../core/index.ts";
import { call, type Plain } from "../../durable-objects/index.ts";
import {
  deltasOf,
  EXPIRE_EVERY_MS,
  LakeSyncError,
  MAINTENANCE_EVERY_MS,
  MAINTENANCE_FLUSHES,
  parseIdentifier,
  type Seq,
  syncRulesSchema,
  type TableSchema,
  tableDefinitionSchema,
  unwrap,
} from "../../schemas/index.ts";
import type { AppContext, AppEnv } from "../context.ts";
import { flushShard } from "../flush.ts";
import { maintainTable } from "../maintenance.ts";
import { adminOnly } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";

export const adminRoutes = new Hono<AppEnv>();
adminRoutes.use(adminOnly);

/** RPC types its answers as disposable copies; what arrives is the plain value. */
const maintenanceOf = (c: AppContext) =>
  tenant(c).maintenance(c.get("grant").gatewayId) as unknown as Promise<Plain<TableMaintenance[]>>;

const tenant = (c: AppContext) => c.env.TENANT.getByName(c.get("grant").gatewayId);

adminRoutes.put("/tables/:table", async (c) => {
  const name = parseIdentifier("table name", c.req.param("table"));
  const definition = await readJson(c, tableDefinitionSchema);
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

/** What the lake does not have yet, for who reads both (lakesync/analyst). Seqs by shard. */
const unflushedBody = z.strictObject({
  after: z.record(z.string(), z.int().min(0)).default({}),
  to: z.record(z.string(), z.int().min(0)).default({}),
});

adminRoutes.post("/tables/:table/unflushed", async (c) => {
  const { gatewayId } = c.get("grant");
  const name = parseIdentifier("table name", c.req.param("table"));
  const { after, to } = await readJson(c, unflushedBody);
  const router = c.get("router");
  const state = unwrap(await router.freshState(gatewayId));
  const table = state.tables.find((t) => t.table === name);
  if (!table) throw new LakeSyncError("NotFound", `There is no table ${JSON.stringify(name)}; PUT its schema here.`);
  const shards = await Promise.all(
    shardsOf(state, [name]).map(async (shard) => {
      const address = { gatewayId, shard, version: state.version };
      const [from, until] = [(after[shard] ?? 0) as Seq, to[shard] as Seq | undefined];
      // RPC types its answers as disposable copies; what arrives is the plain value.
      const asking = router.shard(gatewayId, shard).unflushed(address, table, from, until) as unknown;
      const page = unwrap(await call("shard", asking as Promise<Plain<UnflushedPage>>));
      return { shard, to: page.to, more: page.more, edits: editsOf(table, page.page, from) };
    }),
  );
  return c.json({ shards });
});

interface UnflushedPage {
  readonly to: Seq;
  readonly page: readonly HistoryBatch[];
  readonly more: boolean;
}

/** [seq, received, hlc, client, op, row, cells by column id], in the order of seqs. */
function editsOf(table: TableSchema, page: readonly HistoryBatch[], after: Seq) {
  const ids = new Map(table.columns.map((column) => [column.name, column.id]));
  return page.flatMap(({ seqs, receivedMs, batch }) =>
    [...deltasOf(batch)].flatMap(({ hlc, clientId, op, rowId, columns }, at) => {
      const cells = Object.fromEntries(Object.entries(columns).map(([column, value]) => [ids.get(column), value]));
      const seq = seqs[at] as Seq;
      return seq > after ? [[seq, receivedMs[at], hlc, clientId, op, rowId, cells]] : [];
    }),
  );
}

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

/** Flushes now and answers when every destination has it. */
adminRoutes.post("/flush", async (c) => {
  const { gatewayId } = c.get("grant");
  const state = unwrap(await c.get("router").freshState(gatewayId));
  const shards = [];
  for (const shard of shardsOf(state)) shards.push({ shard, ...(await flushShard(c.env, { gatewayId, shard })) });
  return c.json({ shards });
});

/** Maintains the lake's tables now, one after the other, and answers what was done; "busy" where a run goes on. */
adminRoutes.post("/compact", async (c) => {
  const { gatewayId } = c.get("grant");
  const state = unwrap(await c.get("router").freshState(gatewayId));
  const tables = [];
  for (const { table } of state.tables) {
    const report = unwrap(await maintainTable(c.env, { gatewayId, table }));
    tables.push({ table, ...(report === "busy" ? { busy: true } : report) });
  }
  return c.json({ tables });
});

adminRoutes.get("/status", async (c) => {
  const { gatewayId } = c.get("grant");
  const router = c.get("router");
  const state = unwrap(await router.freshState(gatewayId));
  const { version } = state;
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
    sockets: await c.env.HUB.getByName(gatewayId).sockets(),
    lake: {
      schedule: { flushes: MAINTENANCE_FLUSHES, everyMs: MAINTENANCE_EVERY_MS, expiryEveryMs: EXPIRE_EVERY_MS },
      tables: unwrap(await call("tenant", maintenanceOf(c))),
    },
  });
});

/** The actions of a plan, done to a world. */
import type { Shard, Tenant } from "../durable-objects/index.ts";
import { type Op, write } from "./edits.ts";
import { query } from "./engine.ts";
import type { Action, TabAction } from "./plan.ts";
import type { Device } from "./world/device.ts";
import { GATEWAY } from "./world/gateway.ts";
import type { World } from "./world.ts";

export async function perform(world: World, action: Action): Promise<void> {
  const { trace, gateway, scheduler } = world;
  const device = "device" in action ? (world.devices[action.device] as Device) : undefined;
  switch (action.kind) {
    case "edit":
      if (device) await edit(world, device, action.ops, action.tab);
      return;
    case "rules":
      trace.note("admin", `wants rules ${action.set}`);
      return world.putRules(action.set);
    case "claims":
      trace.note(action.user, `is in teams ${action.teams.join(", ") || "(none)"}`);
      world.teams[action.user] = action.teams;
      world.oracle.moment++;
      return;
    case "column": {
      trace.note("admin", `adds ${action.table}.${action.column}`);
      world.tables[action.table] = { ...world.tables[action.table], [action.column]: "string" };
      await world.admin.putTable(action.table, world.definitionOf(action.table));
      // Of several tabs one has the app's new version.
      for (const each of world.devices) await each.act((db) => db.declare(world.schema()), each.app(action.at));
      return;
    }
    case "shards":
      trace.note("admin", `wants ${action.table} in ${action.shards} shards`);
      world.shards[action.table] = action.shards;
      await world.admin.putTable(action.table, world.definitionOf(action.table));
      return;
    case "cut":
    case "silent":
      if (!device) return;
      trace.note(device.name, `${action.kind} off for ${action.ms} ms`);
      if (action.kind === "cut") device.link.cut();
      else device.link.silence();
      world.onDay(action.at + action.ms, () => device.link.heal());
      return;
    case "kill":
      device?.die();
      return;
    case "wake":
      for (const app of device?.apps ?? []) app.sync?.wake();
      return;
    case "tab":
      return device && tab(device, action.how, action.tab);
    case "copy":
      if (!device) return;
      while (device.disk.inTransaction) await scheduler.sleep(10);
      trace.note(device.name, "is copied");
      return world.addDevice({ ...device.spec, name: `copy${world.devices.length}` }, device);
    case "crash":
    case "evict":
      return disturb(world, action.kind, action.what);
    case "clock":
      if (!device) return;
      trace.note(device.name, `its clock steps by ${action.ms} ms`);
      device.skewMs += action.ms;
      return;
    case "gatewayClock":
      trace.note("gateway", `its clock steps by ${action.ms} ms`);
      world.gatewaySkewMs += action.ms;
      return;
    case "leap":
      trace.note("world", `sleeps for ${action.ms / 3_600_000} hours`);
      world.sleptMs += action.ms;
      scheduler.leap(action.ms);
      gateway.leap(action.ms);
      return;
    case "lose":
      return lose(world, action.table, action.nth);
    case "maintain":
      return gateway.maintain(action.table);
    case "query":
      return query(world, action.table, action.ms);
    case "flush":
      for (const host of gateway.hosts)
        if (host.name.startsWith("shard:"))
          (host.object as { askFlush(): Promise<unknown> }).askFlush().catch(() => undefined);
  }
}

/** Tabs come and go; at times it is the one that leads. */
function tab(device: Device, how: TabAction["how"], which: number | "leader"): Promise<void> | undefined {
  const app = which === "leader" ? device.apps.find(({ db }) => db?.leads) : device.app(which);
  if (how === "open") return device.open();
  if (how === "close") return app?.close();
  if (how === "vanish") app?.vanish();
  else app?.process.die();
  return undefined;
}

/** A shard's storage is gone at a moment at which the lake has all of it, and no move of rows counts on it; the admin rebuilds it. */
async function lose({ gateway, admin, trace, tally }: World, table: string, nth: number): Promise<void> {
  const tenant = gateway.host("TENANT", GATEWAY).object as Tenant;
  const state = (await tenant.state(GATEWAY)) as Extract<Awaited<ReturnType<Tenant["state"]>>, { ok: true }>;
  const { map, move } = state.value;
  const layout = map.tables[table] ?? [];
  const name = layout[nth % Math.max(1, layout.length)];
  if (name === undefined || move) return;
  const host = gateway.host("SHARD", `${GATEWAY}/${name}`);
  const told = await (host.object as Shard).progress();
  if (!told.ok || told.value.head === 0 || told.value.flushed < told.value.head) return;
  host.lose();
  tally.add("lost shards");
  trace.note(host.name, "loses its storage");
  await admin.rebuild(name);
}

function disturb({ gateway }: World, how: "crash" | "evict", what: string): void {
  if (what === "workers") gateway.crashWorkers();
  for (const host of gateway.hosts) if (host.name.startsWith(`${what}:`)) host[how]();
}

/** One transaction of an app. What it wrote, once it is committed, is never lost. */
async function edit(world: World, device: Device, ops: readonly Op[], tab?: number): Promise<void> {
  const app = device.app(tab);
  const done = await device.act((db, sync) => write(db, sync, ops), app);
  if (!done || done.length === 0) return;
  const late = await stampedLate(world, device);
  if (late) world.fail(`[H1] ${device.name} ${late}`);
  world.watch.committed(device, done);
  world.tally.add("committed", done.length);
  world.trace.note(
    app?.name ?? device.name,
    `commits ${done
      .map((w) => `${w.op} ${w.table}/${w.rowId} ${w.texts.join(" ")}`)
      .join(", ")
      .slice(0, 200)}`,
  );
}

/** [H1] What a device writes is newer than all that it ever had accepted. */
async function stampedLate({ oracle }: World, { disk, apps }: Device): Promise<string | undefined> {
  const newest = "SELECT printf('%016x', hlc), row_id FROM lakesync_outbox ORDER BY hlc DESC LIMIT 1";
  const [row] = (await disk.look(newest)).rows;
  const client = apps[0]?.db?.clientId ?? "";
  const accepted = oracle.newestOf(client);
  if (!row || String(row[0]) > accepted) return undefined;
  // The tab that leads may have pushed this very edit before the one that wrote it hears of its commit.
  for (const edit of oracle.edits())
    if (edit.client === client && edit.hlc === row[0] && edit.rowId === row[1]) return undefined;
  return `stamps an edit ${row[0]}, and had ${accepted} accepted before`;
}

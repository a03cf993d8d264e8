/** The actions of a plan, done to a world. */
import type { Shard, Tenant } from "../durable-objects/index.ts";
import { type Op, write } from "./edits.ts";
import { query } from "./engine.ts";
import type { Action } from "./plan.ts";
import type { Device } from "./world/device.ts";
import { GATEWAY } from "./world/gateway.ts";
import type { World } from "./world.ts";

export async function perform(world: World, action: Action): Promise<void> {
  const { trace, gateway, scheduler } = world;
  const device = "device" in action ? (world.devices[action.device] as Device) : undefined;
  switch (action.kind) {
    case "edit":
      if (device) await edit(world, device, action.ops);
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
      for (const each of world.devices) await each.act((db) => db.declare(world.schema()));
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
      device?.process.die();
      return;
    case "wake":
      device?.sync?.wake();
      return;
    case "copy":
      if (!device) return;
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
async function edit(world: World, device: Device, ops: readonly Op[]): Promise<void> {
  const done = await device.act((db, sync) => write(db, sync, ops));
  if (!done || done.length === 0) return;
  const late = await stampedLate(world, device);
  if (late) world.fail(`[H1] ${device.name} ${late}`);
  world.watch.committed(device, done);
  world.tally.add("committed", done.length);
  world.trace.note(
    device.name,
    `commits ${done
      .map((w) => `${w.op} ${w.table}/${w.rowId} ${w.texts.join(" ")}`)
      .join(", ")
      .slice(0, 200)}`,
  );
}

/** [H1] What a device writes is newer than all that it ever had accepted. */
async function stampedLate({ oracle }: World, { disk, db }: Device): Promise<string | undefined> {
  const [row] = (await disk.look("SELECT printf('%016x', max(hlc)) FROM lakesync_outbox HAVING max(hlc) > 0")).rows;
  const accepted = oracle.newestOf(db?.clientId ?? "");
  if (!row || String(row[0]) > accepted) return undefined;
  return `stamps an edit ${row[0]}, and had ${accepted} accepted before`;
}

/** The actions of a plan, done to a world. */
import type { LocalDB, SyncCoordinator } from "../client/index.ts";
import type { Action, Op } from "./plan.ts";
import type { Device } from "./world/device.ts";
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
      return;
    case "flush":
      for (const host of gateway.hosts)
        if (host.name.startsWith("shard:"))
          (host.object as { askFlush(): Promise<unknown> }).askFlush().catch(() => undefined);
  }
}

function disturb({ gateway }: World, how: "crash" | "evict", what: string): void {
  if (what === "workers") gateway.crashWorkers();
  for (const host of gateway.hosts) if (host.name.startsWith(`${what}:`)) host[how]();
}

/** One transaction of an app. What it wrote, once it is committed, is never lost. */
async function edit(world: World, device: Device, ops: readonly Op[]): Promise<void> {
  const done = await device.act(async (db, sync) => {
    const written: Written[] = [];
    if (ops.length === 1 && (ops[0]?.op === "sql" || ops[0]?.op === "replace" || ops[0]?.op === "rename"))
      await plainSql(db, ops[0], written);
    else await tracked(sync, ops, written);
    return written;
  });
  if (!done || done.length === 0) return;
  world.watch.committed(device, done);
  world.trace.note(
    device.name,
    `commits ${done
      .map((w) => `${w.op} ${w.table}/${w.rowId} ${w.texts.join(" ")}`)
      .join(", ")
      .slice(0, 200)}`,
  );
}

/** One row written by a transaction: its texts are known again wherever they turn up. */
export interface Written {
  readonly op: "write" | "delete";
  readonly table: string;
  readonly rowId: string;
  readonly texts: readonly string[];
}

const textsOf = ({ values }: Op): string[] =>
  Object.values(values)
    .filter((v) => /^v\d/.test(String(v)))
    .map(String);

function tracked(sync: SyncCoordinator, ops: readonly Op[], written: Written[]): Promise<void> {
  return sync.tracker.transaction(async (tracker) => {
    written.length = 0;
    for (const op of ops) {
      const { table, rowId, values } = op;
      const wrote = { op: "write", table, rowId, texts: textsOf(op) } as const;
      if (op.op === "bulk") {
        const rows = Array.from({ length: 12 }, (_, n) => [`${rowId}-bulk${n}`, values] as const);
        await tracker.insertMany(table, rows);
        written.push(...rows.map(([id]) => ({ ...wrote, rowId: id })));
      } else if (op.op === "delete") {
        if (await tracker.delete(table, rowId)) written.push({ op: "delete", table, rowId, texts: [] });
      } else if (op.op !== "insert" && (await tracker.update(table, rowId, values))) written.push(wrote);
      else if (op.op !== "update") {
        await tracker.insert(table, rowId, values);
        written.push(wrote);
      }
    }
  });
}

async function plainSql(db: LocalDB, op: Op, written: Written[]): Promise<void> {
  const { table, rowId } = op;
  const [text = "v0"] = textsOf(op);
  const wrote = { op: "write", table, rowId, texts: [text] } as const;
  if (op.op === "sql") {
    const sql = `UPDATE ${table} SET title = ?, rank = coalesce(rank, 0) + 1 WHERE owner = ?`;
    if ((await db.exec(sql, [text, String(op.values.owner ?? "alice")])).changes > 0) written.push(wrote);
  } else if (op.op === "replace") {
    await db.exec(`INSERT OR REPLACE INTO ${table} (id, title, owner) VALUES (?, ?, ?)`, [
      rowId,
      text,
      String(op.values.owner ?? "alice"),
    ]);
    written.push(wrote);
  } else {
    const sql = `UPDATE OR REPLACE ${table} SET id = ? WHERE id = ?`;
    if ((await db.exec(sql, [`${rowId}-renamed`, rowId])).changes > 0)
      written.push({ op: "delete", table, rowId, texts: [] });
  }
}

/**
 * The world at rest: device = shard = lake = oracle, every edit once in the history, every promise to an app kept. What can
 * only be late is given back as missing; what can never come right is a failure at once.
 */

import type { Row } from "../client/index.ts";
import type { TableMaintenance } from "../core/index.ts";
import { rowOf, type StampedEdit } from "../core/testing.ts";
import type { Shard, Tenant } from "../durable-objects/index.ts";
import { type ClientId, cellsAt, clientOf, decodeBatch, type HlcText, makeStamp, unwrap } from "../schemas/index.ts";
import { outboxOf, rowsOn, withinWindows } from "./checks.ts";
import { lakeOf } from "./engine.ts";
import { checkLake } from "./lake.ts";
import { ADMIN, type Cells, cellsOf, difference } from "./oracle.ts";
import { checkPromises, REJECTED, rejectedEdit } from "./promises.ts";
import type { Device } from "./world/device.ts";
import { GATEWAY } from "./world/gateway.ts";
import type { World } from "./world.ts";

/** @returns what is still under way, or undefined when all is quiet and as it has to be */
export async function whatIsMissing(world: World): Promise<string | undefined> {
  if (world.admin.waiting > 0) return "the admin waits for an answer";
  for (const device of world.devices) {
    if (!device.apps[0]?.db) return `${device.name} is not there`;
    if (device.disk.inTransaction) return `${device.name} is in a transaction`;
    const waiting = await outboxOf(device);
    if (waiting > 0) return `${device.name} has ${waiting} edits in its outbox`;
    const rows = await rowsOn(world, device);
    const expected = world.oracle.expected(world.claimsOf(device.spec.user));
    const wrong = difference(withinWindows(world, expected, rows, device.spec.older), rows);
    if (wrong) return `on ${device.name}, ${wrong}`;
    const late = device.origin && (await whatTabsMiss(world, device));
    if (late) return late;
  }
  const state = (await tenantOf(world).state(GATEWAY)) as { ok: true; value: TenantState };
  if (state.value.move) return `a move of ${state.value.move.table} is ${state.value.move.phase}`;
  for (const [name, shard] of shardsOf(world)) {
    const { value } = (await shard.progress()) as { ok: true; value: { head: number; flushed: number } };
    if (value.flushed < value.head) return `${name} has ${value.head - value.flushed} deltas to flush`;
  }
  for (const { table, report, flushes } of await maintenanceOf(world)) {
    if (flushes > 0) return `${table} waits for maintenance`;
    if (report && !report.ok) return `the last maintenance of ${table} failed: ${report.error}`;
  }
  const wrong =
    (await checkShards(world, state.value)) ?? (await checkLake(lakeOf(world))) ?? (await checkWorldsPromises(world));
  if (wrong) world.fail(wrong);
  return undefined;
}

/** [C3] [C5] One tab leads; each answers, knows of sync, and shows what is there. */
async function whatTabsMiss(world: World, device: Device): Promise<string | undefined> {
  const leaders = device.apps.filter(({ db }) => db?.leads);
  if (leaders.length !== 1) return `${device.name} has ${leaders.length} tabs that lead`;
  const held = await rowsOn(world, device);
  for (const { name, answer, shown } of device.apps) {
    if (!answer) return `${name} gives no answer`;
    const { pending, syncedAtMs } = answer.status;
    if (pending > 0 || syncedAtMs === undefined) return `${name} does not know that it is in step`;
    const other = difference(held, rowsIn(answer.rows)) ?? difference(held, rowsIn(shown));
    if (other) return `in ${name}, ${other}`;
  }
  return undefined;
}

/** Rows by table as apps get them, NULLs left out. */
const rowsIn = (tables: ReadonlyMap<string, readonly Row[]>): Map<string, Cells> =>
  new Map(
    [...tables].flatMap(([table, rows]) =>
      rows.map(({ id, ...cells }): [string, Cells] => [
        `${table}/${id}`,
        Object.fromEntries(Object.entries(cells).filter(([, value]) => value !== null)) as Cells,
      ]),
    ),
  );

type TenantState = Extract<Awaited<ReturnType<Tenant["state"]>>, { ok: true }>["value"];

const tenantOf = (world: World) => world.gateway.host("TENANT", GATEWAY).object as Tenant;

async function maintenanceOf(world: World): Promise<TableMaintenance[]> {
  const { value } = (await tenantOf(world).maintenance(GATEWAY)) as { ok: true; value: TableMaintenance[] };
  return value;
}

const shardsOf = (world: World): [string, Shard][] =>
  world.gateway.hosts
    .filter(({ name }) => name.startsWith("shard:"))
    .map((host) => [host.name.slice(`shard:${GATEWAY}/`.length), host.object as Shard]);

/** [M1] The shards of the map hold the rows that the accepted edits make. */
async function checkShards(world: World, state: TenantState): Promise<string | undefined> {
  const edits = new Map<string, StampedEdit[]>();
  const named = new Set(Object.values(state.map.tables).flat());
  for (const [name, shard] of shardsOf(world).filter(([name]) => named.has(name))) {
    const address = { gatewayId: GATEWAY, shard: name, version: 0 };
    let input: Parameters<Shard["pull"]>[1] = { claims: ADMIN, fingerprint: "", tables: [], maxBytes: 1 << 20 };
    for (;;) {
      const page = (await shard.pull(address, input)) as Extract<Awaited<ReturnType<Shard["pull"]>>, { ok: true }>;
      for (const packed of page.value.batches) {
        const batch = unwrap(decodeBatch(packed, "" as ClientId));
        batch.rowIds.forEach((rowId, at) => {
          const row = `${batch.table}/${rowId}`;
          const stamp = makeStamp(batch.hlcs[at] as HlcText, clientOf(batch, at));
          const edit = { letter: batch.ops[at] as "I" | "U" | "D", row, stamp, columns: cellsAt(batch, at) };
          edits.set(row, [...(edits.get(row) ?? []), edit]);
        });
      }
      if (!page.value.hasMore) break;
      input = { ...input, position: page.value.position, fingerprint: page.value.fingerprint };
    }
  }
  const held = new Map([...edits].map(([row, of]) => [row, cellsOf(rowOf(of))]));
  const wrong = difference(withinWindows(world, world.oracle.expected(ADMIN), held), held);
  return wrong ? `[M1] in the shards, ${wrong}` : checkWindows(world, state);
}

/** [HW2] [V1] What has left counts on: a table's digest is that of all of its rows. */
async function checkWindows(world: World, state: TenantState): Promise<string | undefined> {
  const all = world.oracle.expected(ADMIN);
  for (const table of Object.keys(world.plan.windows ?? {})) {
    let rows = 0;
    for (const [name, shard] of shardsOf(world).filter(([name]) => state.map.tables[table]?.includes(name))) {
      const address = { gatewayId: GATEWAY, shard: name, version: 0 };
      const { value } = (await shard.verify(address, table)) as { ok: true; value: { kept: string; counted: string } };
      if (value.kept !== value.counted)
        return `[V1] the rows of ${table} in ${name} are ${value.counted}, not ${value.kept}`;
      rows += Number(value.kept.split("-")[0]);
      const status = (await shard.status(address)) as Extract<Awaited<ReturnType<Shard["status"]>>, { ok: true }>;
      for (const { left = 0 } of status.value.tables) world.tally.add("rows that have left", left);
    }
    const expected = [...all.keys()].filter((key) => key.startsWith(`${table}/`)).length;
    if (rows !== expected) return `[HW2] ${table} has ${rows} rows, not ${expected}`;
  }
  return undefined;
}

async function checkWorldsPromises(world: World): Promise<string | undefined> {
  const apps = await Promise.all(
    [...world.watch.committedBy].map(async ([device, written]) => ({
      name: device.name,
      clientIds: [...device.clientIds],
      written,
      rejected: (await device.disk.look(REJECTED)).rows.map(rejectedEdit),
    })),
  );
  return checkPromises(world.oracle, apps);
}

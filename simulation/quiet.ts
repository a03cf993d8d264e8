/**
 * The world at rest: device = shard = lake = oracle, every edit once in the history, every promise to an app kept. What can
 * only be late is given back as missing; what can never come right is a failure at once.
 */

import { rowOf, type StampedEdit } from "../core/testing.ts";
import type { Shard, Tenant } from "../durable-objects/index.ts";
import {
  catalogueOf,
  currentSchema,
  currentSnapshot,
  EmbeddedCatalogue,
  fieldsOf,
  identOf,
  type LakeDeps,
  scanSnapshot,
  type TableKind,
} from "../lake/index.ts";
import {
  type ClientId,
  cellsAt,
  clientOf,
  decodeBatch,
  type HlcText,
  makeStamp,
  type Scalar,
  unwrap,
} from "../schemas/index.ts";
import { outboxOf, rowsOn } from "./checks.ts";
import { type Cells, cellsOf, difference } from "./oracle.ts";
import { GATEWAY } from "./world/gateway.ts";
import type { World } from "./world.ts";

const ADMIN = { sub: "root", role: "admin" as const };

/** @returns what is still under way, or undefined when all is quiet and as it has to be */
export async function whatIsMissing(world: World): Promise<string | undefined> {
  if (world.admin.waiting > 0) return "the admin waits for an answer";
  for (const device of world.devices) {
    if (!device.db) return `${device.name} is not there`;
    const waiting = await outboxOf(device);
    if (waiting > 0) return `${device.name} has ${waiting} edits in its outbox`;
    const wrong = difference(world.oracle.expected(world.claimsOf(device.spec.user)), await rowsOn(world, device));
    if (wrong) return `on ${device.name}, ${wrong}`;
  }
  const state = (await tenantOf(world).state(GATEWAY)) as { ok: true; value: TenantState };
  if (state.value.move) return `a move of ${state.value.move.table} is ${state.value.move.phase}`;
  for (const [name, shard] of shardsOf(world)) {
    const { value } = (await shard.progress()) as { ok: true; value: { head: number; flushed: number } };
    if (value.flushed < value.head) return `${name} has ${value.head - value.flushed} deltas to flush`;
  }
  const wrong = (await checkShards(world, state.value)) ?? (await checkLake(world)) ?? (await checkPromises(world));
  if (wrong) world.fail(wrong);
  return undefined;
}

type TenantState = Extract<Awaited<ReturnType<Tenant["state"]>>, { ok: true }>["value"];

const tenantOf = (world: World) => world.gateway.host("TENANT", GATEWAY).object as Tenant;

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
  const wrong = difference(world.oracle.expected(ADMIN), held);
  return wrong && `[M1] in the shards, ${wrong}`;
}

/** The lake, read by somebody who was never part of the world. */
function lakeOf(world: World): Pick<LakeDeps, "store" | "catalogue"> {
  const { store } = world.gateway;
  const { sql } = world.gateway.host("CATALOGUE", GATEWAY);
  const clock = { now: () => 0 };
  const newId = () => "nobody writes here";
  const catalogue = catalogueOf(new EmbeddedCatalogue({ sql, store, gatewayId: GATEWAY, clock, newId }));
  return { store, catalogue };
}

type LakeRow = Readonly<Record<string, Scalar>>;

async function openTable(world: World, table: string, kind: TableKind) {
  const lake = lakeOf(world);
  const loaded = await lake.catalogue.load(identOf(lake as LakeDeps, table, kind));
  if (!loaded.ok) return undefined;
  const { metadata } = loaded.value;
  const fields = fieldsOf(currentSchema(metadata), kind);
  const read = async (snapshot: ReturnType<typeof currentSnapshot>): Promise<LakeRow[]> => {
    const rows: LakeRow[] = [];
    for await (const { columns } of scanSnapshot(lake.store, snapshot, { columns: fields }))
      for (let at = 0; at < (columns[0]?.length ?? 0); at++)
        rows.push(Object.fromEntries(fields.map((f, of) => [f.name, columns[of]?.[at] as Scalar])));
    return rows;
  };
  return { metadata, read };
}

const userCells = (row: LakeRow): Cells =>
  Object.fromEntries(Object.entries(row).filter(([name, value]) => !name.startsWith("_") && value !== null));

async function checkLake(world: World): Promise<string | undefined> {
  const held = new Map<string, Cells>();
  for (const table of Object.keys(world.tables)) {
    const wrong = (await checkTable(world, table, held)) ?? (await checkHistory(world, table));
    if (wrong) return wrong;
  }
  const wrong = difference(world.oracle.expected(ADMIN), held);
  return wrong && `[L1] in the lake, ${wrong}`;
}

async function checkTable(world: World, table: string, held: Map<string, Cells>): Promise<string | undefined> {
  const main = await openTable(world, table, "main");
  if (!main) return undefined;
  for (const row of await main.read(currentSnapshot(main.metadata))) {
    const key = `${table}/${String(row._id)}`;
    if (held.has(key)) return `[F1] ${key} is twice in the lake`;
    held.set(key, userCells(row));
  }
  return checkSnapshots(world, table, main);
}

/** [F1] Each edit once in the history. */
async function checkHistory(world: World, table: string): Promise<string | undefined> {
  const changes = await openTable(world, table, "changes");
  const found = ((await changes?.read(currentSnapshot(changes.metadata))) ?? [])
    .map(
      (r) =>
        `${r._op} ${r._id} ${BigInt(r._hlc as number)
          .toString(16)
          .padStart(16, "0")}${r._client_id}`,
    )
    .sort();
  const expected = [...world.oracle.edits()]
    .filter((edit) => edit.table === table)
    .map((edit) => `${OPS[edit.letter]} ${edit.rowId} ${edit.stamp}`)
    .sort();
  const twice = found.find((line, at) => line === found[at - 1]);
  if (twice) return `[F1] ${table}__changes holds twice: ${twice}`;
  const lost = expected.find((line) => !found.includes(line));
  if (lost) return `[F1] ${table}__changes has lost: ${lost}`;
  const invented = found.find((line) => !expected.includes(line));
  return invented && `[F1] ${table}__changes holds what nobody wrote: ${invented}`;
}

const OPS = { I: "INSERT", U: "UPDATE", D: "DELETE" };

/** [L1] Each snapshot holds the rows that the history up to its watermarks makes. */
async function checkSnapshots(
  world: World,
  table: string,
  main: NonNullable<Awaited<ReturnType<typeof openTable>>>,
): Promise<string | undefined> {
  const changes = await openTable(world, table, "changes");
  const history = (await changes?.read(currentSnapshot(changes.metadata))) ?? [];
  const names = world.columnIds(table);
  for (const snapshot of main.metadata.snapshots ?? []) {
    const upTo = (shard: Scalar) => Number(snapshot.summary[`lakesync.watermark.${shard}`] ?? 0);
    const edits = history.filter((r) => Number(r._seq) <= upTo(r._shard ?? null));
    const byRow = Map.groupBy(edits, (r) => String(r._id));
    const expected = new Map<string, Cells>();
    for (const [id, of] of byRow) {
      const row = rowOf(of.map((r) => stampedEdit(r, names)));
      if (row.alive) expected.set(id, cellsOf(row));
    }
    const found = new Map((await main.read(snapshot)).map((r) => [String(r._id), userCells(r)]));
    const wrong = difference(expected, found);
    if (wrong) return `[L1] in snapshot ${snapshot["sequence-number"]} of ${table}, ${wrong}`;
  }
  return undefined;
}

function stampedEdit(row: LakeRow, names: ReadonlyMap<string, string>): StampedEdit {
  const named = String(row._columns ?? "")
    .split(",")
    .filter(Boolean);
  const columns = Object.fromEntries(named.map((id) => [names.get(id) ?? "", row[names.get(id) ?? ""] ?? null]));
  const stamp = `${BigInt(row._hlc as number)
    .toString(16)
    .padStart(16, "0")}${row._client_id}`;
  return { letter: String(row._op)[0] as "I" | "U" | "D", row: String(row._id), stamp, columns };
}

/** [C1] [C2] What an app committed was accepted, or refused and told. */
async function checkPromises(world: World): Promise<string | undefined> {
  const texts = new Set<Scalar>();
  const deletes = new Map<string, number>();
  const count = (key: string) => deletes.set(key, (deletes.get(key) ?? 0) + 1);
  for (const edit of world.oracle.edits()) {
    for (const value of Object.values(edit.columns)) texts.add(value);
    if (edit.letter === "D") count(`${edit.client} ${edit.row}`);
  }
  for (const [device, written] of world.watch.committedBy) {
    for (const [tbl, rowId, op, cells] of (
      await device.disk.look("SELECT tbl, row_id, op, cells FROM lakesync_rejected")
    ).rows) {
      for (const value of Object.values(JSON.parse(String(cells)) as Cells)) texts.add(value);
      if (op === "D") count(`${device.name} ${tbl}/${rowId}`);
    }
    const ids = [device.name, ...device.clientIds];
    for (const { op, table, rowId, texts: own } of written) {
      const lost = own.find((text) => !texts.has(text));
      if (lost) return `[C2] ${device.name} committed ${lost} in ${table}/${rowId}, and nobody knows of it`;
      if (op === "delete" && !ids.some((id) => deletes.has(`${id} ${table}/${rowId}`)))
        return `[C2] ${device.name} deleted ${table}/${rowId}, and nobody knows of it`;
    }
  }
  return undefined;
}

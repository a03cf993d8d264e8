/** What is checked all along: pages as they are served, devices as they come to be in step, and what was promised to apps. */
import type { PullInput, PullPage } from "../core/index.ts";
import type { Written } from "./edits.ts";
import type { Reading } from "./lake.ts";
import { type Cells, difference, type Oracle } from "./oracle.ts";
import type { Device } from "./world/device.ts";
import type { World } from "./world.ts";

/** [PL3] [PL4] [PL7] Nobody is served what they may not see. @returns what is wrong with a page */
export function checkPage(oracle: Oracle, { claims, clientId = "" }: PullInput, page: PullPage): string | undefined {
  if (claims.role === "admin") return undefined;
  for (const { table, rowIds, ops } of page.batches) {
    const letters = Map.groupBy(rowIds.keys(), (at) => rowIds[at] as string);
    for (const [rowId, places] of letters) {
      const sent = places.map((at) => ops[at]);
      if (sent.some((letter) => letter === "I" || letter === "U")) {
        const row = oracle.row(table, rowId);
        if (!oracle.inForce.some((rules) => oracle.sees(rules, claims, table, row)))
          return `${table}/${rowId}, a row that is not theirs to see`;
      } else if (!oracle.everSeen(claims, clientId, table, rowId))
        return `the end of ${table}/${rowId}, a row that was never theirs to see`;
    }
  }
  return undefined;
}

/**
 * What somebody has to have who has these rows: of a table with a hot window, what they have of it may be less than all, unless they
 * ask for older rows.
 */
export const withinWindows = (
  { plan: { windows = {} } }: World,
  expected: ReadonlyMap<string, Cells>,
  found: ReadonlyMap<string, Cells>,
  older = false,
): ReadonlyMap<string, Cells> =>
  older
    ? expected
    : new Map([...expected].filter(([key]) => found.has(key) || !Object.hasOwn(windows, key.split("/")[0] ?? "")));

/** A synced table's rows on a device, NULLs left out. */
export async function rowsOn(world: World, device: Device): Promise<Map<string, Cells>> {
  const rows = new Map<string, Cells>();
  for (const table of Object.keys(world.tables)) {
    const { columns, rows: found } = await device.disk.look(`SELECT * FROM ${table}`);
    for (const values of found) {
      const cells = Object.fromEntries(
        columns.flatMap((name, at) => (name === "id" || values[at] === null ? [] : [[name, values[at]]])),
      );
      rows.set(`${table}/${String(values[columns.indexOf("id")])}`, cells as Cells);
    }
  }
  return rows;
}

const countOf = async (device: Device, sql: string): Promise<number> =>
  Number((await device.disk.look(sql)).rows[0]?.[0] ?? 0);

export const outboxOf = (device: Device): Promise<number> => countOf(device, "SELECT count(*) FROM lakesync_outbox");

/** A round ended well, and nothing has changed since it began: then the device holds what it may see, and nothing else. */
export async function checkDevice(world: World, device: Device): Promise<void> {
  const { oracle, watch } = world;
  if (watch.began(device) !== oracle.moment || oracle.inForce.length > 1 || world.admin.waiting > 0) return;
  if ((await outboxOf(device)) > 0 || device.token === "" || device.disk.inTransaction) return;
  const claims = JSON.parse(atob(device.token.split(".")[1] ?? ""));
  const rows = await rowsOn(world, device);
  const wrong = difference(withinWindows(world, oracle.expected(claims), rows, device.spec.older), rows);
  if (wrong) world.fail(`[C9] ${device.name} has just synced, and ${wrong}`);
}

/** [C4] What an app has written and not pushed is what it sees, unless something newer has come. @returns what is hidden */
async function hiddenEdit(world: World, device: Device): Promise<string | undefined> {
  const tables = new Map<number, { name: string; columns: { name: string }[] }>();
  for (const [id, name, columns] of (await device.disk.look("SELECT id, name, columns FROM lakesync_tables")).rows)
    tables.set(Number(id), { name: String(name), columns: JSON.parse(String(columns)) });
  const waiting = new Map<string, { first: string; cells: Record<string, unknown> }>();
  const outbox = "SELECT printf('%016x', hlc), tbl, op, row_id, cells FROM lakesync_outbox ORDER BY hlc";
  for (const [hlc, tbl, op, rowId, json] of (await device.disk.look(outbox)).rows) {
    const table = tables.get(Number(tbl));
    const key = `${table?.name}/${rowId}`;
    const { first, cells } = waiting.get(key) ?? { first: String(hlc), cells: {} };
    const named = (JSON.parse(String(json ?? "[]")) as unknown[]).flatMap((value, at) =>
      Array.isArray(value) ? [] : [[table?.columns[at]?.name ?? "", value]],
    );
    // An insert says that the app saw no row: what waits before it belongs to a row whose insert was refused.
    waiting.set(key, {
      first,
      cells: op === "U" ? { ...cells, ...Object.fromEntries(named) } : Object.fromEntries(named),
    });
  }
  const shown = waiting.size > 0 ? await rowsOn(world, device) : new Map<string, Cells>();
  for (const [key, { first, cells }] of waiting) {
    const row = shown.get(key);
    if (!row || world.oracle.touchedSince(key, first)) continue;
    const hidden = Object.entries(cells).find(([name, value]) => (row[name] ?? null) !== value);
    if (hidden) return `${key}.${hidden[0]} is ${row[hidden[0]]}, and ${hidden[1]} waits to be pushed`;
  }
  return undefined;
}

/** What apps were promised and what devices have seen, kept outside of them. */
export class Watch {
  readonly #began = new Map<Device, number>();
  readonly #cursors = new Map<Device, Seqs>();
  readonly committedBy = new Map<Device, Written[]>();
  /** What engines have read of the lake. */
  readonly readings: Reading[] = [];

  /** @param moment of the oracle */
  asks(device: Device, moment: number): void {
    if (!this.#began.has(device)) this.#began.set(device, moment);
  }

  /** Another token than the one that the gateway goes by until it hears of it: the round that ends next is not looked at. */
  renewed(device: Device): void {
    this.#began.set(device, -1);
  }

  /** It takes a checkpoint, or pulls from nothing. */
  startsOver(device: Device): void {
    this.#cursors.delete(device);
  }

  /** The oracle's moment when the device's round began; told once. */
  began(device: Device): number | undefined {
    const moment = this.#began.get(device);
    this.#began.delete(device);
    return moment;
  }

  committed(device: Device, written: readonly Written[]): void {
    this.committedBy.set(device, [...(this.committedBy.get(device) ?? []), ...written]);
  }

  queried(reading: Reading): void {
    this.readings.push(reading);
  }

  /** [C4] [PL1] A cursor only moves forward, but where the device starts over. */
  async progressed(world: World, device: Device): Promise<void> {
    if (device.disk.inTransaction) return;
    const hidden = await hiddenEdit(world, device);
    if (hidden) world.fail(`[C4] on ${device.name}, ${hidden}`);
    const [row] = (await device.disk.look("SELECT value FROM lakesync_meta WHERE key = 'cursor'")).rows;
    const next = seqsOf(String(row?.[0] ?? ""));
    const held = this.#cursors.get(device);
    this.#cursors.set(device, next);
    if (!held) return;
    for (const [shard, { bound, seq }] of next) {
      const before = held.get(shard);
      if (before && before.bound === bound && before.seq > seq)
        world.fail(`[PL1] ${device.name}'s cursor in ${shard} went back from ${before.seq} to ${seq}`);
    }
  }
}

type Seqs = ReadonlyMap<string, { readonly bound: string; readonly seq: number }>;

/** The parts of a cursor, which is opaque to devices, not to us. */
function seqsOf(cursor: string): Seqs {
  if (cursor === "") return new Map();
  const { m, t, s } = JSON.parse(atob(cursor.replaceAll("-", "+").replaceAll("_", "/")));
  return new Map(
    Object.entries(s as Record<string, [string, number, unknown]>).map(([shard, [fingerprint, seq, third]]) => [
      shard,
      // A scan remembers where it began: its end is a position of another kind.
      { bound: `${m}/${t}/${fingerprint}/${typeof third === "string"}`, seq },
    ]),
  );
}

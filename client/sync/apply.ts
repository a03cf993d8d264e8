/**
 * What the gateway said, written into the device's tables: pages, acknowledgements, refusals. Every function runs inside
 * one `applyRemote` transaction of its caller, beside the cursor that it belongs to.
 *
 *   row is new here, one insert, nothing pending   two bulk inserts (first sync, and the echo of nothing)
 *   anything else                                  known row + edits, pending edits on top, differences written (rows.ts)
 */
import {
  type ClientId,
  type ColumnData,
  cellsAt,
  clientOf,
  type DeltaBatch,
  type HlcText,
  isAbsent,
  makeStamp,
  NO_STAMP,
  type Scalar,
  type Stamp,
} from "../../schemas/index.ts";
import type { SqlValue } from "../db/driver.ts";
import type { Transaction } from "../db/local-db.ts";
import { type DeviceColumn, type DeviceTable, quote, rowsTable } from "../db/schema.ts";
import { assertType, type DeviceType, fromStored, toStored } from "../db/values.ts";
import { dropEntries, type OutboxEntry, pendingOf } from "./outbox.ts";
import {
  type Cells,
  type Edit,
  type KnownRow,
  keep,
  mergeEdits,
  type PendingEdit,
  stateOf,
  UNKNOWN_ROW,
  undo,
  visibleOf,
} from "./rows.ts";
import type { Sweep } from "./sweep.ts";

/** What happens to one row. */
interface Change {
  readonly edits: Edit[];
  /** What was known of the row counts no more: it is not for this device, or a resync brings it anew. */
  forget: boolean;
}

export interface Applier {
  readonly tx: Transaction;
  readonly clientId: ClientId;
  /** A resync is under way: see sweep.ts. */
  readonly sweep?: Sweep | undefined;
}

/** Entries that are worked on in one go: a few milliseconds, so that a page does not hold up the app's own thread. */
const SLICE = 2000;

/** Merges one batch of a page. */
export async function applyBatch(applier: Applier, batch: DeltaBatch): Promise<void> {
  const { length } = batch.rowIds;
  if (length <= SLICE) return applySlice(applier, batch);
  for (let from = 0; from < length; from += SLICE) await applySlice(applier, sliceOf(batch, from, from + SLICE));
}

const sliceOf = (batch: DeltaBatch, from: number, to: number): DeltaBatch => ({
  table: batch.table,
  ops: batch.ops.slice(from, to),
  rowIds: batch.rowIds.slice(from, to),
  hlcs: batch.hlcs.slice(from, to),
  clients: batch.clients.length === 1 ? batch.clients : batch.clients.slice(from, to),
  columns: batch.columns.map(({ name, values }) => ({ name, values: values.slice(from, to) })),
});

async function applySlice(applier: Applier, batch: DeltaBatch): Promise<void> {
  const { tx, sweep } = applier;
  const table = await tx.ensureTable(batch.table, batch.columns.map(columnFor));
  checkTypes(table, batch);
  const unseen = await sweep?.mark(tx, table, batch.rowIds);
  const known = await knownAmong(tx, table, batch.rowIds);
  const counts = new Map<string, number>();
  for (const rowId of batch.rowIds) counts.set(rowId, (counts.get(rowId) ?? 0) + 1);
  const fresh: number[] = [];
  const changes = new Map<string, Change>();
  batch.rowIds.forEach((rowId, at) => {
    const letter = batch.ops[at] as string;
    const stamp = makeStamp(batch.hlcs[at] as HlcText, clientOf(batch, at));
    const whole = letter === "I" && counts.get(rowId) === 1;
    if (whole && known.get(rowId) === stamp && !unseen?.has(rowId)) return; // the echo of an insert that nothing was added to
    if (whole && !known.has(rowId)) fresh.push(at);
    else addChange(changes, rowId, letter, stamp, batch, at, unseen?.has(rowId) ?? false);
  });
  await insertFresh(tx, table, batch, fresh);
  await applyChanges(applier, table, changes, new Set());
}

function checkTypes(table: DeviceTable, batch: DeltaBatch): void {
  const types = new Map(table.columns.map((c) => [c.name, c.type]));
  for (const { name, values } of batch.columns) {
    const type = types.get(name) ?? "any";
    if (type === "any") continue;
    for (const value of values) if (!isAbsent(value)) assertType(table.name, name, type, value as Scalar);
  }
}

/** How a column that this device has not met is taken: booleans are told by their values. */
function columnFor({ name, values }: ColumnData): DeviceColumn {
  const sample = values.find((value) => value !== null && !isAbsent(value));
  return { name, type: typeof sample === "boolean" ? "boolean" : "any", nullable: true };
}

function addChange(
  changes: Map<string, Change>,
  rowId: string,
  letter: string,
  stamp: Stamp,
  batch: DeltaBatch,
  at: number,
  replace: boolean,
): void {
  const change = changes.get(rowId) ?? { edits: [], forget: replace };
  changes.set(rowId, change);
  if (letter === "R") {
    change.forget = true;
    change.edits.length = 0; // what comes after it in the page counts again
  } else change.edits.push({ letter: letter as Edit["letter"], stamp, cells: cellsAt(batch, at) });
}

/** Rows that the device holds in any way; with the stamp of its insert those that are just as they were inserted. */
async function knownAmong(
  tx: Transaction,
  table: DeviceTable,
  rowIds: readonly string[],
): Promise<Map<string, Stamp | undefined>> {
  const rows = rowsTable(table.name);
  const any = await tx.run(
    `SELECT EXISTS (SELECT 1 FROM ${rows}), EXISTS (SELECT 1 FROM lakesync_outbox WHERE tbl = ?)`,
    [table.id],
  );
  const [held, waiting] = any.rows[0] as [number, number];
  const known = new Map<string, Stamp | undefined>();
  const ids = JSON.stringify(rowIds);
  if (held && !(await isNewGround(tx, rows, rowIds, ids))) {
    const found = await tx.run(
      `SELECT r.id, iif(r.del IS NULL AND r.cells IS NULL AND r.base IS NULL, r.ins, NULL)
       FROM json_each(?) j CROSS JOIN ${rows} r ON r.id = j.value`,
      [ids],
    );
    for (const [id, ins] of found.rows as unknown as [string, Stamp | null][]) known.set(id, ins ?? undefined);
  }
  if (waiting) {
    const found = await tx.run(
      "SELECT row_id FROM lakesync_outbox WHERE tbl = ? AND row_id IN (SELECT value FROM json_each(?))",
      [table.id, ids],
    );
    for (const [id] of found.rows) known.set(id as string, undefined);
  }
  return known;
}

/** Whether no row is known between the least and the greatest of some ids: so it is while a device is filled. */
async function isNewGround(tx: Transaction, rows: string, rowIds: readonly string[], text: string): Promise<boolean> {
  if (!/^[ -~]*$/.test(text)) return false; // SQLite compares bytes, JavaScript units
  let [least, greatest] = [rowIds[0] as string, rowIds[0] as string];
  for (const id of rowIds) {
    if (id < least) least = id;
    if (id > greatest) greatest = id;
  }
  const sql = `SELECT EXISTS (SELECT 1 FROM ${rows} WHERE id BETWEEN ? AND ?)`;
  return (await tx.run(sql, [least, greatest])).rows[0]?.[0] === 0;
}

const insertKnownSql = (table: DeviceTable): string =>
  `INSERT OR REPLACE INTO ${rowsTable(table.name)} (id, ins, del, cells, base) VALUES (?, ?, ?, ?, ?)`;

const insertRowSql = (table: DeviceTable): string => {
  const names = [table.key, ...table.columns.map((c) => c.name)];
  return `INSERT OR REPLACE INTO ${quote(table.name)} (${names.map(quote).join(", ")}) VALUES (${names.map(() => "?").join(", ")})`;
};

/** Rows of which this device knows nothing, from one insert each. Where it shows one all the same, that is no edit of the app's. */
async function insertFresh(tx: Transaction, table: DeviceTable, batch: DeltaBatch, entries: number[]): Promise<void> {
  if (entries.length === 0) return;
  const data = new Map(batch.columns.map((c) => [c.name, c.values]));
  const sources = table.columns.map((c) => ({ name: c.name, type: c.type, values: data.get(c.name) }));
  const known: string[] = [];
  for (const at of entries) {
    const stamp = makeStamp(batch.hlcs[at] as HlcText, clientOf(batch, at));
    const nulls = sources.filter(({ values }) => values?.[at] === null).map(({ name }) => [name, stamp]);
    const cells = nulls.length > 0 ? JSON.stringify(Object.fromEntries(nulls)) : null;
    known.push(JSON.stringify([batch.rowIds[at], stamp, cells]));
  }
  const columns = [table.key, ...table.columns.map((c) => c.name)];
  const rows = jsonRows(batch.rowIds, sources, entries);
  if (rows) await insertJson(tx, quote(table.name), columns.map(quote), rows);
  else await tx.runMany(insertRowSql(table), boundRows(batch.rowIds, sources, entries));
  await insertJson(tx, rowsTable(table.name), ["id", "ins", "cells"], known);
}

/** Many rows by one statement: several times as fast as a statement a row, each of whose values crosses by itself. */
async function insertJson(tx: Transaction, into: string, columns: string[], rows: string[]) {
  const values = columns.map((_, at) => `value ->> ${at}`).join(", ");
  await tx.run(`INSERT OR REPLACE INTO ${into} (${columns.join(", ")}) SELECT ${values} FROM json_each(?)`, [
    `[${rows.join(",")}]`,
  ]);
}

interface Source {
  readonly type: DeviceType;
  readonly values: readonly unknown[] | undefined;
}

const cellAt = ({ values }: Source, at: number): Scalar => {
  const value = values?.[at];
  return value === undefined || isAbsent(value) ? null : (value as Scalar);
};

const boundRows = (rowIds: readonly string[], sources: readonly Source[], entries: readonly number[]): SqlValue[][] =>
  entries.map((at) => [rowIds[at] as string, ...sources.map((s) => toStored(s.type, cellAt(s, at)))]);

/** JSON of each row; undefined where SQLite would not read it back exactly: bytes, fractions, text with NUL. */
function jsonRows(rowIds: readonly string[], sources: readonly Source[], entries: readonly number[]) {
  const rows: string[] = [];
  for (const at of entries) {
    let row = `[${JSON.stringify(rowIds[at])}`;
    for (const source of sources) {
      const cell = jsonOf(source.type, cellAt(source, at));
      if (cell === undefined) return undefined;
      row += `,${cell}`;
    }
    rows.push(`${row}]`);
  }
  return rows;
}

function jsonOf(type: DeviceType, value: Scalar): string | undefined {
  if (value === null) return "null";
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "number") return Number.isSafeInteger(value) ? String(value) : undefined;
  if (type === "integer" || type === "timestamp") return value; // digits, beyond what a number holds
  return type === "bytes" || value.includes("\0") ? undefined : JSON.stringify(value);
}

interface Held {
  known: KnownRow;
  /** The table's row. */
  visible: Cells | undefined;
}

/** The device's rows with these ids; those of which it knows nothing are left out. */
export async function load(tx: Transaction, table: DeviceTable, rowIds: readonly string[]): Promise<Map<string, Held>> {
  const held = new Map<string, Held>();
  const ids = JSON.stringify(rowIds);
  const known = await tx.run(
    `SELECT r.id, r.ins, r.del, r.cells, r.base FROM json_each(?) j CROSS JOIN ${rowsTable(table.name)} r ON r.id = j.value`,
    [ids],
  );
  type Found = readonly [string, Stamp | null, Stamp | null, string | null, string | null];
  for (const [id, ins, del, cells, base] of known.rows as unknown as Found[])
    held.set(id, {
      known: {
        ins: ins ?? NO_STAMP,
        del: del ?? NO_STAMP,
        cells: cells === null ? {} : JSON.parse(cells),
        base: base === null ? undefined : JSON.parse(base),
      },
      visible: undefined,
    });
  const names = [table.key, ...table.columns.map((c) => c.name)].map((name) => `t.${quote(name)}`).join(", ");
  const shown = await tx.run(
    `SELECT ${names} FROM json_each(?) j CROSS JOIN ${quote(table.name)} t ON t.${quote(table.key)} = j.value`,
    [ids],
  );
  for (const [id, ...values] of shown.rows as unknown as [string, ...SqlValue[]][]) {
    const cells: Cells = {};
    table.columns.forEach(({ name, type }, at) => {
      cells[name] = fromStored(type, values[at] as SqlValue);
    });
    const row = held.get(id) ?? { known: UNKNOWN_ROW, visible: undefined };
    row.visible = cells;
    held.set(id, row);
  }
  return held;
}

/** Statements' parameters, collected row by row and run in bulk. */
class Writes {
  readonly inserts: SqlValue[][] = [];
  readonly updates: SqlValue[][] = [];
  readonly deletes: string[] = [];
  readonly known: SqlValue[][] = [];
  readonly forget: string[] = [];
  readonly table: DeviceTable;

  constructor(table: DeviceTable) {
    this.table = table;
  }

  show(rowId: string, before: Cells | undefined, after: Cells | undefined): void {
    if (!after) {
      if (before) this.deletes.push(rowId);
      return;
    }
    const { columns } = this.table;
    if (before && columns.every(({ name }) => (before[name] ?? null) === (after[name] ?? null))) return;
    const values = columns.map(({ name, type }) => toStored(type, after[name] ?? null));
    if (before) this.updates.push([...values, rowId]);
    else this.inserts.push([rowId, ...values]);
  }

  remember(rowId: string, before: KnownRow, after: KnownRow | undefined): void {
    if (!after) {
      if (before !== UNKNOWN_ROW) this.forget.push(rowId);
      return;
    }
    const row = knownParams(rowId, after);
    if (before === UNKNOWN_ROW || knownParams(rowId, before).some((value, at) => value !== row[at]))
      this.known.push(row);
  }

  async run(tx: Transaction): Promise<void> {
    const { table } = this;
    const key = quote(table.key);
    await deleteIds(tx, quote(table.name), key, this.deletes);
    await deleteIds(tx, rowsTable(table.name), "id", this.forget);
    await tx.runMany(insertRowSql(table), this.inserts);
    const sets = table.columns.map((c) => `${quote(c.name)} = ?`).join(", ");
    if (sets) await tx.runMany(`UPDATE ${quote(table.name)} SET ${sets} WHERE ${key} = ?`, this.updates);
    await tx.runMany(insertKnownSql(table), this.known);
  }
}

const knownParams = (rowId: string, { ins, del, cells, base }: KnownRow): SqlValue[] => {
  const listed = Object.keys(cells).length > 0 ? JSON.stringify(cells) : null;
  return [rowId, ins || null, del || null, listed, base === undefined ? null : JSON.stringify(base)];
};

async function deleteIds(tx: Transaction, table: string, key: string, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.run(`DELETE FROM ${table} WHERE ${key} IN (SELECT value FROM json_each(?))`, [JSON.stringify(ids)]);
}

/**
 * Merges edits into known rows and shows the result under the edits that still wait.
 * @param settled stamps of outbox entries that are on their way out in this transaction: they no longer wait
 */
async function applyChanges(
  { tx, clientId }: Applier,
  table: DeviceTable,
  changes: ReadonlyMap<string, Change>,
  settled: ReadonlySet<HlcText>,
): Promise<void> {
  if (changes.size === 0) return;
  const rowIds = [...changes.keys()];
  const held = await load(tx, table, rowIds);
  const pending = await pendingOf(tx, table, rowIds);
  const writes = new Writes(table);
  for (const [rowId, change] of changes) {
    const { known, visible } = held.get(rowId) ?? { known: UNKNOWN_ROW, visible: undefined };
    const waiting: readonly PendingEdit[] = pending.get(rowId) ?? [];
    const state = change.forget ? stateOf(UNKNOWN_ROW, undefined) : stateOf(known, undo(visible, waiting));
    mergeEdits(state, change.edits);
    const remaining = waiting.filter((edit) => !settled.has(edit.hlc));
    writes.show(rowId, visible, visibleOf(state, remaining, clientId));
    writes.remember(rowId, known, keep(state, remaining.length > 0));
  }
  await writes.run(tx);
}

/** Moves acknowledged entries into the known rows, and drops refused ones, whose cells fall back to the gateway's. */
export async function settle(
  applier: Applier,
  accepted: readonly OutboxEntry[],
  refused: readonly OutboxEntry[],
): Promise<void> {
  const { tx, clientId } = applier;
  const hlcs = [...accepted, ...refused].map((entry) => entry.hlc);
  const settled = new Set(hlcs);
  for (const [table, entries] of byTable([...accepted, ...refused])) {
    const counts = new Map<string, number>();
    for (const { rowId } of entries) counts.set(rowId, (counts.get(rowId) ?? 0) + 1);
    const turnedDown = new Set(refused);
    const plain = (e: OutboxEntry) => e.letter === "I" && !e.recast && counts.get(e.rowId) === 1 && !turnedDown.has(e);
    const single = entries.filter(plain);
    const known = await heldAmong(tx, table, single);
    const changes = new Map<string, Change>();
    const inserts: SqlValue[][] = [];
    for (const entry of entries) {
      const stamp = makeStamp(entry.hlc, clientId);
      if (plain(entry) && !known.has(entry.rowId)) {
        inserts.push([entry.rowId, stamp, null, null, null]);
        continue;
      }
      const change = changes.get(entry.rowId) ?? { edits: [], forget: false };
      changes.set(entry.rowId, change);
      if (!turnedDown.has(entry)) change.edits.push({ letter: entry.letter, stamp, cells: entry.cells });
    }
    await tx.runMany(insertKnownSql(table), inserts);
    await applyChanges(applier, table, changes, settled);
  }
  await dropEntries(tx, hlcs);
}

/** Which entries' rows have a known row already. */
async function heldAmong(tx: Transaction, table: DeviceTable, entries: readonly OutboxEntry[]): Promise<Set<string>> {
  if (entries.length === 0) return new Set();
  const found = await tx.run(
    `SELECT r.id FROM json_each(?) j CROSS JOIN ${rowsTable(table.name)} r ON r.id = j.value`,
    [JSON.stringify(entries.map((e) => e.rowId))],
  );
  return new Set(found.rows.map(([id]) => id as string));
}

function byTable(entries: readonly OutboxEntry[]): Map<DeviceTable, OutboxEntry[]> {
  const groups = new Map<DeviceTable, OutboxEntry[]>();
  for (const entry of entries) {
    const group = groups.get(entry.table) ?? [];
    groups.set(entry.table, group);
    group.push(entry);
  }
  return groups;
}

/** Takes rows off the device, all that was known of them too; what waits in the outbox stays. */
export async function forgetRows(applier: Applier, table: DeviceTable, rowIds: readonly string[]): Promise<void> {
  const changes = new Map(rowIds.map((rowId): [string, Change] => [rowId, { edits: [], forget: true }]));
  await applyChanges(applier, table, changes, new Set());
}

/**
 * The outbox: local edits that the gateway has not acknowledged, in the order of their stamps. An entry leaves it in the
 * transaction that records its acknowledgement or refusal, and in no other way; that it was sent is not recorded, so a
 * crash or a lost answer means that it is sent again.
 */
import {
  type ClientId,
  type DeltaBatch,
  DeltaBatchBuilder,
  type HlcText,
  hlcToBigInt,
  isRowId,
  type Scalar,
  type ValueError,
} from "../../schemas/index.ts";
import { HLC_TEXT_SQL } from "../db/bookkeeping.ts";
import type { LocalDB, Transaction } from "../db/local-db.ts";
import type { DeviceTable } from "../db/schema.ts";
import type { TableRegistry } from "../db/tables.ts";
import { fromOutbox } from "../db/values.ts";
import { badRowId, type Cells, type PendingEdit } from "./rows.ts";

export interface OutboxEntry {
  readonly hlc: HlcText;
  readonly table: DeviceTable;
  readonly letter: "I" | "U" | "D";
  readonly rowId: string;
  readonly cells: Cells;
  /** The app wrote JSON in another form than the canonical one, which is what everyone else gets. */
  readonly recast: boolean;
  /** Why the gateway would refuse it for certain; it is not sent. */
  readonly fault?: { readonly code: ValueError["code"] | "BadRowId"; readonly message: string };
}

type EntryRow = readonly [hlc: string, tbl: number, op: "I" | "U" | "D", rowId: string, cells: string | null];

/** The oldest entries, up to a number and about so many bytes; at least one when there is one. */
export function readOutbox(db: LocalDB, max: number, maxBytes: number): Promise<OutboxEntry[]> {
  return db.once(async (tx) => {
    if (db.platform.tabs) await tx.reload();
    const { rows } = await tx.run(
      `SELECT ${HLC_TEXT_SQL}, tbl, op, row_id, cells FROM lakesync_outbox ORDER BY hlc LIMIT ?`,
      [max],
    );
    const entries: OutboxEntry[] = [];
    let bytes = 0;
    for (const row of rows as unknown as EntryRow[]) {
      bytes += 60 + row[3].length + (row[4]?.length ?? 0);
      if (bytes > maxBytes && entries.length > 0) break;
      entries.push(entryOf(tx.tables, row));
    }
    return entries;
  });
}

function entryOf(tables: TableRegistry, [hlc, tbl, letter, rowId, json]: EntryRow): OutboxEntry {
  const table = tables.byId(tbl);
  const { cells, fault, recast } = decodeCells(table, json);
  const badId = isRowId(rowId) ? undefined : { code: "BadRowId" as const, message: badRowId(rowId) };
  const reason = badId ?? fault;
  return { hlc: hlc as HlcText, table, letter, rowId, cells, recast, ...(reason ? { fault: reason } : {}) };
}

interface Decoded {
  readonly cells: Cells;
  readonly recast: boolean;
  readonly fault?: ValueError;
}

function decodeCells(table: DeviceTable, json: string | null): Decoded {
  const cells: Cells = {};
  let recast = false;
  let fault: ValueError | undefined;
  const values: readonly unknown[] = json === null ? [] : JSON.parse(json);
  for (let at = 0; at < values.length; at++) {
    const value = values[at];
    if (Array.isArray(value)) continue; // the edit does not name this column
    const column = table.columns[at] as DeviceTable["columns"][number];
    const scalar = fromOutbox(column.type, value);
    if (!scalar.ok) fault = { ...scalar.error, message: `${table.name}.${column.name}: ${scalar.error.message}` };
    cells[column.name] = scalar.ok ? scalar.value : (value as Scalar);
    recast ||= column.type === "json" && cells[column.name] !== value;
  }
  return fault ? { cells, recast, fault } : { cells, recast };
}

/** Entries as they are sent: one batch a table, each in the order of its edits. */
export function toBatches(entries: readonly OutboxEntry[], clientId: ClientId): DeltaBatch[] {
  const builders = new Map<string, DeltaBatchBuilder>();
  for (const { table, letter, rowId, hlc, cells } of entries) {
    const builder = builders.get(table.name) ?? new DeltaBatchBuilder(table.name);
    builders.set(table.name, builder);
    builder.add(letter, rowId, hlc, clientId, cells);
  }
  return [...builders.values()].map((builder) => builder.build());
}

/** Waiting edits of one table by row, in order. @param rowIds only these rows; left out, all */
export async function pendingOf(
  tx: Transaction,
  table: DeviceTable,
  rowIds?: readonly string[],
): Promise<Map<string, PendingEdit[]>> {
  const some = rowIds ? "AND row_id IN (SELECT value FROM json_each(?))" : "";
  const { rows } = await tx.run(
    `SELECT ${HLC_TEXT_SQL}, op, row_id, cells, old FROM lakesync_outbox WHERE tbl = ? ${some} ORDER BY hlc`,
    rowIds ? [table.id, JSON.stringify(rowIds)] : [table.id],
  );
  const pending = new Map<string, PendingEdit[]>();
  type Found = readonly [string, "I" | "U" | "D", string, string | null, string | null];
  for (const [hlc, letter, rowId, cells, old] of rows as unknown as Found[]) {
    const edits = pending.get(rowId) ?? [];
    pending.set(rowId, edits);
    edits.push({
      letter,
      hlc: hlc as HlcText,
      cells: decodeCells(table, cells).cells,
      old: old === null ? undefined : decodeCells(table, old).cells,
    });
  }
  return pending;
}

/** Takes entries out, by stamp. */
export async function dropEntries(tx: Transaction, hlcs: readonly HlcText[]): Promise<void> {
  if (hlcs.length === 0) return;
  const list = `[${hlcs.map((hlc) => hlcToBigInt(hlc)).join(",")}]`;
  await tx.run("DELETE FROM lakesync_outbox WHERE hlc IN (SELECT value FROM json_each(?))", [list]);
}

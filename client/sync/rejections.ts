/** Edits that the gateway refused: taken back from the tables, kept here until the app dismisses them (C6). */
import type { ErrorCode, HlcText, Op } from "../../schemas/index.ts";
import { opOf } from "../../schemas/index.ts";
import type { LocalDB, Transaction } from "../db/local-db.ts";
import type { OutboxEntry } from "./outbox.ts";
import type { Cells } from "./rows.ts";

export interface RejectedEdit {
  /** For `dismiss`. */
  readonly id: number;
  readonly table: string;
  readonly rowId: string;
  readonly op: Op;
  readonly hlc: HlcText;
  /** What the edit would have written, in canonical form. */
  readonly columns: Cells;
  readonly code: ErrorCode;
  readonly message: string;
  /** When this device was told; milliseconds since 1970. */
  readonly atMs: number;
}

export interface Verdict {
  readonly entry: OutboxEntry;
  readonly code: ErrorCode;
  readonly message: string;
}

export async function recordRejections(tx: Transaction, verdicts: readonly Verdict[], atMs: number): Promise<void> {
  await tx.runMany(
    "INSERT INTO lakesync_rejected (hlc, tbl, op, row_id, cells, code, message, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    verdicts.map(({ entry, code, message }) => [
      entry.hlc,
      entry.table.name,
      entry.letter,
      entry.rowId,
      JSON.stringify(entry.cells),
      code,
      message,
      atMs,
    ]),
  );
}

/** Refused edits, oldest first. @param after only those with a greater id */
export async function listRejections(db: LocalDB, after = 0): Promise<RejectedEdit[]> {
  const rows = await db.query<{
    id: number;
    tbl: string;
    row_id: string;
    op: string;
    hlc: HlcText;
    cells: string;
    code: ErrorCode;
    message: string;
    at_ms: number;
  }>("SELECT * FROM lakesync_rejected WHERE id > ? ORDER BY id", [after]);
  return rows.map((row) => ({
    id: row.id,
    table: row.tbl,
    rowId: row.row_id,
    op: opOf(row.op) as Op,
    hlc: row.hlc,
    columns: JSON.parse(row.cells),
    code: row.code,
    message: row.message,
    atMs: row.at_ms,
  }));
}

/** Forgets refused edits; without ids, all of them. */
export async function dismissRejections(db: LocalDB, ids?: readonly number[]): Promise<void> {
  if (ids)
    await db.exec("DELETE FROM lakesync_rejected WHERE id IN (SELECT value FROM json_each(?))", [JSON.stringify(ids)]);
  else await db.exec("DELETE FROM lakesync_rejected");
}

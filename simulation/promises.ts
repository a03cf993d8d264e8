/** [C1] [C2] [C6] What an app committed was accepted, or refused and told; never for the device's clock (H3). */
import type { Scalar } from "../schemas/index.ts";
import type { Written } from "./edits.ts";
import type { Cells, Oracle } from "./oracle.ts";

/** An edit that the gateway refused, as its device remembers it. */
interface Rejected {
  readonly table: string;
  readonly rowId: string;
  readonly op: string;
  readonly cells: Cells;
  readonly code: string;
}

export const REJECTED = "SELECT tbl, row_id, op, cells, code FROM lakesync_rejected";

export const rejectedEdit = ([table, rowId, op, cells, code]: readonly unknown[]): Rejected => ({
  table: String(table),
  rowId: String(rowId),
  op: String(op),
  code: String(code),
  cells: (JSON.parse(String(cells)) ?? {}) as Cells,
});

/** An app's side of the story. */
export interface App {
  readonly name: string;
  /** All that its database ever had. */
  readonly clientIds: readonly string[];
  readonly written: readonly Written[];
  readonly rejected: readonly Rejected[];
}

/** @returns what was lost */
export function checkPromises(oracle: Oracle, apps: readonly App[]): string | undefined {
  const texts = new Set<Scalar>();
  const deletes = new Set<string>();
  for (const edit of oracle.edits()) {
    for (const value of Object.values(edit.columns)) texts.add(value);
    if (edit.letter === "D") deletes.add(`${edit.client} ${edit.row}`);
  }
  for (const { name, clientIds, written, rejected } of apps) {
    for (const { table, rowId, op, cells, code } of rejected) {
      if (code === "ClockDrift") return `[H3] ${name} took back ${table}/${rowId} because its clock was off`;
      for (const value of Object.values(cells)) texts.add(value);
      if (op === "D") deletes.add(`${name} ${table}/${rowId}`);
    }
    for (const { op, table, rowId, texts: own } of written) {
      const lost = own.find((text) => !texts.has(text));
      if (lost) return `[C2] ${name} committed ${lost} in ${table}/${rowId}, and nobody knows of it`;
      if (op === "delete" && ![name, ...clientIds].some((id) => deletes.has(`${id} ${table}/${rowId}`)))
        return `[C2] ${name} deleted ${table}/${rowId}, and nobody knows of it`;
    }
  }
  return undefined;
}

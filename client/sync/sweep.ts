/**
 * A resync without a gap: pages from nothing come in while the app goes on reading what it had. A row that comes replaces
 * what was known of it; when the last page is in, rows that did not come are taken off the device. Waiting edits stay on
 * top throughout, and a resync that is broken off goes on where it was, for its state is in the database.
 *
 * On a device that knows no rows yet there is nothing to replace, and no sweep.
 */
import type { Transaction } from "../db/local-db.ts";
import { type DeviceTable, rowsTable } from "../db/schema.ts";
import { type Applier, forgetRows } from "./apply.ts";

const CHUNK_ROWS = 5000;

export class Sweep {
  readonly #replace: boolean;

  /** @param replace whether a row that comes for the first time replaces what was known of it, or is merged with it */
  private constructor(replace: boolean) {
    this.#replace = replace;
  }

  /** A new one, with the first page of a pull from nothing. */
  static async begin(tx: Transaction): Promise<Sweep | undefined> {
    let known = false;
    for (const name of tx.tables.byName.keys()) {
      const { rows } = await tx.run(`SELECT EXISTS (SELECT 1 FROM ${rowsTable(name)})`);
      known ||= rows[0]?.[0] === 1;
    }
    await tx.run("DELETE FROM lakesync_seen");
    await tx.setMeta("sweep", known ? "1" : "0");
    return known ? new Sweep(true) : undefined;
  }

  /** The one under way, if there is one. A checkpoint may be older than what the device knows, and is merged. */
  static async resume(tx: Transaction, replace = true): Promise<Sweep | undefined> {
    return (await tx.getMeta("sweep")) === "1" ? new Sweep(replace) : undefined;
  }

  /** Notes rows as brought. @returns those that are to be replaced */
  async mark(tx: Transaction, table: DeviceTable, rowIds: readonly string[]): Promise<Set<string>> {
    const { rows } = await tx.run(
      "INSERT INTO lakesync_seen (tbl, row_id) SELECT ?, value FROM json_each(?) WHERE true ON CONFLICT DO NOTHING RETURNING row_id",
      [table.id, JSON.stringify(rowIds)],
    );
    return new Set(this.#replace ? rows.map(([id]) => id as string) : []);
  }

  /** With the last page. */
  async finish(applier: Applier): Promise<void> {
    const { tx } = applier;
    for (const table of tx.tables.byName.values()) {
      const { rows } = await tx.run(
        `SELECT id FROM ${rowsTable(table.name)} WHERE id NOT IN (SELECT row_id FROM lakesync_seen WHERE tbl = ?)`,
        [table.id],
      );
      const ids = rows.map(([id]) => id as string);
      for (let at = 0; at < ids.length; at += CHUNK_ROWS)
        await forgetRows(applier, table, ids.slice(at, at + CHUNK_ROWS));
    }
    await tx.run("DELETE FROM lakesync_seen");
    await tx.setMeta("sweep", "0");
  }
}

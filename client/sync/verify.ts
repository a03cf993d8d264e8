/**
 * Whether the device holds what the gateway does (V2): the digests of a page that makes it current, against those of the rows
 * that the gateway is known to hold, without the edits that wait. Storage that lies and mistakes in merging show here.
 *
 * Counting reads every row, so it is done now and then: `everyMs` apart, and a thousand times as far apart as it takes. It is
 * done slice by slice, and the app reads and writes meanwhile: what it writes waits, and is no part of what is counted.
 */
import { RowsDigest, rowDigest } from "../../core/index.ts";
import type { LocalDB } from "../db/local-db.ts";
import { type DeviceTable, rowsTable } from "../db/schema.ts";
import { load } from "./apply.ts";
import { pendingOf } from "./outbox.ts";
import { stateOf, undo } from "./rows.ts";

/** Rows in one go: a few milliseconds. */
const SLICE = 500;
/** A resync has not helped: the next one would not either, for a while. */
const HOPELESS_MS = 24 * 3_600_000;

export class Verifier {
  readonly #db: LocalDB;
  readonly #everyMs: number;
  readonly #alive: () => void;
  #dueMs: number | undefined;

  /** @param alive called after each slice */
  constructor(db: LocalDB, everyMs: number, alive: () => void) {
    this.#db = db;
    this.#everyMs = everyMs;
    this.#alive = alive;
  }

  /**
   * @param digests that the gateway gave, by table @param repaired whether a resync has been made for this reason just now
   * @returns the tables that differ; none where it is not yet time
   */
  async compare(
    digests: Readonly<Record<string, string>>,
    signal: AbortSignal,
    repaired: boolean,
  ): Promise<readonly string[]> {
    const { clock } = this.#db.platform;
    const began = clock.now();
    this.#dueMs ??= Number((await this.#db.transaction((tx) => tx.getMeta("verify"))) ?? (await this.#due(began)));
    if (began < this.#dueMs || Object.keys(digests).length === 0) return [];
    const differing: string[] = [];
    for (const table in digests)
      if ((await this.#count(this.#db.tables.get(table), signal)) !== digests[table]) differing.push(table);
    const now = clock.now();
    await this.#due(differing.length === 0 ? now + (now - began) * 1000 : repaired ? now + HOPELESS_MS : 0);
    return differing;
  }

  /** @param fromMs to be done again an interval after it; 0 for at once */
  async #due(fromMs: number): Promise<number> {
    const atMs = fromMs && fromMs + this.#everyMs;
    this.#dueMs = atMs;
    await this.#db.transaction((tx) => tx.setMeta("verify", String(atMs)));
    return atMs;
  }

  async #count(table: DeviceTable | undefined, signal: AbortSignal): Promise<string> {
    const digest = new RowsDigest();
    for (let after: string | undefined = ""; table && after !== undefined; ) {
      signal.throwIfAborted();
      after = await this.#addSlice(digest, table, after);
      this.#alive();
    }
    return String(digest);
  }

  /** @returns the last row's id; undefined after the last slice */
  #addSlice(digest: RowsDigest, table: DeviceTable, after: string): Promise<string | undefined> {
    return this.#db.transaction(async (tx) => {
      const sql = `SELECT id FROM ${rowsTable(table.name)} WHERE id > ? ORDER BY id LIMIT ${SLICE}`;
      const ids = (await tx.run(sql, [after])).rows.map(([id]) => id as string);
      const held = await load(tx, table, ids);
      const pending = await pendingOf(tx, table, ids);
      for (const [id, { known, visible }] of held)
        digest.add(rowDigest(id, stateOf(known, undo(visible, pending.get(id) ?? [])), (column) => column));
      return ids[SLICE - 1];
    });
  }
}

/**
 * When the lake tables of a gateway are maintained, and how that ended. Two ledgers over a synchronous SQLite:
 *
 *   MaintenanceLedger   one in each tenant: flushes since the last run of each table, checkpoint, fan-out and pair of tiers, the lease of the run that goes on,
 *                       when snapshots were expired and orphans looked for, what the last run said
 *   GatewayRegistry     one for all: which gateways there are, and when each is to be looked at again
 *
 * A table is due after so many flushes, at once, or after some time, when Cron comes by. One run at a time: a lease that
 * nobody gave back is over after a while, and two runs at once do no harm (L3), they only waste work.
 */
import {
  EXPIRE_EVERY_MS,
  FOLLOW_AGAIN_MS,
  MAINTENANCE_EVERY_MS,
  MAINTENANCE_FLUSHES,
  MAINTENANCE_LEASE_MS,
  ORPHANS_EVERY_MS,
} from "../schemas/index.ts";
import type { SqlStore } from "./ports/index.ts";

/** What a run has to do beside compaction. */
export interface Duties {
  readonly expire: boolean;
  readonly orphans: boolean;
}

/** What a run says of itself; kept as it is, for whoever asks. */
export type MaintenanceReport = Readonly<Record<string, unknown>> & {
  readonly ok: boolean;
  /** There was more to do than one run does. */
  readonly more: boolean;
};

export interface TableMaintenance {
  readonly table: string;
  /** Flushes since the last run began. */
  readonly flushes: number;
  readonly running: boolean;
  /** Milliseconds since 1970; 0 for never. */
  readonly lastMs: number;
  readonly lastExpiryMs: number;
  readonly lastOrphansMs: number;
  readonly report?: MaintenanceReport;
}

/** Beside tables, whose names have no colon, the ledger has a shard's checkpoint, a table's secondaries, its tiers. */
export const checkpointDuty = (shard: string): string => `checkpoint:${shard}`;
export const followDuty = (table: string): string => `follow:${table}`;
export const tiersDuty = (table: string): string => `tiers:${table}`;

const DUTY = /^(?:(checkpoint|follow|tiers):)?(.*)$/s;

/** What an entry of the ledger is, and of which shard or table. */
export function dutyOf(entry: string): {
  readonly kind: "lake" | "checkpoint" | "follow" | "tiers";
  readonly of: string;
} {
  const [, kind = "lake", of = ""] = DUTY.exec(entry) ?? [];
  return { kind: kind as ReturnType<typeof dutyOf>["kind"], of };
}

/** A gateway's turn comes as often as its tables are due: what was done a little after the last one is due at the next. */
const everyMs = (entry: string): number => {
  const { kind } = dutyOf(entry);
  return kind === "follow" ? FOLLOW_AGAIN_MS : kind === "tiers" ? MAINTENANCE_EVERY_MS / 2 : MAINTENANCE_EVERY_MS;
};

/** Secondaries follow each flush. */
const flushesUntil = (entry: string): number => (dutyOf(entry).kind === "follow" ? 1 : MAINTENANCE_FLUSHES);

type Row = {
  name: string;
  flushes: number;
  taken: number;
  token: string;
  until_ms: number;
  asked_ms: number;
  last_ms: number;
  expired_ms: number;
  cleaned_ms: number;
  report: string;
};

export class MaintenanceLedger {
  readonly #sql: SqlStore;

  constructor(sql: SqlStore) {
    this.#sql = sql;
    const numbers = ["flushes", "taken", "until_ms", "asked_ms", "last_ms", "expired_ms", "cleaned_ms"];
    sql.exec(
      `CREATE TABLE IF NOT EXISTS maintenance (name TEXT PRIMARY KEY, token TEXT NOT NULL DEFAULT '',
        report TEXT NOT NULL DEFAULT '', ${numbers.map((name) => `${name} INTEGER NOT NULL DEFAULT 0`).join(", ")}
      ) WITHOUT ROWID`,
    );
  }

  /** Whether a table has ever been flushed or maintained. */
  knows(table: string): boolean {
    return this.#row(table) !== undefined;
  }

  #row(table: string): Row | undefined {
    return this.#sql.exec<Row>("SELECT * FROM maintenance WHERE name = ?", table)[0];
  }

  /** Takes note of a flush of some tables. @returns those that are due now */
  flushed(tables: readonly string[], nowMs: number): string[] {
    for (const table of tables)
      this.#sql.exec(
        "INSERT INTO maintenance (name, flushes) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET flushes = flushes + 1",
        table,
      );
    return this.#ask(nowMs, (row) => tables.includes(row.name) && row.flushes >= flushesUntil(row.name));
  }

  /**
   * What time has made due.
   * @param known entries that are there whether or not anything was flushed: what no flush tells of may be due, too
   */
  due(nowMs: number, known: readonly string[] = []): string[] {
    if (known.length > 0)
      this.#sql.exec(
        "INSERT INTO maintenance (name) SELECT value FROM json_each(?) WHERE true ON CONFLICT (name) DO NOTHING",
        JSON.stringify(known),
      );
    return this.#ask(
      nowMs,
      (row) =>
        ((row.flushes > 0 || dutyOf(row.name).kind === "tiers") && row.last_ms + everyMs(row.name) <= nowMs) ||
        row.expired_ms + EXPIRE_EVERY_MS <= nowMs ||
        row.cleaned_ms + ORPHANS_EVERY_MS <= nowMs,
    );
  }

  /** Tables to send for; one that was sent for is left until the message had time to arrive. */
  #ask(nowMs: number, isDue: (row: Row) => boolean): string[] {
    const rows = this.#sql.exec<Row>("SELECT * FROM maintenance WHERE until_ms <= ? AND asked_ms <= ?", nowMs, nowMs);
    const due = rows.filter(isDue).map((row) => row.name);
    for (const table of due)
      this.#sql.exec("UPDATE maintenance SET asked_ms = ? WHERE name = ?", nowMs + MAINTENANCE_LEASE_MS, table);
    return due;
  }

  /** Begins a run. @returns what it has to do, or undefined while another goes on */
  lease(table: string, token: string, nowMs: number): Duties | undefined {
    const row = this.#row(table);
    if (row && row.until_ms > nowMs) return undefined;
    this.#sql.exec(
      `INSERT INTO maintenance (name, token, until_ms) VALUES (?, ?, ?) ON CONFLICT (name)
        DO UPDATE SET token = excluded.token, until_ms = excluded.until_ms, taken = flushes`,
      table,
      token,
      nowMs + MAINTENANCE_LEASE_MS,
    );
    return {
      expire: (row?.expired_ms ?? 0) + EXPIRE_EVERY_MS <= nowMs,
      orphans: (row?.cleaned_ms ?? 0) + ORPHANS_EVERY_MS <= nowMs,
    };
  }

  /**
   * Ends a run; one whose lease is another's by now is not heard. What failed stays due; a secondary that did is left alone for a while.
   * @returns whether so many flushes came meanwhile that another run is due
   */
  settle(table: string, token: string, report: MaintenanceReport, duties: Duties, nowMs: number): boolean {
    const row = this.#row(table);
    if (row?.token !== token) return false;
    const done = report.ok;
    const flushes = done ? row.flushes - row.taken : row.flushes;
    this.#sql.exec(
      `UPDATE maintenance SET token = '', until_ms = 0, asked_ms = ?, taken = 0, last_ms = ?, report = ?,
        flushes = ?, expired_ms = ?, cleaned_ms = ? WHERE name = ?`,
      !done && dutyOf(table).kind === "follow" ? nowMs + FOLLOW_AGAIN_MS : 0,
      nowMs,
      JSON.stringify(report),
      flushes,
      done && duties.expire ? nowMs : row.expired_ms,
      done && duties.orphans ? nowMs : row.cleaned_ms,
      table,
    );
    return done && flushes >= flushesUntil(table);
  }

  status(nowMs: number): TableMaintenance[] {
    return this.#sql.exec<Row>("SELECT * FROM maintenance ORDER BY name").map((row) => ({
      table: row.name,
      flushes: row.flushes,
      running: row.until_ms > nowMs,
      lastMs: row.last_ms,
      lastExpiryMs: row.expired_ms,
      lastOrphansMs: row.cleaned_ms,
      ...(row.report !== "" && { report: JSON.parse(row.report) as MaintenanceReport }),
    }));
  }
}

/** All gateways that were ever flushed. */
export class GatewayRegistry {
  readonly #sql: SqlStore;

  constructor(sql: SqlStore) {
    this.#sql = sql;
    sql.exec(
      "CREATE TABLE IF NOT EXISTS gateways (gateway TEXT PRIMARY KEY, next_ms INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    );
  }

  /** Called again, it does nothing. */
  register(gatewayId: string): void {
    this.#sql.exec("INSERT INTO gateways (gateway) VALUES (?) ON CONFLICT (gateway) DO NOTHING", gatewayId);
  }

  /** A gateway's turn comes earlier than it would. */
  hurry(gatewayId: string, nextMs: number): void {
    this.#sql.exec("UPDATE gateways SET next_ms = min(next_ms, ?) WHERE gateway = ?", nextMs, gatewayId);
  }

  /** Gateways whose turn it is, those that have waited longest first; their next turn is set. */
  due(nowMs: number, limit: number): string[] {
    const rows = this.#sql.exec<{ gateway: string }>(
      "SELECT gateway FROM gateways WHERE next_ms <= ? ORDER BY next_ms LIMIT ?",
      nowMs,
      limit,
    );
    const gateways = rows.map((row) => row.gateway);
    this.#sql.exec(
      "UPDATE gateways SET next_ms = ? WHERE gateway IN (SELECT value FROM json_each(?))",
      nowMs + MAINTENANCE_EVERY_MS,
      JSON.stringify(gateways),
    );
    return gateways;
  }
}

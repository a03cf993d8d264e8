/** Gateways that take in what others edit in their databases. One for all, over a synchronous SQLite. */
import type { SqlStore } from "./ports/index.ts";

export class FeedRegistry {
  readonly #sql: SqlStore;

  constructor(sql: SqlStore) {
    this.#sql = sql;
    sql.exec("CREATE TABLE IF NOT EXISTS fed (gateway TEXT PRIMARY KEY) WITHOUT ROWID");
  }

  enter(gatewayId: string): void {
    this.#sql.exec("INSERT INTO fed (gateway) VALUES (?) ON CONFLICT (gateway) DO NOTHING", gatewayId);
  }

  leave(gatewayId: string): void {
    this.#sql.exec("DELETE FROM fed WHERE gateway = ?", gatewayId);
  }

  all(): string[] {
    return this.#sql.exec<{ gateway: string }>("SELECT gateway FROM fed ORDER BY gateway").map((row) => row.gateway);
  }
}

/**
 * The app's database on this device: SQLite with synced tables in it. Reads and writes go through one connection, one
 * transaction at a time, in the order of asking.
 *
 * A write to a synced table and its outbox entry are one transaction, whoever writes and however (C1, C8): triggers do
 * it. Listeners hear of a commit after it is durable, once, with the tables that it touched (C5).
 */
import { type ClientId, LakeSyncError } from "../../schemas/index.ts";
import { type LiveOptions, live } from "../live/live.ts";
import { defaultPlatform, type Platform, randomName, type Tabs } from "../platform.ts";
import { FORMAT, type MetaKey, SETUP_SQL } from "./bookkeeping.ts";
import type { Backend, Driver, ResultSet, SqlParam, SqlValue, TableUse } from "./driver.ts";
import { Mutex } from "./mutex.ts";
import { type DeviceColumn, type DeviceTable, dropInsertTriggerSql, type SchemaSpec, triggersSql } from "./schema.ts";
import { OUTBOX, TABLES } from "./table-watch.ts";
import { TableRegistry } from "./tables.ts";

export interface LocalDBOptions {
  /** Names the database within this origin or folder. */
  readonly name: string;
  /** Default `auto`: the best that is proved to work here; in Node a file. */
  readonly backend?: Backend;
  /** Node: path of the file; left out, `<name>.sqlite` in the working directory. */
  readonly path?: string;
  /** Synced tables with typed columns. Tables that are not declared are made when they are first met, without types. */
  readonly schema?: SchemaSpec;
  readonly platform?: Platform;
}

export type Row = Record<string, SqlValue>;

/** What both a database and an open transaction do. */
export interface Queryable {
  /** Runs one statement. @returns rows that it inserted, updated or deleted */
  exec(sql: string, params?: readonly SqlParam[]): Promise<{ readonly changes: number }>;
  /** Rows of a query, as objects by column name. */
  query<T = Row>(sql: string, params?: readonly SqlParam[]): Promise<T[]>;
}

export interface Commit {
  /** That it changed; `lakesync_outbox` when what waits did. */
  readonly tables: ReadonlySet<string>;
  readonly origin: "local" | "remote";
}

/** Between the tabs of a database. */
type TabMessage =
  | { readonly tables: readonly string[]; readonly origin: Commit["origin"] }
  | { readonly news: unknown };

const CONTROL = /^\s*(?:begin|commit|end|rollback(?!\s+(?:transaction\s+)?to\b))\b/i;

export class Transaction implements Queryable {
  readonly #driver: Driver;
  readonly tables: TableRegistry;
  readonly #writes: Set<string>;

  /** @internal */
  constructor(driver: Driver, tables: TableRegistry, writes: Set<string>) {
    this.#driver = driver;
    this.tables = tables;
    this.#writes = writes;
  }

  async exec(sql: string, params?: readonly SqlParam[]): Promise<{ readonly changes: number }> {
    return { changes: (await this.run(sql, params)).changes };
  }

  async query<T = Row>(sql: string, params?: readonly SqlParam[]): Promise<T[]> {
    return toObjects<T>(await this.run(sql, params));
  }

  /** Rows as arrays. */
  async run(sql: string, params?: readonly SqlParam[]): Promise<ResultSet> {
    if (CONTROL.test(sql))
      throw new LakeSyncError("BadRequest", "Use db.transaction() instead of BEGIN, COMMIT and ROLLBACK.");
    return this.note(await this.#driver.execute(sql, params));
  }

  /** Runs one statement for each list of parameters. */
  async runMany(sql: string, paramLists: readonly (readonly SqlParam[])[]): Promise<void> {
    if (paramLists.length > 0) this.note(await this.#driver.executeMany(sql, paramLists));
  }

  /** Makes sure that a synced table with these columns is there. */
  async ensureTable(name: string, columns: readonly DeviceColumn[], declared = false): Promise<DeviceTable> {
    const before = this.tables.byName.get(name);
    const table = await this.tables.ensure(this.#driver, name, columns, declared);
    if (table !== before) this.#writes.add(TABLES); // other tabs read it anew
    return table;
  }

  /** Reads the tables as they are: another tab may have made some, or added columns. */
  reload(): Promise<void> {
    return this.tables.reload(this.#driver);
  }

  /** Fills a table without asking at each row whether it is tracked: in bulk that costs a fifth. Remote rows only. */
  async fill(name: string, body: () => Promise<void>): Promise<void> {
    const before = this.tables.byName.get(name);
    if (before) await this.#driver.script(dropInsertTriggerSql(before));
    await body();
    const after = this.tables.byName.get(name);
    if (before && after) await this.#driver.script(triggersSql(after));
  }

  async setMeta(key: MetaKey, value: string): Promise<void> {
    await this.#driver.execute("INSERT OR REPLACE INTO lakesync_meta (key, value) VALUES (?, ?)", [key, value]);
  }

  async getMeta(key: MetaKey): Promise<string | undefined> {
    const { rows } = await this.#driver.execute("SELECT value FROM lakesync_meta WHERE key = ?", [key]);
    return rows[0]?.[0] as string | undefined;
  }

  private note(result: ResultSet): ResultSet {
    for (const table of result.writes) this.#writes.add(table);
    return result;
  }
}

export class LocalDB implements Queryable {
  readonly name: string;
  readonly platform: Platform;
  readonly #driver: Driver;
  readonly #mutex = new Mutex();
  readonly #tables: TableRegistry;
  readonly #listeners = new Set<(commit: Commit) => void>();
  readonly #newsListeners = new Set<(news: unknown) => void>();
  #clientId: ClientId;
  #closed = false;
  #onLead: (() => void) | undefined;
  /** Other tabs of this database: each hears of the others' commits. */
  readonly #tabs: ReturnType<Tabs["join"]> | undefined;

  private constructor(name: string, platform: Platform, driver: Driver, tables: TableRegistry, clientId: ClientId) {
    this.name = name;
    this.platform = platform;
    this.#driver = driver;
    this.#tables = tables;
    this.#clientId = clientId;
    driver.onLead = () => {
      this.#onLead?.();
      void this.#elsewhere();
    };
    this.#tabs = platform.tabs?.join(`lakesync-commits:${name}`, (message) => this.#heard(message as TabMessage));
  }

  /**
   * Opens or creates a database.
   * @throws LakeSyncError `StorageUnavailable` when it cannot be opened or another process has it; `BadConfig` when the
   *   schema does not fit what is there, or the database comes from a newer version
   */
  static async open(options: LocalDBOptions): Promise<LocalDB> {
    const platform = options.platform ?? defaultPlatform();
    const { name, backend = "auto", path } = options;
    const driver = await platform.openDriver({ name, backend, clock: platform.clock, ...(path ? { path } : {}) });
    try {
      await driver.script(SETUP_SQL);
      const tables = await TableRegistry.load(driver);
      const clientId = await prepare(driver, platform);
      const db = new LocalDB(name, platform, driver, tables, clientId);
      if (options.schema) await db.declare(options.schema);
      return db;
    } catch (error) {
      await driver.close();
      throw error;
    }
  }

  /** This database's name among the devices; random, and another in a copy (C3). */
  get clientId(): ClientId {
    return this.#clientId;
  }

  /** Whether this tab holds the database and syncs it (C3); true where there is only one. */
  get leads(): boolean {
    return this.#driver.leads ?? true;
  }

  /** @internal Calls `run` when this tab leads, now or later, and when another one does. */
  whenLeading(run: () => void): void {
    this.#onLead = run;
    if (this.leads) run();
  }

  get backend(): Driver["backend"] {
    return this.#driver.backend;
  }

  /** Synced tables of this device by name. */
  get tables(): ReadonlyMap<string, DeviceTable> {
    return this.#tables.byName;
  }

  async exec(sql: string, params?: readonly SqlParam[]): Promise<{ readonly changes: number }> {
    return this.once((tx) => tx.exec(sql, params));
  }

  async query<T = Row>(sql: string, params?: readonly SqlParam[]): Promise<T[]> {
    return this.once((tx) => tx.query<T>(sql, params));
  }

  /**
   * Runs `body` in one transaction: all of its writes become durable together, or none when it throws. Inside, use only
   * the transaction that it is given: the database itself waits until the transaction is over.
   */
  transaction<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#atomic("local", body);
  }

  /** Makes synced tables, or adds columns to those that are there. @throws LakeSyncError `BadConfig` */
  async declare(schema: SchemaSpec): Promise<void> {
    await this.#tables.declare(this, schema);
  }

  /** Tables that a statement reads and writes, views and triggers looked through. */
  tablesOf(sql: string): Promise<TableUse> {
    return this.#mutex.run(() => this.#open().tablesOf(sql));
  }

  /**
   * Gives the rows of a query now, and again after each commit that touches its tables (C5).
   * @returns a function that ends it
   */
  live<T = Row>(
    sql: string,
    params: readonly SqlParam[],
    onRows: (rows: T[]) => void,
    options?: LiveOptions,
  ): () => void {
    return live(this, sql, params, onRows, options);
  }

  /** Calls `listener` after each commit that changed something. @returns a function that ends it */
  onCommit(listener: (commit: Commit) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Asks the browser to keep the data of this origin when space runs short; some browsers ask the user.
   * @returns whether it will; otherwise what is not synced may be lost to the browser's cleaning up
   */
  async persist(): Promise<boolean> {
    if (this.backend === "memory") return false;
    return this.platform.persist ? this.platform.persist() : true;
  }

  /** @internal Tells the other tabs of this database something, beside the commits that they hear of anyway. */
  tell(news: unknown): void {
    if (!this.#closed) this.#post({ news });
  }

  /** @internal */
  onNews(listener: (news: unknown) => void): void {
    this.#newsListeners.add(listener);
  }

  async close(): Promise<void> {
    await this.#mutex.run(async () => {
      this.#closed = true;
      this.#tabs?.leave();
      await this.#driver.close();
    });
  }

  /** @internal The client id as it is on disk: another tab may have renewed it. */
  async refresh(): Promise<void> {
    const id = await this.once((tx) => tx.getMeta("client_id"));
    if (id) this.#clientId = id as ClientId;
  }

  /** @internal A transaction whose writes are the gateway's: no outbox entries. */
  applyRemote<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#atomic("remote", async (tx) => {
      await tx.run("SELECT lakesync_apply(1)");
      try {
        return await body(tx);
      } finally {
        await tx.run("SELECT lakesync_apply(0)");
      }
    });
  }

  /** @internal Another name for this database: the old one belongs to another user. */
  async renewClientId(): Promise<void> {
    const clientId = randomName(this.platform.random) as ClientId;
    await this.transaction(async (tx) => {
      await tx.setMeta("client_id", clientId);
      await tx.setMeta("cursor", ""); // as in prepare()
    });
    this.#clientId = clientId;
  }

  #open(): Driver {
    if (this.#closed) throw new LakeSyncError("Closed", `The database ${this.name} is closed.`);
    return this.#driver;
  }

  /** @internal For one statement, which is a transaction by itself: that saves two calls. */
  once<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#mutex.run(async () => {
      const writes = new Set<string>();
      const result = await body(new Transaction(this.#open(), this.#tables, writes));
      this.#committed(writes, "local");
      return result;
    });
  }

  #atomic<T>(origin: Commit["origin"], body: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#mutex.run(async () => {
      const driver = this.#open();
      const writes = new Set<string>();
      let result: T;
      try {
        await driver.execute("BEGIN IMMEDIATE");
        result = await body(new Transaction(driver, this.#tables, writes));
        await driver.execute("COMMIT");
      } catch (error) {
        // Some errors (a full disk) have rolled back already; that there is nothing to roll back is no news.
        await driver.execute("ROLLBACK").catch(() => undefined);
        await this.#tables.reload(driver);
        throw error;
      }
      this.#committed(writes, origin);
      return result;
    });
  }

  #committed(tables: ReadonlySet<string>, origin: Commit["origin"]): void {
    if (tables.size === 0) return;
    this.#post({ tables: [...tables], origin });
    for (const listener of this.#listeners) listener({ tables, origin });
  }

  /** Where there are no other tabs, none is told. */
  #post(message: TabMessage): void {
    if (!this.#driver.alone) this.#tabs?.post(message);
  }

  #heard(message: TabMessage): void {
    if ("news" in message) for (const listener of this.#newsListeners) listener(message.news);
    else void this.#elsewhere(message.tables, message.origin);
  }

  /** Another tab committed. Its tables may be new to this one. @param tables left out: it may have been anything */
  async #elsewhere(tables?: readonly string[], origin: Commit["origin"] = "remote"): Promise<void> {
    let touched = tables;
    await this.#mutex
      .run(async () => {
        if (this.#closed || tables?.every((name) => name === OUTBOX || this.#tables.byName.has(name))) return;
        await this.#tables.reload(this.#driver);
        const all = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'lakesync_*'";
        touched ??= [OUTBOX, ...((await this.#driver.execute(all)).rows.flat() as string[])];
      })
      .catch(() => undefined); // the tab that leads died: the next one is told of
    if (this.#closed || !touched) return;
    for (const listener of this.#listeners) listener({ tables: new Set(touched), origin });
  }
}

/** Checks the format and names the device. */
async function prepare(driver: Driver, platform: Platform): Promise<ClientId> {
  const { rows } = await driver.execute("SELECT key, value FROM lakesync_meta");
  const meta = new Map(rows as readonly [string, string][]);
  if (Number(meta.get("format") ?? FORMAT) > FORMAT)
    throw new LakeSyncError("BadConfig", "The database was written by a newer version of LakeSync; update this app.");
  // What the old name wrote, and may not see, the gateway takes off the old name only: a copy starts anew.
  const copied = meta.get("identity") !== driver.identity;
  const clientId = copied ? randomName(platform.random) : (meta.get("client_id") as string);
  if (copied) {
    const values = JSON.stringify(
      Object.entries({ format: String(FORMAT), client_id: clientId, identity: driver.identity, cursor: "" }),
    );
    await driver.execute(
      "INSERT OR REPLACE INTO lakesync_meta (key, value) SELECT value ->> 0, value ->> 1 FROM json_each(?)",
      [values],
    );
  }
  return clientId as ClientId;
}

function toObjects<T>({ columns, rows }: ResultSet): T[] {
  return rows.map((row) => {
    const object: Row = {};
    for (let at = 0; at < columns.length; at++) object[columns[at] as string] = row[at] as SqlValue;
    return object as T;
  });
}

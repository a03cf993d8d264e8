/**
 * A device's database: SQLite in memory that outlives the device's process, as a file would. A process that dies at some
 * statement leaves an open transaction, which the next one finds rolled back.
 */
import { defaultPlatform } from "../../client/index.ts";
import type { Clock } from "../../core/index.ts";
import { HLC_ZERO } from "../../schemas/index.ts";
import { never, type Process } from "../kernel/process.ts";
import type { Network } from "./network.ts";

/** The client's port to SQLite, as `Platform.openDriver` has it. */
export type Driver = Awaited<ReturnType<ReturnType<typeof defaultPlatform>["openDriver"]>>;
type Rows = Awaited<ReturnType<Driver["execute"]>>;
type Params = Parameters<Driver["execute"]>[1];

export class Disk {
  /** Stands for device and inode: a copy has another. */
  readonly identity: string;
  readonly #driver: Driver;
  #holder: Process | undefined;
  /** A transaction is open: what is seen from outside may be half of something. */
  #open = false;

  private constructor(identity: string, driver: Driver) {
    this.identity = identity;
    this.#driver = driver;
  }

  static async blank(identity: string, clock: Clock): Promise<Disk> {
    const driver = await defaultPlatform().openDriver({ name: identity, backend: "memory", clock });
    return new Disk(identity, driver);
  }

  /** A process that lives has it open. */
  get held(): boolean {
    return this.#holder?.alive === true;
  }

  get inTransaction(): boolean {
    return this.#open;
  }

  /**
   * What a process gets when it opens the file.
   * @param victim dies where a statement kills: the process itself, or the page whose worker it is
   */
  async open(process: Process, network: Network, victim = process): Promise<Driver & { readonly torn: boolean }> {
    const driver = this.#driver;
    this.#holder = process;
    await driver.execute("ROLLBACK").catch(() => undefined); // of the process before, if it died in the middle
    this.#open = false;
    await driver.execute("SELECT lakesync_apply(0), lakesync_clock(?, 0)", [HLC_ZERO]);
    let torn = false;
    const through = <T>(run: () => Promise<T>): Promise<T> => {
      if (network.strikes("deviceDies")) victim.die();
      if (!process.alive) return never();
      if (victim === process || !(torn || network.strikes("workerTorn"))) return run();
      const done = torn || network.random.chance(0.5) ? Promise.resolve() : run();
      torn = true;
      return done.then(() => Promise.reject(new Error("The call was cut off.")));
    };
    const execute = async (sql: string, params: Params) => {
      const done = await driver.execute(sql, params);
      if (/^(?:begin|commit|rollback)\b/i.test(sql)) this.#open = /^begin/i.test(sql);
      return done;
    };
    return {
      backend: "file",
      identity: this.identity,
      get torn() {
        return torn;
      },
      execute: (sql, params) => through(() => execute(sql, params)),
      executeMany: (sql, lists) => through(() => driver.executeMany(sql, lists)),
      script: (sql) => through(() => driver.script(sql)),
      tablesOf: (sql) => through(() => driver.tablesOf(sql)),
      close: async () => {
        if (this.#holder === process) this.#holder = undefined;
      },
    };
  }

  /** Rows as somebody with another program sees them. */
  async look(sql: string): Promise<Rows> {
    return this.#driver.execute(sql);
  }

  /** The file, copied. */
  async copy(identity: string, clock: Clock): Promise<Disk> {
    const copy = await Disk.blank(identity, clock);
    const schema = await this.look(
      "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid",
    );
    const made = schema.rows as readonly (readonly [type: string, name: string, sql: string])[];
    for (const [, name, sql] of made.filter(([type]) => type === "table")) {
      await copy.#driver.script(sql);
      const { columns, rows } = await this.look(`SELECT * FROM "${name}"`);
      await copy.#driver.executeMany(`INSERT INTO "${name}" VALUES (${columns.map(() => "?").join(", ")})`, rows);
    }
    for (const [type, , sql] of made) if (type !== "table") await copy.#driver.script(sql);
    return copy;
  }

  close(): Promise<void> {
    return this.#driver.close();
  }
}

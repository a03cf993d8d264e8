/** Which synced tables this device has, kept in lakesync_tables, and how they grow. Columns are only ever added. */
import { LakeSyncError, parseIdentifier } from "../../schemas/index.ts";
import type { Driver } from "./driver.ts";
import type { LocalDB } from "./local-db.ts";
import {
  addColumnSql,
  columnsOf,
  createTableSql,
  type DeviceColumn,
  type DeviceTable,
  keyFor,
  renameKeySql,
  type SchemaSpec,
  triggersSql,
} from "./schema.ts";

export class TableRegistry {
  #byName = new Map<string, DeviceTable>();
  #byId = new Map<number, DeviceTable>();

  static async load(driver: Driver): Promise<TableRegistry> {
    const registry = new TableRegistry();
    await registry.reload(driver);
    return registry;
  }

  get byName(): ReadonlyMap<string, DeviceTable> {
    return this.#byName;
  }

  /** @throws LakeSyncError `UnknownTable` */
  get(name: string): DeviceTable {
    const table = this.#byName.get(name);
    if (table) return table;
    throw new LakeSyncError("UnknownTable", `This device has no synced table ${JSON.stringify(name)}.`, {
      table: name,
    });
  }

  byId(id: number): DeviceTable {
    const table = this.#byId.get(id);
    if (!table) throw new LakeSyncError("Corrupt", `This device has no synced table ${id}.`);
    return table;
  }

  /** Reads the tables as they are on disk: at the start, and after a transaction that was rolled back. */
  async reload(driver: Driver): Promise<void> {
    const { rows } = await driver.execute("SELECT id, name, key, columns FROM lakesync_tables ORDER BY id");
    this.#byName = new Map();
    this.#byId = new Map();
    for (const [id, name, key, columns] of rows as readonly [number, string, string, string][])
      this.#put({ id, name, key, columns: JSON.parse(columns) });
  }

  async declare(db: LocalDB, schema: SchemaSpec): Promise<void> {
    const tables = Object.entries(schema).map(([name, spec]) => [name, columnsOf(name, spec)] as const);
    const isNew = ([name, columns]: readonly [string, DeviceColumn[]]) => {
      const held = this.#byName.get(name);
      return !held || JSON.stringify(mergeColumns(held, columns, true)) !== JSON.stringify(held.columns);
    };
    const changed = tables.filter(isNew);
    if (changed.length === 0) return;
    await db.transaction(async (tx) => {
      for (const [name, columns] of changed) await tx.ensureTable(name, columns, true);
    });
  }

  /**
   * Makes a table, or adds the columns that it lacks, within the caller's transaction.
   * @param declared the app says so: types of untyped columns become what it says
   */
  async ensure(
    driver: Driver,
    name: string,
    columns: readonly DeviceColumn[],
    declared: boolean,
  ): Promise<DeviceTable> {
    const before = this.#byName.get(name);
    if (before && mergeColumns(before, columns, declared) === before.columns) return before;
    await this.reload(driver); // another tab may have been here first
    const held = this.#byName.get(name);
    if (!held) return this.#create(driver, name, columns);
    const merged = mergeColumns(held, columns, declared);
    if (merged === held.columns) return held;
    const key = held.key === "id" ? keyFor(merged) : held.key;
    const table: DeviceTable = { ...held, key, columns: merged };
    let sql = key === held.key ? "" : renameKeySql(held, key);
    for (const column of merged.slice(held.columns.length)) sql += addColumnSql(table, column);
    await driver.script(sql + triggersSql(table));
    await driver.execute("UPDATE lakesync_tables SET key = ?, columns = ? WHERE id = ?", [
      key,
      JSON.stringify(merged),
      table.id,
    ]);
    this.#put(table);
    return table;
  }

  async #create(driver: Driver, name: string, columns: readonly DeviceColumn[]): Promise<DeviceTable> {
    parseIdentifier("table name", name);
    for (const column of columns) parseIdentifier("column name", column.name);
    const id = 1 + Math.max(0, ...this.#byId.keys());
    const table: DeviceTable = { id, name, key: keyFor(columns), columns };
    await driver.script(createTableSql(table) + triggersSql(table));
    await driver.execute("INSERT INTO lakesync_tables (id, name, key, columns) VALUES (?, ?, ?, ?)", [
      id,
      name,
      table.key,
      JSON.stringify(columns),
    ]);
    this.#put(table);
    return table;
  }

  #put(table: DeviceTable): void {
    this.#byName.set(table.name, table);
    this.#byId.set(table.id, table);
  }
}

/** The table's columns with the new ones behind them; the very same array when nothing changes. */
function mergeColumns(held: DeviceTable, columns: readonly DeviceColumn[], declared: boolean): readonly DeviceColumn[] {
  const byName = new Map(held.columns.map((c) => [c.name.toLowerCase(), c]));
  let changed = false;
  for (const column of columns) {
    parseIdentifier("column name", column.name);
    const old = byName.get(column.name.toLowerCase());
    if (old && old.name !== column.name)
      throw new LakeSyncError(
        "BadConfig",
        `${held.name} has a column ${old.name}; ${column.name} would be the same to SQL.`,
      );
    if (old && (!declared || sameColumn(old, column))) continue;
    if (old && old.type !== "any" && old.type !== column.type)
      throw new LakeSyncError(
        "BadConfig",
        `Column ${held.name}.${column.name} is ${old.type} on this device and ${column.type} in the schema; give the new type a new name.`,
        { table: held.name, column: column.name },
      );
    byName.set(column.name.toLowerCase(), column);
    changed = true;
  }
  return changed ? [...byName.values()] : held.columns;
}

const sameColumn = (a: DeviceColumn, b: DeviceColumn): boolean =>
  a.type === b.type && a.nullable === b.nullable && a.initial === b.initial;

/**
 * Writes to synced tables by name and row id, values checked and brought into canonical form. What it runs is plain SQL;
 * triggers write the outbox, so that this and SQL of the app's own are one road (C1, C8).
 */
import { isRowId, LakeSyncError, type Scalar } from "../../schemas/index.ts";
import type { SqlValue } from "../db/driver.ts";
import type { LocalDB, Transaction } from "../db/local-db.ts";
import { type DeviceColumn, type DeviceTable, quote } from "../db/schema.ts";
import { parseInput, toStored } from "../db/values.ts";
import { badRowId } from "./rows.ts";

export type Values = Readonly<Record<string, unknown>>;

/** Rows bound to one statement at a time; bounds what is held in memory. */
const CHUNK_ROWS = 2000;

/** The writes of one transaction. */
export class TransactionTracker {
  readonly #tx: Transaction;

  /** @param tx an open transaction of the database */
  constructor(tx: Transaction) {
    this.#tx = tx;
  }

  /**
   * Inserts a row. Columns that are not named are NULL or have their default.
   * @throws LakeSyncError `Conflict` when the row is there, `UnknownColumn`, `WrongType`, `NotNull`, `BadRowId`
   */
  async insert(table: string, rowId: string, values: Values): Promise<void> {
    await this.insertMany(table, [[rowId, values]]);
  }

  /** Inserts many rows, as pairs of row id and values: an array, a Map, `Object.entries()`. */
  async insertMany(table: string, rows: Iterable<readonly [rowId: string, values: Values]>): Promise<void> {
    let shape: Shape | undefined;
    let chunk: SqlValue[][] = [];
    const flush = async () => {
      if (shape && chunk.length > 0) await this.#tx.runMany(shape.sql, chunk);
      chunk = [];
    };
    for (const [rowId, values] of rows) {
      checkRowId(rowId);
      const names = Object.keys(values);
      if (!shape || chunk.length >= CHUNK_ROWS || !shape.fits(names)) {
        await flush();
        if (!shape?.fits(names)) shape = shapeOf(await this.#table(table, names, values), "insert", names);
      }
      chunk.push(shape.bind(rowId, values));
    }
    await flush();
  }

  /**
   * Sets some columns of a row. Columns that keep their value are no edit.
   * @returns whether there is such a row
   */
  async update(table: string, rowId: string, values: Values): Promise<boolean> {
    checkRowId(rowId);
    const names = Object.keys(values);
    if (names.length === 0) return true;
    const shape = shapeOf(await this.#table(table, names, values), "update", names);
    return (await this.#tx.run(shape.sql, shape.bind(rowId, values))).changes > 0;
  }

  /** Deletes a row. @returns whether there was one */
  async delete(table: string, rowId: string): Promise<boolean> {
    const { key } = this.#tx.tables.get(table);
    const { changes } = await this.#tx.run(`DELETE FROM ${quote(table)} WHERE ${quote(key)} = ?`, [rowId]);
    return changes > 0;
  }

  /** The table, with columns for these values where nobody declared any. */
  async #table(name: string, names: readonly string[], values: Values): Promise<DeviceTable> {
    const held = this.#tx.tables.byName.get(name);
    if (held && knows(held, names)) return held;
    const missing = names.filter((column) => !held || !knows(held, [column]));
    if (held?.columns.some((c) => c.type !== "any" && c.type !== "boolean"))
      throw new LakeSyncError(
        "UnknownColumn",
        `Table ${name} has no column ${missing.join(", ")}; add it to the app's schema.`,
        { table: name, column: missing[0] as string },
      );
    const columns = missing.map((column): DeviceColumn => {
      const type = typeof values[column] === "boolean" ? "boolean" : "any";
      return { name: column, type, nullable: true };
    });
    return this.#tx.ensureTable(name, columns);
  }
}

/** Each call is one transaction; `transaction` makes many of them one. */
export class SyncTracker {
  readonly #db: LocalDB;

  constructor(db: LocalDB) {
    this.#db = db;
  }

  /** See `TransactionTracker.insert`. */
  insert(table: string, rowId: string, values: Values): Promise<void> {
    return this.#one(table, values, (t) => t.insert(table, rowId, values));
  }

  /** See `TransactionTracker.insertMany`. One transaction. */
  insertMany(table: string, rows: Iterable<readonly [rowId: string, values: Values]>): Promise<void> {
    return this.transaction((t) => t.insertMany(table, rows));
  }

  /** See `TransactionTracker.update`. */
  update(table: string, rowId: string, values: Values): Promise<boolean> {
    return this.#one(table, values, (t) => t.update(table, rowId, values));
  }

  /** See `TransactionTracker.delete`. */
  delete(table: string, rowId: string): Promise<boolean> {
    return this.#one(table, {}, (t) => t.delete(table, rowId));
  }

  /** A write of one row: one statement, unless its table or columns have to be made first. */
  async #one<T>(table: string, values: Values, body: (tracker: TransactionTracker) => Promise<T>): Promise<T> {
    const done = await this.#db.once(async (tx) => {
      const held = tx.tables.byName.get(table);
      return held && knows(held, Object.keys(values)) ? { value: await body(new TransactionTracker(tx)) } : undefined;
    });
    return done ? done.value : this.transaction(body);
  }

  /** All writes of `body`, or none when it throws. The second argument runs SQL in the same transaction. */
  transaction<T>(body: (tracker: TransactionTracker, tx: Transaction) => Promise<T>): Promise<T> {
    return this.#db.transaction((tx) => body(new TransactionTracker(tx), tx));
  }
}

/** A statement for rows that name the same columns in the same order. */
interface Shape {
  readonly sql: string;
  fits(names: readonly string[]): boolean;
  bind(rowId: string, values: Values): SqlValue[];
}

/** What was worked out of a table, which is another object once it changes. */
interface Known {
  readonly columns: ReadonlyMap<string, DeviceColumn>;
  readonly shapes: Map<string, Shape>;
}
const known = new WeakMap<DeviceTable, Known>();
/** Statements by columns that are kept for a table; apps have few. */
const SHAPES_MAX = 100;

function knownOf(table: DeviceTable): Known {
  const found = known.get(table) ?? { columns: new Map(table.columns.map((c) => [c.name, c])), shapes: new Map() };
  known.set(table, found);
  return found;
}

const knows = (table: DeviceTable, names: readonly string[]): boolean => {
  const { columns } = knownOf(table);
  return names.every((name) => columns.has(name));
};

function shapeOf(table: DeviceTable, kind: "insert" | "update", names: readonly string[]): Shape {
  const { shapes } = knownOf(table);
  const key = `${kind} ${names}`;
  const shape = shapes.get(key) ?? (kind === "insert" ? insertShape : updateShape)(table, names);
  if (shapes.size < SHAPES_MAX) shapes.set(key, shape);
  return shape;
}

function insertShape(table: DeviceTable, names: readonly string[]): Shape {
  const named = names.map((name) => columnOf(table, name));
  // Columns that came later have no DEFAULT in SQL (see addColumnSql), so their initial values are bound.
  const filled = table.columns.filter((c) => c.initial !== undefined && !names.includes(c.name));
  const initials = filled.map((c) => toStored(c.type, c.initial as Scalar));
  const all = [table.key, ...[...named, ...filled].map((c) => c.name)];
  const sql = `INSERT INTO ${quote(table.name)} (${all.map(quote).join(", ")}) VALUES (${all.map(() => "?").join(", ")})`;
  const bind = (rowId: string, values: Values) => [rowId, ...bindAll(table, named, values), ...initials];
  return { sql, fits: sameNames(names), bind };
}

function updateShape(table: DeviceTable, names: readonly string[]): Shape {
  const named = names.map((name) => columnOf(table, name));
  const sets = names.map((name) => `${quote(name)} = ?`).join(", ");
  const sql = `UPDATE ${quote(table.name)} SET ${sets} WHERE ${quote(table.key)} = ?`;
  const bind = (rowId: string, values: Values) => [...bindAll(table, named, values), rowId];
  return { sql, fits: sameNames(names), bind };
}

const sameNames = (names: readonly string[]) => (others: readonly string[]) =>
  others.length === names.length && others.every((name, at) => name === names[at]);

const bindAll = (table: DeviceTable, columns: readonly DeviceColumn[], values: Values): SqlValue[] =>
  columns.map((column) => bindValue(table, column, values[column.name]));

export function columnOf(table: DeviceTable, name: string): DeviceColumn {
  const column = knownOf(table).columns.get(name);
  if (column) return column;
  throw new LakeSyncError("UnknownColumn", `Table ${table.name} has no column ${JSON.stringify(name)}.`, {
    table: table.name,
    column: name,
  });
}

export function bindValue(table: DeviceTable, column: DeviceColumn, input: unknown): SqlValue {
  const scalar = parseInput(column.type, input ?? null);
  if (scalar.ok) return toStored(column.type, scalar.value as Scalar);
  throw new LakeSyncError(scalar.error.code, `${table.name}.${column.name}: ${scalar.error.message}`, {
    table: table.name,
    column: column.name,
  });
}

function checkRowId(rowId: string): void {
  if (!isRowId(rowId)) throw new LakeSyncError("BadRowId", badRowId(rowId));
}

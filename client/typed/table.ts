/** A synced table with the types of its columns: rows in and out as an app has them (Date, boolean, parsed JSON, bytes). */
import { type ColumnType, LakeSyncError, scalarToNative } from "../../schemas/index.ts";
import type { SqlValue } from "../db/driver.ts";
import type { LocalDB } from "../db/local-db.ts";
import { type DeviceTable, quote } from "../db/schema.ts";
import { fromStored } from "../db/values.ts";
import type { LiveOptions } from "../live/live.ts";
import { randomName } from "../platform.ts";
import { bindValue, columnOf, type SyncTracker } from "../sync/tracker.ts";
import type { Columns, InsertOf, RowOf, UpdateOf } from "./columns.ts";

/** A column, or a column and a direction. */
type Order<C extends Columns> = keyof RowOf<C> | readonly [column: keyof RowOf<C>, direction: "asc" | "desc"];

export interface FindOptions<C extends Columns> {
  /** One order, or several: `"title"`, `["due", "desc"]`, `["done", ["due", "desc"], "title"]`. */
  readonly orderBy?: Order<C> | readonly Order<C>[];
  readonly limit?: number;
  readonly offset?: number;
}

/** Rows with these very values; null asks for NULL. */
export type Where<C extends Columns> = Partial<RowOf<C>>;

export class Table<C extends Columns> {
  readonly name: string;
  readonly #db: LocalDB;
  readonly #tracker: SyncTracker;

  constructor(name: string, db: LocalDB, tracker: SyncTracker) {
    this.name = name;
    this.#db = db;
    this.#tracker = tracker;
  }

  /** Inserts a row, under a random id unless it names one. @returns the row's id */
  async insert(row: InsertOf<C>): Promise<string> {
    const [id, values] = this.#split(row);
    await this.#tracker.insert(this.name, id, values);
    return id;
  }

  /** Inserts many rows in one transaction. @returns their ids, in order */
  async insertMany(rows: readonly InsertOf<C>[]): Promise<string[]> {
    const pairs = rows.map((row) => this.#split(row));
    await this.#tracker.insertMany(this.name, pairs);
    return pairs.map(([id]) => id);
  }

  /** Sets some columns of a row. @returns whether there is such a row */
  update(id: string, values: UpdateOf<C>): Promise<boolean> {
    return this.#tracker.update(this.name, id, values);
  }

  /** @returns whether there was such a row */
  delete(id: string): Promise<boolean> {
    return this.#tracker.delete(this.name, id);
  }

  async get(id: string): Promise<RowOf<C> | undefined> {
    const { sql, params } = this.#select({ [this.#table.key]: id } as Where<C>, {});
    return (await this.#db.query(sql, params)).map(this.#native)[0];
  }

  async find(where: Where<C> = {}, options: FindOptions<C> = {}): Promise<RowOf<C>[]> {
    const { sql, params } = this.#select(where, options);
    return (await this.#db.query(sql, params)).map(this.#native);
  }

  /** Gives the rows now, and again after each commit that touches the table (C5). @returns a function that ends it */
  live(where: Where<C>, onRows: (rows: RowOf<C>[]) => void, options: FindOptions<C> & LiveOptions = {}): () => void {
    const { sql, params } = this.#select(where, options);
    return this.#db.live(sql, params, (rows) => onRows(rows.map(this.#native)), options);
  }

  get #table(): DeviceTable {
    const table = this.#db.tables.get(this.name);
    if (table) return table;
    throw new LakeSyncError("UnknownTable", `The schema has no table ${JSON.stringify(this.name)}.`);
  }

  #split(row: Readonly<Record<string, unknown>>): [id: string, values: Record<string, unknown>] {
    const { key } = this.#table;
    const { [key]: id, ...values } = row;
    return [id === undefined ? randomName(this.#db.platform.random) : (id as string), values];
  }

  #select(where: Where<C>, { orderBy, limit, offset }: FindOptions<C>): { sql: string; params: SqlValue[] } {
    const params: SqlValue[] = [];
    const conditions = Object.entries(where).map(([name, value]) => {
      params.push(this.#bind(name, value));
      return `${quote(name)} IS ?`;
    });
    let sql = `SELECT * FROM ${quote(this.name)}`;
    if (conditions.length > 0) sql += ` WHERE ${conditions.join(" AND ")}`;
    const orders = ordersOf(orderBy).map(([column, direction]) => `${quote(column)} ${direction}`);
    if (orders.length > 0) sql += ` ORDER BY ${orders.join(", ")}`;
    if (limit !== undefined || offset !== undefined) {
      sql += " LIMIT ? OFFSET ?";
      params.push(limit ?? -1, offset ?? 0);
    }
    return { sql, params };
  }

  #bind(name: string, value: unknown): SqlValue {
    const table = this.#table;
    return name === table.key ? (value as string) : bindValue(table, columnOf(table, name), value);
  }

  readonly #native = (row: Record<string, SqlValue>): RowOf<C> => {
    const { key, columns } = this.#table;
    const native: Record<string, unknown> = { [key]: row[key] };
    for (const { name, type } of columns) {
      const scalar = fromStored(type, row[name] ?? null);
      native[name] = type === "any" ? scalar : scalarToNative(type as ColumnType, scalar);
    }
    return native as RowOf<C>;
  };
}

function ordersOf(orderBy: unknown): [column: string, direction: "ASC" | "DESC"][] {
  if (orderBy === undefined) return [];
  if (!Array.isArray(orderBy)) return [[String(orderBy), "ASC"]];
  const [column, direction] = orderBy;
  const isOne = orderBy.length === 2 && (direction === "asc" || direction === "desc") && !Array.isArray(column);
  return isOne ? [[String(column), direction === "desc" ? "DESC" : "ASC"]] : orderBy.flatMap(ordersOf);
}

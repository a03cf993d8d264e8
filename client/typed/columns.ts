/**
 * Column builders, and what TypeScript makes of them.
 *
 *   const schema = defineTable({ todos: { title: text().notNull(), done: boolean().notNull().default(false), due: timestamp() } });
 *
 *   RowOf      { id: string; title: string; done: boolean; due: Date | null }
 *   InsertOf   { id?: string; title: string; done?: boolean; due?: Date | string | null }
 *   UpdateOf   any of the columns
 *
 * The row id is called `id`, or `_id` in a table that has a column `id` of its own.
 */
import { type ColumnType, parseValue, type Scalar, unwrap } from "../../schemas/index.ts";
import type { ColumnSpec } from "../db/schema.ts";

/** What a column gives and takes. `Null` is null for a nullable column, `Optional` true when an insert may leave it out. */
export class Column<
  Out,
  In,
  Null extends null = null,
  HasDefault extends boolean = false,
  Optional extends boolean = true,
> implements ColumnSpec
{
  readonly type: ColumnType;
  readonly nullable: boolean;
  /** In canonical form; an insert that does not name the column gets it. */
  readonly initial: Scalar | undefined;
  /** Never there: carries the types. */
  declare readonly $types: {
    readonly out: Out;
    readonly in: In;
    readonly null: Null;
    readonly hasDefault: HasDefault;
    readonly optional: Optional;
  };

  constructor(type: ColumnType, nullable = true, initial?: Scalar) {
    this.type = type;
    this.nullable = nullable;
    this.initial = initial;
  }

  /** NULL is refused, on this device and by the gateway. */
  notNull(): Column<Out, In, never, HasDefault, HasDefault> {
    return new Column(this.type, false, this.initial);
  }

  /** Value of a column that an insert leaves out. @throws LakeSyncError `WrongType` */
  default(value: In): Column<Out, In, Null, true, true> {
    return new Column(this.type, this.nullable, unwrap(parseValue(this.type, value)));
  }
}

export const text = () => new Column<string, string>("string");
/** A whole number of 64 bits; read as a bigint beyond 2^53. */
export const integer = () => new Column<number | bigint, number | bigint>("integer");
export const number = () => new Column<number, number>("number");
export const boolean = () => new Column<boolean, boolean>("boolean");
/** To the microsecond; a `Date` holds milliseconds. */
export const timestamp = () => new Column<Date, Date | string>("timestamp");
/** Any JSON value; merged as a whole. */
export const json = <T = unknown>() => new Column<T, T>("json");
export const bytes = () => new Column<Uint8Array, Uint8Array>("bytes");

// biome-ignore lint/suspicious/noExplicitAny: the types of a column do not matter here
type AnyColumn = Column<any, any, any, any, any>;
export type Columns = Readonly<Record<string, AnyColumn>>;
export type Schema = Readonly<Record<string, Columns>>;

/** The tables of an app, to hand to `createClient` or `LocalDB.open`. */
export const defineTable = <const S extends Schema>(tables: S): S => tables;

type Types<C> = C extends { readonly $types: infer T } ? T : never;
type Out<C> = Types<C> extends { out: infer O; null: infer N } ? O | N : never;
type In<C> = Types<C> extends { in: infer I; null: infer N } ? I | N : never;
type OptionalKeys<C extends Columns> = {
  [K in keyof C]: Types<C[K]> extends { optional: true } ? K : never;
}[keyof C];
type RequiredKeys<C extends Columns> = Exclude<keyof C, OptionalKeys<C>>;
type Show<T> = { [K in keyof T]: T[K] } & {};

/** Name of the row id in a table's rows. */
type KeyOf<C extends Columns> = "id" extends keyof C ? "_id" : "id";

export type RowOf<C extends Columns> = Show<
  { readonly [K in KeyOf<C>]: string } & { readonly [K in keyof C]: Out<C[K]> }
>;

export type InsertOf<C extends Columns> = Show<
  { readonly [K in KeyOf<C>]?: string } & { readonly [K in RequiredKeys<C>]: In<C[K]> } & {
    readonly [K in OptionalKeys<C>]?: In<C[K]>;
  }
>;

export type UpdateOf<C extends Columns> = Show<{ readonly [K in keyof C]?: In<C[K]> }>;

/**
 * Avro schemas as encoders and decoders. Reading goes by the writer's schema, so that fields which this code does not
 * know are read and ignored; names give the keys of the objects that come out.
 *
 *   record -> object   array -> array   map -> Map   union with null -> value or null   bytes, fixed -> Uint8Array
 *   long -> number, or bigint beyond 2^53
 *   array with logicalType "map" (Iceberg's maps with keys that are no strings, spec "Avro") -> Map
 */
import { LakeSyncError } from "../../schemas/index.ts";
import type { AvroReader, AvroWriter, Long } from "./binary.ts";

export type AvroSchema = string | AvroSchemaObject | readonly AvroSchema[];
export interface AvroSchemaObject {
  readonly type: AvroSchema;
  readonly name?: string;
  readonly namespace?: string;
  readonly fields?: readonly AvroField[];
  readonly items?: AvroSchema;
  readonly values?: AvroSchema;
  readonly symbols?: readonly string[];
  readonly size?: number;
  readonly logicalType?: string;
  readonly [attribute: string]: unknown;
}
export interface AvroField {
  readonly name: string;
  readonly type: AvroSchema;
  readonly default?: unknown;
  readonly [attribute: string]: unknown;
}

export interface AvroCodec {
  write(out: AvroWriter, value: unknown): void;
  read(from: AvroReader): unknown;
}

type Named = Map<string, AvroCodec>;
type Dict = Readonly<Record<string, unknown>>;

const PRIMITIVES: Readonly<Record<string, AvroCodec>> = {
  null: { write() {}, read: () => null },
  boolean: { write: (out, v) => out.boolean(v as boolean), read: (from) => from.boolean() },
  int: { write: (out, v) => out.long(v as number), read: (from) => from.int() },
  long: { write: (out, v) => out.long(v as Long), read: (from) => from.long() },
  float: { write: (out, v) => out.float(v as number), read: (from) => from.float() },
  double: { write: (out, v) => out.double(v as number), read: (from) => from.double() },
  bytes: { write: (out, v) => out.bytes(v as Uint8Array), read: (from) => from.bytes() },
  string: { write: (out, v) => out.string(v as string), read: (from) => from.string() },
};

/** @throws LakeSyncError `Corrupt` for a schema that is none */
export function avroCodec(schema: AvroSchema, named: Named = new Map()): AvroCodec {
  if (typeof schema === "string") {
    const codec = PRIMITIVES[schema] ?? named.get(schema);
    if (!codec) throw new LakeSyncError("Corrupt", `An Avro schema names ${JSON.stringify(schema)}, which is no type.`);
    return codec;
  }
  if (Array.isArray(schema))
    return unionCodec(
      schema.map((branch: AvroSchema) => avroCodec(branch, named)),
      schema,
    );
  const { type, logicalType } = schema as AvroSchemaObject;
  switch (type) {
    case "record":
      return recordCodec(schema as AvroSchemaObject, named);
    case "array":
      return arrayCodec(avroCodec((schema as AvroSchemaObject).items ?? "", named), logicalType === "map");
    case "map":
      return mapCodec(avroCodec((schema as AvroSchemaObject).values ?? "", named));
    case "fixed":
      return name(schema as AvroSchemaObject, named, fixedCodec((schema as AvroSchemaObject).size ?? 0));
    case "enum":
      return name(schema as AvroSchemaObject, named, enumCodec((schema as AvroSchemaObject).symbols ?? []));
    default:
      return avroCodec(type, named);
  }
}

function name(schema: AvroSchemaObject, named: Named, codec: AvroCodec): AvroCodec {
  if (schema.name !== undefined) {
    named.set(schema.name, codec);
    if (schema.namespace !== undefined) named.set(`${schema.namespace}.${schema.name}`, codec);
  }
  return codec;
}

function recordCodec(schema: AvroSchemaObject, named: Named): AvroCodec {
  const fields: { name: string; codec: AvroCodec }[] = [];
  const codec = name(schema, named, {
    write(out, value) {
      for (const field of fields) field.codec.write(out, (value as Dict)[field.name] ?? null);
    },
    read(from) {
      const record: Record<string, unknown> = {};
      for (const field of fields) record[field.name] = field.codec.read(from);
      return record;
    },
  });
  for (const field of schema.fields ?? []) fields.push({ name: field.name, codec: avroCodec(field.type, named) });
  return codec;
}

/** Arrays and maps come in blocks; a negative count is followed by the block's size in bytes. */
function* blocks(from: AvroReader): Generator<void> {
  for (let count = from.int(); count !== 0; count = from.int()) {
    if (count < 0) {
      count = -count;
      from.long();
    }
    for (; count > 0; count--) yield;
  }
}

function arrayCodec(item: AvroCodec, isMap: boolean): AvroCodec {
  return {
    write(out, value) {
      const items = isMap ? [...(value as Map<unknown, unknown>)].map(([key, of]) => ({ key, value: of })) : value;
      const list = items as readonly unknown[];
      if (list.length > 0) out.long(list.length);
      for (const each of list) item.write(out, each);
      out.long(0);
    },
    read(from) {
      const items: unknown[] = [];
      for (const _ of blocks(from)) items.push(item.read(from));
      return isMap ? new Map(items.map((each) => [(each as Dict).key, (each as Dict).value])) : items;
    },
  };
}

function mapCodec(of: AvroCodec): AvroCodec {
  return {
    write(out, value) {
      const map = value as ReadonlyMap<string, unknown>;
      if (map.size > 0) out.long(map.size);
      for (const [key, each] of map) {
        out.string(key);
        of.write(out, each);
      }
      out.long(0);
    },
    read(from) {
      const map = new Map<string, unknown>();
      for (const _ of blocks(from)) map.set(from.string(), of.read(from));
      return map;
    },
  };
}

function unionCodec(branches: readonly AvroCodec[], schema: readonly AvroSchema[]): AvroCodec {
  const absent = schema.indexOf("null");
  const present = schema.findIndex((branch) => branch !== "null");
  return {
    write(out, value) {
      const at = value === null || value === undefined ? absent : present;
      out.long(at);
      (branches[at] as AvroCodec).write(out, value);
    },
    read(from) {
      const branch = branches[from.int()];
      if (!branch) throw new LakeSyncError("Corrupt", "An Avro file names a branch that its union does not have.");
      return branch.read(from);
    },
  };
}

const fixedCodec = (size: number): AvroCodec => ({
  write: (out, value) => out.fixed(value as Uint8Array),
  read: (from) => from.fixed(size),
});

const enumCodec = (symbols: readonly string[]): AvroCodec => ({
  write: (out, value) => out.long(symbols.indexOf(value as string)),
  read: (from) => symbols[from.int()],
});

/**
 * Protobuf's binary encoding (https://protobuf.dev/programming-guides/encoding/) for the few messages that a client
 * speaks: the runtime that servers use would be half of what a browser downloads. A test compares the two on random messages.
 *
 * A message is described by its fields: number, type, and whether it repeats. Fields that are absent or have their
 * default value are not written; those that are unknown are skipped.
 */
import { LakeSyncError } from "../../schemas/index.ts";

type Scalar = "string" | "uint32" | "uint64" | "bool" | "bytes";
interface Field {
  readonly no: number;
  readonly type: Scalar | Spec;
  readonly repeated?: boolean;
  /** A message that may be absent: a case of a oneof. */
  readonly optional?: boolean;
}
export interface Spec {
  readonly [name: string]: Field;
}

type Value<T> = T extends "string"
  ? string
  : T extends "uint32"
    ? number
    : T extends "uint64"
      ? bigint
      : T extends "bool"
        ? boolean
        : T extends "bytes"
          ? Uint8Array
          : T extends Spec
            ? Shape<T>
            : never;
/** A message of a spec, as an object. */
export type Shape<S extends Spec> = {
  [K in keyof S]: S[K]["repeated"] extends true
    ? Value<S[K]["type"]>[]
    : S[K]["optional"] extends true
      ? Value<S[K]["type"]> | undefined
      : Value<S[K]["type"]>;
};

const utf8 = new TextEncoder();
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function encode<S extends Spec>(spec: S, message: Partial<Shape<S>>): Uint8Array {
  const out = new Writer();
  writeMessage(out, spec, message);
  return out.finish();
}

function writeMessage(out: Writer, spec: Spec, message: Readonly<Record<string, unknown>>): void {
  for (const name in spec) {
    const field = spec[name] as Field;
    const value = message[name];
    if (field.repeated) for (const item of (value as unknown[] | undefined) ?? []) writeField(out, field, item, true);
    else if (value !== undefined) writeField(out, field, value, field.optional === true);
  }
}

function writeField(out: Writer, { no, type }: Field, value: unknown, always: boolean): void {
  if (typeof type === "object") {
    const inner = new Writer();
    writeMessage(inner, type, value as Record<string, unknown>);
    out.block(no, inner.finish());
  } else if (type === "string" || type === "bytes") {
    const bytes = type === "string" ? utf8.encode(value as string) : (value as Uint8Array);
    if (always || bytes.length > 0) out.block(no, bytes);
  } else if (always || value) {
    out.varint(no << 3);
    if (type === "uint64") out.bigVarint(value as bigint);
    else out.varint(Number(value));
  }
}

/** @throws LakeSyncError `Unavailable` for bytes that are no such message: something on the way answered in the gateway's place */
export function decode<S extends Spec>(spec: S, bytes: Uint8Array): Shape<S> {
  try {
    return readMessage(spec, bytes) as Shape<S>;
  } catch (cause) {
    throw new LakeSyncError("Unavailable", `The gateway's answer is malformed: ${cause}`, {}, { cause });
  }
}

const DEFAULTS = { string: "", uint32: 0, uint64: 0n, bool: false, bytes: new Uint8Array(0) };

function readMessage(spec: Spec, bytes: Uint8Array): Record<string, unknown> {
  const message: Record<string, unknown> = {};
  const fields = new Map<number, [string, Field]>();
  for (const name in spec) {
    const field = spec[name] as Field;
    fields.set(field.no, [name, field]);
    message[name] = field.repeated ? [] : typeof field.type === "object" ? undefined : DEFAULTS[field.type];
  }
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 63n) throw new Error("a number that does not end");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const skip = (count: number): Uint8Array => {
    const block = bytes.subarray(at, at + count);
    at += count;
    if (at > bytes.length) throw new Error("it is cut off");
    return block;
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const wire = tag & 7;
    const [name, field] = fields.get(tag >>> 3) ?? [];
    let value: unknown;
    if (wire === 0) {
      const number = varint();
      value = field?.type === "uint64" ? number : field?.type === "bool" ? number !== 0n : Number(number);
    } else if (wire === 2) {
      const block = skip(Number(varint()));
      if (field === undefined) continue;
      const { type } = field;
      value = typeof type === "object" ? readMessage(type, block) : type === "string" ? text.decode(block) : block;
    } else if (wire === 1 || wire === 5) {
      skip(wire === 1 ? 8 : 4);
      continue;
    } else throw new Error(`wire type ${wire}`);
    if (name === undefined) continue;
    if (field?.repeated) (message[name] as unknown[]).push(value);
    else message[name] = value;
  }
  return message;
}

/** Bytes that grow. */
class Writer {
  #bytes = new Uint8Array(256);
  #length = 0;

  #room(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }

  /** @param value up to 2^53 */
  varint(value: number): void {
    this.#room(10);
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#length++] = (rest % 0x80) + 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  bigVarint(value: bigint): void {
    this.#room(10);
    let rest = value;
    while (rest > 0x7fn) {
      this.#bytes[this.#length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.#length++] = Number(rest);
  }

  block(no: number, bytes: Uint8Array): void {
    this.varint((no << 3) | 2);
    this.varint(bytes.length);
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

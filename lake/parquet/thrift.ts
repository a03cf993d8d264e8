/**
 * Thrift's compact protocol as a tree of values, whatever they mean: enough to take a Parquet footer apart and put it
 * together again without knowing all its fields (Thrift specification, "Thrift Compact protocol encoding").
 *
 *   struct   fields in order: (delta of the id << 4 | type), value; 0 ends it
 *   list     (size << 4 | type of its elements), elements; size 15 means that a varint follows
 */
import { LakeSyncError } from "../../schemas/index.ts";

const TRUE = 1;
const FALSE = 2;
const BYTE = 3;
const I16 = 4;
export const I32 = 5;
export const I64 = 6;
const DOUBLE = 7;
const BINARY = 8;
const LIST = 9;
const SET = 10;
const STRUCT = 12;

/** Fields by id. */
export type ThriftStruct = Map<number, ThriftField>;
export interface ThriftField {
  readonly type: number;
  readonly value: ThriftValue;
}
export interface ThriftList {
  readonly type: number;
  readonly items: ThriftValue[];
}
/** Integers are bigint; of doubles and binaries the bytes are kept. */
type ThriftValue = boolean | bigint | Uint8Array | ThriftList | ThriftStruct;

/** @returns the struct at the start of the bytes. Throws `Corrupt` where there is none. */
export function decodeThrift(bytes: Uint8Array): ThriftStruct {
  return new Decoder(bytes).struct();
}

class Decoder {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  struct(): ThriftStruct {
    const fields: ThriftStruct = new Map();
    for (let id = 0; ; ) {
      const head = this.#byte();
      if (head === 0) return fields;
      const type = head & 15;
      id = head >> 4 === 0 ? Number(zigzagOff(this.#varint())) : id + (head >> 4);
      const value = type === TRUE || type === FALSE ? type === TRUE : this.#value(type);
      fields.set(id, { type, value });
    }
  }

  #value(type: number): ThriftValue {
    switch (type) {
      case TRUE:
      case FALSE:
        return this.#byte() === TRUE; // as an element; as a field the type is the value
      case BYTE:
        return BigInt(this.#byte());
      case I16:
      case I32:
      case I64:
        return zigzagOff(this.#varint());
      case DOUBLE:
        return this.#take(8);
      case BINARY:
        return this.#take(Number(this.#varint()));
      case LIST:
      case SET:
        return this.#list();
      case STRUCT:
        return this.struct();
      default:
        throw corrupt(`type ${type} is unknown`);
    }
  }

  #list(): ThriftList {
    const head = this.#byte();
    const size = head >> 4 === 15 ? Number(this.#varint()) : head >> 4;
    const type = head & 15;
    return { type, items: Array.from({ length: size }, () => this.#value(type)) };
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw corrupt("it ends too early");
    return byte;
  }

  #take(length: number): Uint8Array {
    if (this.#at + length > this.#bytes.length) throw corrupt("it ends too early");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #varint(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  }
}

export function encodeThrift(struct: ThriftStruct): Uint8Array {
  const out: number[] = [];
  writeStruct(out, struct);
  return Uint8Array.from(out);
}

function writeStruct(out: number[], struct: ThriftStruct): void {
  let last = 0;
  for (const [id, { type, value }] of [...struct].sort(([a], [b]) => a - b)) {
    const delta = id - last;
    if (delta < 16) out.push((delta << 4) | type);
    else {
      out.push(type);
      writeVarint(out, zigzag(BigInt(id)));
    }
    last = id;
    if (type !== TRUE && type !== FALSE) writeValue(out, type, value);
  }
  out.push(0);
}

function writeValue(out: number[], type: number, value: ThriftValue): void {
  switch (type) {
    case TRUE:
    case FALSE:
      out.push(value ? TRUE : FALSE);
      break;
    case BYTE:
      out.push(Number(value));
      break;
    case I16:
    case I32:
    case I64:
      writeVarint(out, zigzag(value as bigint));
      break;
    case BINARY:
      writeVarint(out, BigInt((value as Uint8Array).length));
      for (const byte of value as Uint8Array) out.push(byte);
      break;
    case DOUBLE:
      for (const byte of value as Uint8Array) out.push(byte);
      break;
    case LIST:
    case SET: {
      const { type: of, items } = value as ThriftList;
      out.push((Math.min(items.length, 15) << 4) | of);
      if (items.length >= 15) writeVarint(out, BigInt(items.length));
      for (const item of items) writeValue(out, of, item);
      break;
    }
    case STRUCT:
      writeStruct(out, value as ThriftStruct);
      break;
  }
}

function writeVarint(out: number[], value: bigint): void {
  let rest = value;
  for (; rest >= 128n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  out.push(Number(rest));
}

const zigzag = (value: bigint): bigint => BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
const zigzagOff = (value: bigint): bigint => (value >> 1n) ^ -(value & 1n);

const corrupt = (why: string) => new LakeSyncError("Corrupt", `A Parquet footer cannot be read: ${why}.`);

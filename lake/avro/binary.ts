/** Avro's binary encoding of primitives (Avro 1.11 specification, "Binary Encoding"). */
import { LakeSyncError } from "../../schemas/index.ts";

/** A whole number: `number` where it is safe, `bigint` beyond 2^53, so that no snapshot id is rounded. */
export type Long = number | bigint;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class AvroWriter {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #end = 0;

  get length(): number {
    return this.#end;
  }

  /** What was written so far. */
  done(): Uint8Array {
    return this.#bytes.slice(0, this.#end);
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#end + bytes));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  #byte(value: number): void {
    this.#bytes[this.#end++] = value;
  }

  boolean(value: boolean): void {
    this.#reserve(1);
    this.#byte(value ? 1 : 0);
  }

  /** Zigzag, seven bits a byte, least significant first. */
  long(value: Long): void {
    this.#reserve(10);
    if (typeof value === "number" && value >= -0x40000000 && value < 0x40000000) {
      let rest = (value << 1) ^ (value >> 31);
      for (; rest > 0x7f; rest >>>= 7) this.#byte((rest & 0x7f) | 0x80);
      this.#byte(rest);
      return;
    }
    const whole = BigInt(value);
    let rest = BigInt.asUintN(64, (whole << 1n) ^ (whole >> 63n));
    for (; rest > 0x7fn; rest >>= 7n) this.#byte(Number(rest & 0x7fn) | 0x80);
    this.#byte(Number(rest));
  }

  float(value: number): void {
    this.#reserve(4);
    this.#view.setFloat32(this.#end, value, true);
    this.#end += 4;
  }

  double(value: number): void {
    this.#reserve(8);
    this.#view.setFloat64(this.#end, value, true);
    this.#end += 8;
  }

  fixed(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  bytes(bytes: Uint8Array): void {
    this.long(bytes.length);
    this.fixed(bytes);
  }

  string(text: string): void {
    this.bytes(encoder.encode(text));
  }
}

export class AvroReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  #take(bytes: number): number {
    const start = this.#at;
    if (bytes < 0 || start + bytes > this.#bytes.length)
      throw new LakeSyncError("Corrupt", "An Avro file ends before its data does.");
    this.#at += bytes;
    return start;
  }

  boolean(): boolean {
    return this.#bytes[this.#take(1)] === 1;
  }

  long(): Long {
    let low = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#bytes[this.#take(1)] as number;
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (low >>> 1) ^ -(low & 1);
    }
    let whole = BigInt(low);
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#take(1)] as number;
      whole |= BigInt(byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      const value = BigInt.asIntN(64, (whole >> 1n) ^ -(whole & 1n));
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : value;
    }
    throw new LakeSyncError("Corrupt", "An Avro file holds a number of more than 64 bits.");
  }

  /** A count or an index, which is never large. */
  int(): number {
    return Number(this.long());
  }

  float(): number {
    return this.#view.getFloat32(this.#take(4), true);
  }

  double(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  fixed(size: number): Uint8Array {
    const start = this.#take(size);
    return this.#bytes.slice(start, start + size);
  }

  bytes(): Uint8Array {
    return this.fixed(this.int());
  }

  string(): string {
    const size = this.int();
    const start = this.#take(size);
    return decoder.decode(this.#bytes.subarray(start, start + size));
  }
}

/**
 * The id of a delta (M4): SHA-256 over one canonical encoding of (clientId, hlc, table, rowId, columns).
 *
 *   "lakesync.delta.1" 0x00
 *   text(clientId)  8 bytes of hlc, big endian  text(table)  text(rowId)  u32 number of columns
 *   for each column, by name in code-point order:  text(name)  value
 *
 *   text   u32 length in bytes, big endian, then UTF-8
 *   value  0x00 null | 0x01 false | 0x02 true | 0x03 and 8 bytes of IEEE 754, big endian | 0x04 and text
 *
 * Values are in canonical form (schemas/value.ts). Test vectors: core/fixtures/delta-ids.json.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { compareCodePoints, type Delta, type DeltaId, type Scalar } from "../schemas/index.ts";

const utf8 = new TextEncoder();
const MAGIC = utf8.encode("lakesync.delta.1\0");

type Identified = Pick<Delta, "clientId" | "hlc" | "table" | "rowId" | "columns">;

export function deltaId(delta: Identified): DeltaId {
  return bytesToHex(sha256(encodeDelta(delta))) as DeltaId;
}

/** The canonical encoding itself, for other implementations to compare with. */
export function encodeDelta(delta: Identified): Uint8Array {
  const out = new Writer();
  out.bytes(MAGIC);
  out.text(delta.clientId);
  out.u32(Number.parseInt(delta.hlc.slice(0, 8), 16));
  out.u32(Number.parseInt(delta.hlc.slice(8), 16));
  out.text(delta.table);
  out.text(delta.rowId);
  const names = Object.keys(delta.columns).sort(compareCodePoints);
  out.u32(names.length);
  for (const name of names) {
    out.text(name);
    out.value(delta.columns[name] as Scalar);
  }
  return out.done();
}

class Writer {
  #buffer = new Uint8Array(256);
  #view = new DataView(this.#buffer.buffer);
  #at = 0;

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(this.#buffer.length * 2, this.#at + bytes));
    larger.set(this.#buffer);
    this.#buffer = larger;
    this.#view = new DataView(larger.buffer);
  }

  bytes(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  u32(value: number): void {
    this.#room(4);
    this.#view.setUint32(this.#at, value);
    this.#at += 4;
  }

  text(text: string): void {
    this.#room(4 + text.length * 3);
    const { written } = utf8.encodeInto(text, this.#buffer.subarray(this.#at + 4));
    this.u32(written);
    this.#at += written;
  }

  value(value: Scalar): void {
    this.#room(9);
    if (value === null) this.#buffer[this.#at++] = 0;
    else if (typeof value === "boolean") this.#buffer[this.#at++] = value ? 2 : 1;
    else if (typeof value === "number") {
      this.#buffer[this.#at++] = 3;
      this.#view.setFloat64(this.#at, value);
      this.#at += 8;
    } else {
      this.#buffer[this.#at++] = 4;
      this.text(value);
    }
  }

  done(): Uint8Array {
    return this.#buffer.subarray(0, this.#at);
  }
}

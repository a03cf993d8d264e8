/**
 * Values in manifests: single-value serialisation (Iceberg spec, Appendix D), and bounds cut short.
 *
 *   lower  the first 16 code points (bytes, for binary): never greater than the value
 *   upper  the same, its last code point one higher: never less than the value; none where no code point can grow
 */
import type { Bound, LakeType } from "../parquet/index.ts";

/** What Iceberg's `write.metadata.metrics.default = truncate(16)` means. Code points, or bytes of binary. */
export const BOUND_CHARS = 16;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

export function encodeBound(type: LakeType, value: Bound): Uint8Array {
  switch (type) {
    case "string":
      return encoder.encode(value as string);
    case "binary":
      return value as Uint8Array;
    case "boolean":
      return new Uint8Array([value ? 1 : 0]);
    case "double": {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setFloat64(0, value as number, true);
      return bytes;
    }
    case "long":
    case "timestamptz": {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigInt64(0, value as bigint, true);
      return bytes;
    }
  }
}

export const decodeLong = (bytes: Uint8Array): bigint => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return bytes.byteLength === 4 ? BigInt(view.getInt32(0, true)) : view.getBigInt64(0, true);
};

export const decodeString = (bytes: Uint8Array): string => decoder.decode(bytes);

/** @returns undefined when there is nothing short that is not less */
export function cutLower(value: Bound): Bound {
  if (typeof value === "string") return firstCodePoints(value);
  return value instanceof Uint8Array ? value.slice(0, BOUND_CHARS) : value;
}

export function cutUpper(value: Bound): Bound | undefined {
  if (typeof value === "string") {
    const cut = firstCodePoints(value);
    return cut.length === value.length ? value : nextString(cut);
  }
  if (value instanceof Uint8Array) return value.length <= BOUND_CHARS ? value : nextBytes(value.slice(0, BOUND_CHARS));
  return value;
}

function firstCodePoints(text: string): string {
  let end = 0;
  for (let points = 0; points < BOUND_CHARS && end < text.length; points++)
    end += (text.codePointAt(end) as number) > 0xffff ? 2 : 1;
  return text.slice(0, end);
}

/** The least string of no more code points that is greater than all that begin with `text`. */
function nextString(text: string): string | undefined {
  const points = Array.from(text, (char) => char.codePointAt(0) as number);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last === 0x10ffff) continue;
    const next = last === 0xd7ff ? 0xe000 : last + 1; // surrogates are no characters
    return String.fromCodePoint(...points, next);
  }
  return undefined;
}

function nextBytes(bytes: Uint8Array): Uint8Array | undefined {
  for (let at = bytes.length - 1; at >= 0; at--) {
    if (bytes[at] === 0xff) continue;
    const next = bytes.slice(0, at + 1);
    next[at] = (next[at] as number) + 1;
    return next;
  }
  return undefined;
}

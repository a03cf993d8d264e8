/**
 * Which ids may be among some thousands (a Bloom filter): 24 bits and 16 probes an id, so that of 100,000 others one is taken for
 * one of them. Bits are where two hashes of the id lead, the second as often as the probe's number.
 */

const BITS_PER_ID = 24;
const PROBES = 16;

const hashes = new Uint32Array(2);

/** Two hashes of 32 bits, over UTF-16 units. Fixed for ever: filters are kept. */
function hash(id: string): void {
  let x = 0x9e3779b9;
  let y = 0x85ebca6b;
  for (let at = 0; at < id.length; at++) {
    const unit = id.charCodeAt(at);
    x = Math.imul(x ^ unit, 0xcc9e2d51);
    x = (x << 15) | (x >>> 17);
    y = Math.imul(y ^ unit, 0x1b873593);
    y = (y << 13) | (y >>> 19);
  }
  x = Math.imul(x ^ (x >>> 16) ^ id.length, 0x85ebca6b);
  y = Math.imul(y ^ (y >>> 15) ^ x, 0xc2b2ae35);
  hashes[0] = x ^ (x >>> 13);
  hashes[1] = (y ^ (y >>> 16)) | 1;
}

export function filterOf(ids: readonly string[]): Uint8Array {
  const bits = new Uint8Array(Math.max(64, Math.ceil((ids.length * BITS_PER_ID) / 8)));
  const size = bits.length * 8;
  for (const id of ids) {
    hash(id);
    let at = hashes[0] as number;
    for (let probe = 0; probe < PROBES; probe++) {
      const bit = at % size;
      bits[bit >>> 3] = (bits[bit >>> 3] as number) | (1 << (bit & 7));
      at = (at + (hashes[1] as number)) >>> 0;
    }
  }
  return bits;
}

/** Tells of one id whether it may be in filters: it is hashed once for all of them. */
export function lookFor(id: string): (bits: Uint8Array) => boolean {
  hash(id);
  const [start = 0, step = 0] = hashes;
  return (bits) => {
    const size = bits.length * 8;
    let at = start;
    for (let probe = 0; probe < PROBES; probe++) {
      const bit = at % size;
      if (((bits[bit >>> 3] as number) & (1 << (bit & 7))) === 0) return false;
      at = (at + step) >>> 0;
    }
    return true;
  };
}

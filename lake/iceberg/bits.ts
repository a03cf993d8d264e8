/** A set of positions in a file, one bit each. */

export class Bits {
  readonly #bytes: Uint8Array;
  /** How many are set. */
  count = 0;

  constructor(size: number) {
    this.#bytes = new Uint8Array((size + 7) >> 3);
  }

  has(at: number): boolean {
    return (((this.#bytes[at >> 3] ?? 0) >> (at & 7)) & 1) === 1;
  }

  /** A position past the end is ignored: nothing lies there. */
  add(at: number): void {
    const byte = this.#bytes[at >> 3];
    if (byte === undefined || this.has(at)) return;
    this.#bytes[at >> 3] = byte | (1 << (at & 7));
    this.count++;
  }
}

/** An origin-private file system in memory: counts writes, can be full, and can be copied as a crash would leave it. */

class Handle {
  readonly kind = "file";
  bytes = new Uint8Array(0);
  readonly #disk: MemoryOpfs;

  constructor(disk: MemoryOpfs) {
    this.#disk = disk;
  }

  createSyncAccessHandle = async () => this;

  read(into: Uint8Array, { at }: { at: number }): number {
    const got = this.bytes.subarray(at, at + into.byteLength);
    new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(got);
    return got.length;
  }

  write(data: Uint8Array, { at }: { at: number }): number {
    this.#disk.onWrite(this, data, at);
    const taken = this.#disk.beforeWrite(at, data.byteLength, this.bytes.length);
    this.put(data, at, taken);
    return taken;
  }

  put(data: Uint8Array, at: number, taken: number): void {
    if (at + taken > this.bytes.length) this.truncate(at + taken);
    this.bytes.set(new Uint8Array(data.buffer, data.byteOffset, taken), at);
  }

  truncate(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(0, size));
    this.bytes = bytes;
  }

  getSize = (): number => this.bytes.length;
  flush(): void {}
  close(): void {}
}

class Folder {
  readonly kind = "directory";
  readonly entries = new Map<string, Handle | Folder>();
  readonly #disk: MemoryOpfs;

  constructor(disk: MemoryOpfs) {
    this.#disk = disk;
  }

  #entry(name: string, make: () => Handle | Folder) {
    const entry = this.entries.get(name) ?? make();
    this.entries.set(name, entry);
    return entry;
  }

  getDirectoryHandle = async (name: string) => this.#entry(name, () => new Folder(this.#disk));
  getFileHandle = async (name: string) => this.#entry(name, () => new Handle(this.#disk));

  async *[Symbol.asyncIterator]() {
    yield* this.entries;
  }

  copyTo(disk: MemoryOpfs, twins: Map<Handle, Handle>): Folder {
    const copy = new Folder(disk);
    for (const [name, entry] of this.entries) {
      if (entry instanceof Folder) copy.entries.set(name, entry.copyTo(disk, twins));
      else {
        const file = new Handle(disk);
        file.bytes = entry.bytes.slice();
        copy.entries.set(name, file);
        twins.set(entry, file);
      }
    }
    return copy;
  }
}

export class MemoryOpfs {
  writes = 0;
  /** Bytes that files may still grow by. */
  free = Number.POSITIVE_INFINITY;
  throws = true;
  /** Called before each write. */
  onWrite: (file: Handle, data: Uint8Array, at: number) => void = () => undefined;
  #root = new Folder(this);

  /** @returns how many bytes are taken: browsers throw where there is no room, or write as much as fits */
  beforeWrite(at: number, length: number, size: number): number {
    const taken = Math.max(0, Math.min(length, size + this.free - at));
    if (taken < length && this.throws) throw new DOMException("No space available", "QuotaExceededError");
    this.free -= Math.max(0, at + taken - size);
    this.writes++;
    return taken;
  }

  /** Makes it the file system of this process. */
  mount(): void {
    const storage = { getDirectory: async () => this.#root };
    const { navigator } = globalThis as unknown as { navigator: object };
    Object.defineProperty(navigator, "storage", { value: storage, configurable: true });
  }

  /** What a crash in the middle of a write leaves behind. @param taken bytes of it that came so far */
  torn(file: Handle, data: Uint8Array, at: number, taken: number): MemoryOpfs {
    const copy = new MemoryOpfs();
    const twins = new Map<Handle, Handle>();
    copy.#root = this.#root.copyTo(copy, twins);
    twins.get(file)?.put(data, at, taken);
    return copy;
  }
}

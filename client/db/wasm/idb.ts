/**
 * A SQLite file in IndexedDB. The file is held in memory, so that SQLite reads and writes it synchronously; after each
 * commit the blocks that changed are stored in one IndexedDB transaction, and only then does the caller hear of the
 * commit. A tab that is killed has all of a commit on disk, or nothing of it: no journal is needed, and none is written.
 *
 *   store "files"   name           -> size in bytes
 *   store "blocks"  [name, index]  -> BLOCK bytes
 */
import { DriverError } from "../errors.ts";
import { browser, type IdbDatabase, result } from "./browser.ts";
import type { FileSystem } from "./sqlite.ts";
import { UNLOCKED } from "./vfs.ts";

const BLOCK = 8192;
/** Result codes and flags of SQLite. */
const OK = 0;
const SHORT_READ = 522;
const OPEN_MAIN_DB = 0x100;
const GROWTH_BYTES = 1 << 20;

interface MemoryFile {
  bytes: Uint8Array;
  size: number;
  /** Blocks that differ from what is stored; only of the database itself. */
  readonly dirty?: Set<number>;
}

export async function openIdb(name: string): Promise<FileSystem> {
  const db = await openStores();
  const files = new IdbFiles(db, name);
  await files.load();
  return files;
}

/** Whether a database of this name is kept here. */
export async function existsInIdb(name: string): Promise<boolean> {
  try {
    const db = await openStores();
    const size = await result(db.transaction(["files"], "readonly").objectStore("files").get(name));
    db.close();
    return size !== undefined;
  } catch {
    return false;
  }
}

async function openStores(): Promise<IdbDatabase> {
  const request = browser.indexedDB.open("lakesync", 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("files");
    request.result.createObjectStore("blocks");
  };
  return result(request);
}

class IdbFiles implements FileSystem {
  readonly backend = "idb";
  readonly identity = "idb";
  readonly pragmas =
    `PRAGMA page_size = ${BLOCK}; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -4000;`;
  readonly #db: IdbDatabase;
  readonly #name: string;
  readonly #files = new Map<string, MemoryFile>();
  readonly #open = new Map<number, { name: string; file: MemoryFile }>();
  #resized = false;

  constructor(db: IdbDatabase, name: string) {
    this.#db = db;
    this.#name = name;
  }

  async load(): Promise<void> {
    const stores = this.#db.transaction(["files", "blocks"], "readonly");
    const range = browser.IDBKeyRange.bound([this.#name, 0], [this.#name, Number.MAX_SAFE_INTEGER]);
    const [stored, keys, blocks] = await Promise.all([
      result(stores.objectStore("files").get(this.#name)),
      result(stores.objectStore("blocks").getAllKeys(range)),
      result(stores.objectStore("blocks").getAll(range)),
    ]);
    const held = this.#files.get(this.#name);
    if (stored === undefined && !held) return;
    const size = Number(stored ?? 0);
    const bytes = new Uint8Array(size + GROWTH_BYTES);
    (keys as [string, number][]).forEach(([, index], at) => {
      bytes.set(blocks[at] as Uint8Array, index * BLOCK);
    });
    // SQLite may have the file open, so that it stays the same object.
    const file: MemoryFile = Object.assign(held ?? { dirty: new Set<number>() }, {
      bytes,
      size,
    });
    file.dirty?.clear();
    this.#resized = false;
    this.#files.set(this.#name, file);
  }

  async flush(): Promise<void> {
    try {
      await this.#store();
    } catch (error) {
      // What could not be stored is taken back: SQLite sees by the file's change counter that its pages are others.
      await this.load();
      throw error;
    }
  }

  async #store(): Promise<void> {
    const file = this.#files.get(this.#name);
    if (!file?.dirty || (file.dirty.size === 0 && !this.#resized)) return;
    const stores = this.#db.transaction(["files", "blocks"], "readwrite", { durability: "relaxed" });
    const blocks = stores.objectStore("blocks");
    for (const index of file.dirty) {
      if (index * BLOCK >= file.size) blocks.delete([this.#name, index]);
      else blocks.put(file.bytes.slice(index * BLOCK, (index + 1) * BLOCK), [this.#name, index]);
    }
    stores.objectStore("files").put(file.size, this.#name);
    await new Promise<void>((resolve, reject) => {
      stores.oncomplete = () => resolve();
      stores.onabort = () => reject(storageError(stores.error));
    });
    file.dirty.clear();
    this.#resized = false;
  }

  async close(): Promise<void> {
    this.#db.close();
  }

  /** What SQLite calls; https://sqlite.org/c3ref/io_methods.html */
  readonly vfs = {
    name: "lakesync-idb",
    xOpen: (name: string | null, id: number, flags: number, outFlags: DataView): number => {
      const main = (flags & OPEN_MAIN_DB) !== 0;
      const path = main ? this.#name : (name ?? `temporary-${id}`);
      const file = this.#files.get(path) ?? {
        bytes: new Uint8Array(0),
        size: 0,
        ...(main ? { dirty: new Set<number>() } : {}),
      };
      this.#files.set(path, file);
      this.#open.set(id, { name: path, file });
      outFlags.setInt32(0, flags, true);
      return OK;
    },
    xClose: (id: number): number => {
      const opened = this.#open.get(id);
      this.#open.delete(id);
      if (opened && !opened.file.dirty) this.#files.delete(opened.name);
      return OK;
    },
    xRead: (id: number, data: Uint8Array, offset: number): number => {
      const { bytes, size } = this.#file(id);
      const got = bytes.subarray(offset, Math.min(offset + data.length, size));
      data.set(got);
      if (got.length === data.length) return OK;
      data.fill(0, got.length);
      return SHORT_READ;
    },
    xWrite: (id: number, data: Uint8Array, offset: number): number => {
      const file = this.#file(id);
      const end = offset + data.length;
      if (end > file.bytes.length) {
        const larger = new Uint8Array(
          Math.max(end, file.bytes.length + Math.max(file.bytes.length >> 1, GROWTH_BYTES)),
        );
        larger.set(file.bytes.subarray(0, file.size));
        file.bytes = larger;
      }
      file.bytes.set(data, offset);
      file.size = Math.max(file.size, end);
      for (let at = Math.floor(offset / BLOCK); at * BLOCK < end; at++) file.dirty?.add(at);
      return OK;
    },
    xTruncate: (id: number, size: number): number => {
      const file = this.#file(id);
      for (let at = Math.floor(size / BLOCK); at * BLOCK < file.size; at++) file.dirty?.add(at);
      file.bytes.fill(0, size, file.size);
      file.size = Math.min(file.size, size);
      this.#resized ||= file.dirty !== undefined;
      return OK;
    },
    xSync: (): number => OK,
    xFileSize: (id: number, out: DataView): number => {
      out.setBigInt64(0, BigInt(this.#file(id).size), true);
      return OK;
    },
    ...UNLOCKED,
    xSectorSize: (): number => BLOCK,
    xDeviceCharacteristics: (): number => 0,
    xDelete: (name: string): number => {
      this.#files.delete(name);
      return OK;
    },
    xAccess: (name: string, _flags: number, out: DataView): number => {
      out.setInt32(0, this.#files.has(name) ? 1 : 0, true);
      return OK;
    },
  };

  #file(id: number): MemoryFile {
    return (this.#open.get(id) as { file: MemoryFile }).file;
  }
}

function storageError(error: { readonly name: string; readonly message: string } | null): DriverError {
  if (error?.name === "QuotaExceededError")
    return new DriverError(
      "StorageFull",
      "The browser's storage is full. The write was taken back; free some space, and try again.",
    );
  return new DriverError("StorageUnavailable", `IndexedDB refused a write: ${error?.message ?? "aborted"}.`);
}

/**
 * SQLite's files in the origin-private file system: a folder for each database, with the three files that SQLite may want of
 * it. They are opened at the start, since SQLite asks synchronously; one without a byte counts as not there.
 *
 *   lakesync/<name>/db           the database
 *   lakesync/<name>/db-wal       its log
 *   lakesync/<name>/db-journal   while the database is new, until it has a log
 *
 * A commit is one write. SQLite appends a commit to the write-ahead log as frames, each a header of 24 bytes and a page, and
 * each such write costs about as much as a large one. Frames are held here until the one that ends the commit: its header
 * says how large the database then is, the others' say 0 (https://sqlite.org/fileformat2.html#the_write_ahead_log). What a
 * crash takes along was not committed. Only what goes to the end of the log is held; all else is written at once.
 *
 * What the browser throws becomes a result code: an exception would tear through SQLite and leave it halfway.
 */
import { browser } from "./browser.ts";
import { DB_PATH, type FileSystem } from "./sqlite.ts";
import { UNLOCKED } from "./vfs.ts";

const OK = 0;
const IOERR = 10;
const FULL = 13;
const CANTOPEN = 14;
const SHORT_READ = 522;
const OPEN_WAL = 0x80000;
const UNDELETABLE_WHEN_OPEN = 0x800;
const SECTOR = 4096;
const FRAME_HEADER = 24;
const LOG_HEADER = 32;
const HELD_MAX = 1 << 20;
const NAMES = [DB_PATH, `${DB_PATH}-wal`, `${DB_PATH}-journal`] as const;
/** How often, and how long between, a file is tried that a tab which has just died still holds. */
const TRIES = 50;
const TRY_MS = 20;

/** https://developer.mozilla.org/docs/Web/API/FileSystemSyncAccessHandle */
interface AccessHandle {
  read(into: Uint8Array, options: { at: number }): number;
  write(data: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

interface FileHandle {
  createSyncAccessHandle(): Promise<AccessHandle>;
  getFile(): Promise<{ readonly size: number }>;
}

interface Folder {
  getDirectoryHandle(name: string, options?: { create: boolean }): Promise<Folder>;
  getFileHandle(name: string, options?: { create: boolean }): Promise<FileHandle>;
}

async function folderOf(name: string, create: boolean): Promise<Folder> {
  let folder = (await browser.navigator.storage?.getDirectory?.()) as Folder | undefined;
  if (!folder) throw new Error("no origin-private file system");
  for (const part of ["lakesync", encodeURIComponent(name)]) folder = await folder.getDirectoryHandle(part, { create });
  return folder;
}

/** Whether a database of this name is kept here. */
export async function existsInOpfs(name: string): Promise<boolean> {
  try {
    const file = await (await folderOf(name, false)).getFileHandle(DB_PATH);
    return (await file.getFile()).size > 0;
  } catch {
    return false;
  }
}

export async function openOpfs(name: string): Promise<FileSystem> {
  const folder = await folderOf(name, true);
  const handles = new Map<string, AccessHandle>();
  const close = async () => {
    for (const handle of handles.values()) handle.close();
  };
  try {
    for (const file of NAMES) handles.set(file, await access(await folder.getFileHandle(file, { create: true })));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    backend: "opfs",
    identity: "opfs",
    vfs: Object.assign(new OpfsFiles(handles), UNLOCKED),
    // One owner: the shared memory that WAL otherwise needs can be the owner's own.
    pragmas:
      "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16000;",
    close,
  };
}

async function access(file: FileHandle): Promise<AccessHandle> {
  for (let tries = 1; ; tries++) {
    try {
      return await file.createSyncAccessHandle();
    } catch (error) {
      if ((error as Error).name !== "NoModificationAllowedError" || tries === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, TRY_MS));
    }
  }
}

/** What is not written yet of a write-ahead log. */
interface Log {
  /** Where the held frames go. */
  at: number;
  held: Uint8Array[];
  heldBytes: number;
  /** How far the log was ever written since it began anew. */
  end: number;
  /** The page that comes next ends a commit. */
  commits: boolean;
}

interface OpenFile {
  readonly handle: AccessHandle;
  readonly log: Log | undefined;
}

/** What SQLite calls; https://sqlite.org/c3ref/io_methods.html */
class OpfsFiles {
  readonly name = "lakesync-opfs";
  readonly #handles: ReadonlyMap<string, AccessHandle>;
  readonly #open = new Map<number, OpenFile>();

  constructor(handles: ReadonlyMap<string, AccessHandle>) {
    this.#handles = handles;
  }

  xOpen(name: string | null, id: number, flags: number, out: DataView): number {
    const handle = this.#handles.get(name ?? "");
    if (!handle) return CANTOPEN; // temporary files are kept in memory
    const log = flags & OPEN_WAL ? { at: 0, held: [], heldBytes: 0, end: 0, commits: false } : undefined;
    this.#open.set(id, { handle, log });
    out.setInt32(0, flags, true);
    return OK;
  }

  xClose(id: number): number {
    const closed = this.#settled(id, ({ handle }) => handle.flush());
    this.#open.delete(id);
    return closed;
  }

  xRead(id: number, data: Uint8Array, offset: number): number {
    let got = 0;
    const read = this.#settled(id, ({ handle }) => {
      got = handle.read(data, { at: offset });
    });
    if (read !== OK || got === data.length) return read;
    data.fill(0, got);
    return SHORT_READ;
  }

  xWrite(id: number, data: Uint8Array, offset: number): number {
    const { handle, log } = this.#file(id);
    if (!log) return write(handle, data, offset);
    const next = log.heldBytes > 0 ? log.at + log.heldBytes : log.end;
    if (offset < next || (log.heldBytes > 0 && offset > next) || data.length === LOG_HEADER) {
      const settled = settle(handle, log);
      if (settled !== OK) return settled;
      if (data.length === LOG_HEADER) log.end = offset + LOG_HEADER;
      return write(handle, data, offset);
    }
    if (log.heldBytes === 0) log.at = offset;
    log.held.push(data.slice());
    log.heldBytes += data.length;
    const ends = log.commits && data.length !== FRAME_HEADER;
    log.commits = data.length === FRAME_HEADER && data.subarray(4, 8).some((byte) => byte !== 0);
    return ends || log.heldBytes >= HELD_MAX ? settle(handle, log) : OK;
  }

  xTruncate(id: number, size: number): number {
    return this.#settled(id, ({ handle }) => handle.truncate(size));
  }

  xSync(id: number): number {
    return this.#settled(id, ({ handle }) => handle.flush());
  }

  xFileSize(id: number, out: DataView): number {
    return this.#settled(id, ({ handle }) => out.setBigInt64(0, BigInt(handle.getSize()), true));
  }

  xDelete(name: string): number {
    return attempt(() => this.#handles.get(name)?.truncate(0));
  }

  xAccess(name: string, _flags: number, out: DataView): number {
    return attempt(() => out.setInt32(0, this.#handles.get(name)?.getSize() ? 1 : 0, true));
  }

  xSectorSize = (): number => SECTOR;
  xDeviceCharacteristics = (): number => UNDELETABLE_WHEN_OPEN;

  #file(id: number): OpenFile {
    return this.#open.get(id) as OpenFile;
  }

  /** Writes what is held, and then does `call`. */
  #settled(id: number, call: (file: OpenFile) => void): number {
    const file = this.#file(id);
    return (file.log ? settle(file.handle, file.log) : OK) || attempt(() => call(file));
  }
}

/** Writes what is held. When that fails, SQLite hears of it and takes the transaction back. */
function settle(handle: AccessHandle, log: Log): number {
  if (log.heldBytes === 0) return OK;
  const bytes = new Uint8Array(log.heldBytes);
  let filled = 0;
  for (const part of log.held) {
    bytes.set(part, filled);
    filled += part.length;
  }
  log.held = [];
  log.heldBytes = 0;
  const written = write(handle, bytes, log.at);
  if (written === OK) log.end = Math.max(log.end, log.at + bytes.length);
  return written;
}

/** Browsers throw, or write as much as there is room for. */
function write(handle: AccessHandle, data: Uint8Array, at: number): number {
  let written = 0;
  const result = attempt(() => {
    written = handle.write(data, { at });
  });
  return result !== OK || written === data.length ? result : FULL;
}

function attempt(call: () => void): number {
  try {
    call();
    return OK;
  } catch (error) {
    return (error as { name?: string }).name === "QuotaExceededError" ? FULL : IOERR;
  }
}

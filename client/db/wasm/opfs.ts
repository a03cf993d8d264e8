/**
 * SQLite's files in the origin-private file system: the pool of access handles of wa-sqlite's examples, and two things more.
 *
 * A commit is one write. SQLite appends a commit to the write-ahead log as frames, each a header of 24 bytes and a page, and
 * each such write costs about as much as a large one. Frames are held here until the one that ends the commit: its header
 * says how large the database then is, the others' say 0 (https://sqlite.org/fileformat2.html#the_write_ahead_log). What a
 * crash takes along was not committed. Only what goes to the end of the log is held; all else is written at once.
 *
 * What the browser throws becomes a result code: an exception would tear through SQLite and leave it halfway.
 */
import { AccessHandlePoolVFS } from "wa-sqlite/src/examples/AccessHandlePoolVFS.js";
import type { FileSystem } from "./sqlite.ts";

const OK = 0;
const IOERR = 10;
const FULL = 13;
const OPEN_WAL = 0x80000;
const FRAME_HEADER = 24;
const LOG_HEADER = 32;
const HELD_MAX = 1 << 20;

/** Where the files of a database are. */
export const opfsFolder = (name: string): string => `lakesync/${encodeURIComponent(name)}`;

export async function openOpfs(name: string): Promise<FileSystem> {
  const vfs = new OpfsFiles(opfsFolder(name));
  await vfs.isReady;
  return {
    backend: "opfs",
    identity: "opfs",
    vfs,
    // One owner: the shared memory that WAL otherwise needs can be the owner's own.
    pragmas:
      "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16000;",
    close: () => vfs.close(),
  };
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

class OpfsFiles extends AccessHandlePoolVFS {
  readonly #logs = new Map<number, Log>();

  override xOpen(name: string | null, id: number, flags: number, outFlags: DataView): number {
    if (flags & OPEN_WAL) this.#logs.set(id, { at: 0, held: [], heldBytes: 0, end: 0, commits: false });
    return attempt(() => super.xOpen(name, id, flags, outFlags));
  }

  override xWrite(id: number, data: Uint8Array, offset: number): number {
    const log = this.#logs.get(id);
    if (!log) return this.#write(id, data, offset);
    const next = log.heldBytes > 0 ? log.at + log.heldBytes : log.end;
    if (offset < next || (log.heldBytes > 0 && offset > next) || data.length === LOG_HEADER) {
      const settled = this.#settle(id);
      if (settled !== OK) return settled;
      if (data.length === LOG_HEADER) log.end = offset + LOG_HEADER;
      return this.#write(id, data, offset);
    }
    if (log.heldBytes === 0) log.at = offset;
    log.held.push(data.slice());
    log.heldBytes += data.length;
    const ends = log.commits && data.length !== FRAME_HEADER;
    log.commits = data.length === FRAME_HEADER && data.subarray(4, 8).some((byte) => byte !== 0);
    return ends || log.heldBytes >= HELD_MAX ? this.#settle(id) : OK;
  }

  override xRead(id: number, data: Uint8Array, offset: number): number {
    return this.#settle(id) || attempt(() => super.xRead(id, data, offset));
  }

  override xTruncate(id: number, size: number): number {
    return this.#settle(id) || attempt(() => super.xTruncate(id, size));
  }

  override xSync(id: number, flags: number): number {
    return this.#settle(id) || attempt(() => super.xSync(id, flags));
  }

  override xFileSize(id: number, out: DataView): number {
    return this.#settle(id) || attempt(() => super.xFileSize(id, out));
  }

  override xClose(id: number): number {
    const settled = this.#settle(id);
    this.#logs.delete(id);
    return attempt(() => super.xClose(id)) || settled;
  }

  /** Writes what is held. When that fails, SQLite hears of it and takes the transaction back. */
  #settle(id: number): number {
    const log = this.#logs.get(id);
    if (!log || log.heldBytes === 0) return OK;
    const bytes = new Uint8Array(log.heldBytes);
    let filled = 0;
    for (const part of log.held) {
      bytes.set(part, filled);
      filled += part.length;
    }
    log.held = [];
    log.heldBytes = 0;
    const written = this.#write(id, bytes, log.at);
    if (written === OK) log.end = Math.max(log.end, log.at + bytes.length);
    return written;
  }

  #write(id: number, data: Uint8Array, offset: number): number {
    // Browsers throw, or write as much as there is room for.
    return attempt(() => (super.xWrite(id, data, offset) === OK ? OK : FULL));
  }
}

function attempt(call: () => number): number {
  try {
    return call();
  } catch (error) {
    return (error as { name?: string }).name === "QuotaExceededError" ? FULL : IOERR;
  }
}

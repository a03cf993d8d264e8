/**
 * The dedicated worker that owns the database: SQLite, its file and its clock. One message is one call of the driver port,
 * answered in the order of asking.
 *
 * `auto` takes the first backend that opens, writes and reads here: opfs, then idb, then memory. Which one a database got
 * is remembered, so that a fault that passes cannot make it look empty.
 */
import factory from "wa-sqlite/dist/wa-sqlite.mjs";
import { AccessHandlePoolVFS } from "wa-sqlite/src/examples/AccessHandlePoolVFS.js";
import { isLakeSyncError, LakeSyncError } from "../../../schemas/index.ts";
import type { Backend, Driver } from "../driver.ts";
import { Mutex } from "../mutex.ts";
import { browser, type Port } from "./browser.ts";
import { openIdb } from "./idb.ts";
import type { OpenMessage, Reply, RequestMessage } from "./protocol.ts";
import { type FileSystem, MEMORY, type SqliteModule, WasmDriver } from "./sqlite.ts";

type Kept = "opfs" | "idb" | "memory";

const port = globalThis as unknown as Port;
const mutex = new Mutex();
let driver: Driver | undefined;

port.addEventListener("message", (event) => {
  const message = event.data as RequestMessage;
  void mutex.run(async () => {
    try {
      port.postMessage({ id: message.id, value: await answer(message) } satisfies Reply);
    } catch (cause) {
      const {
        code,
        message: text,
        details,
      } = isLakeSyncError(cause) ? cause : new LakeSyncError("StorageUnavailable", String(cause));
      port.postMessage({ id: message.id, error: { code, message: text, details } } satisfies Reply);
    }
  });
});

async function answer(message: RequestMessage): Promise<unknown> {
  if (message.call === "open") {
    driver = await open(message);
    return { backend: driver.backend, identity: driver.identity };
  }
  if (!driver) throw new LakeSyncError("Closed", "The database is not open.");
  switch (message.call) {
    case "execute":
      return driver.execute(message.sql, message.params);
    case "executeMany":
      return driver.executeMany(message.sql, message.paramLists);
    case "script":
      return driver.script(message.sql);
    case "tablesOf":
      return driver.tablesOf(message.sql);
    case "close":
      return driver.close();
  }
}

async function open({ name, backend }: OpenMessage): Promise<Driver> {
  await hold(name);
  const held = await keptIn(name);
  const wanted: readonly Kept[] =
    backend === "auto" ? (held ? [held] : ["opfs", "idb", "memory"]) : [backend as Exclude<Backend, "auto" | "file">];
  let reason: unknown;
  for (const kept of wanted) {
    try {
      const opened = await openOn(kept, name);
      if (backend === "auto" && !held) await prove(opened);
      return opened;
    } catch (error) {
      reason = error;
    }
  }
  throw isLakeSyncError(reason)
    ? reason
    : new LakeSyncError(
        "StorageUnavailable",
        `The browser offers no storage of the kind ${wanted.join(", ")}: ${reason}`,
      );
}

/** The database is this worker's until it ends; another tab would have a clock of its own and give out the same stamps (C3). */
async function hold(name: string): Promise<void> {
  const { locks } = browser.navigator;
  if (!locks) return;
  const held = await new Promise<boolean>((resolve) => {
    void locks.request(`lakesync:${name}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise(() => undefined);
    });
  });
  if (!held) throw new LakeSyncError("StorageUnavailable", `The database ${name} is open in another tab.`);
}

async function openOn(kept: Kept, name: string): Promise<Driver> {
  const module = (await factory()) as SqliteModule;
  const files = kept === "memory" ? MEMORY : kept === "idb" ? await openIdb(name) : await openOpfs(name);
  return WasmDriver.open(module, files, name, { now: () => Date.now() });
}

async function openOpfs(name: string): Promise<FileSystem> {
  const vfs = new AccessHandlePoolVFS(opfsFolder(name));
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

const opfsFolder = (name: string): string => `lakesync/${encodeURIComponent(name)}`;

/** Where a database of this name is kept already. */
async function keptIn(name: string): Promise<Kept | undefined> {
  if (await inOpfs(name)) return "opfs";
  try {
    const files = await openIdb(name);
    const out = new DataView(new ArrayBuffer(4));
    (files.vfs as unknown as { xAccess(name: string, flags: number, out: DataView): number }).xAccess(name, 0, out);
    await files.close();
    return out.getInt32(0, true) === 1 ? "idb" : undefined;
  } catch {
    return undefined;
  }
}

async function inOpfs(name: string): Promise<boolean> {
  try {
    let folder = (await browser.navigator.storage?.getDirectory?.()) as Folder | undefined;
    for (const part of opfsFolder(name).split("/")) folder = await folder?.getDirectoryHandle(part);
    return folder !== undefined;
  } catch {
    return false;
  }
}

interface Folder {
  getDirectoryHandle(name: string): Promise<Folder>;
}

async function prove(opened: Driver): Promise<void> {
  await opened.script("CREATE TABLE IF NOT EXISTS lakesync_proof (x); DELETE FROM lakesync_proof;");
  await opened.execute("INSERT INTO lakesync_proof VALUES (42)");
  const { rows } = await opened.execute("SELECT x FROM lakesync_proof");
  if (rows[0]?.[0] !== 42) throw new LakeSyncError("StorageUnavailable", "What was written could not be read back.");
  await opened.script("DROP TABLE lakesync_proof;");
}

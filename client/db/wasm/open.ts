/**
 * Opens the database file. `auto` takes the first backend that opens, writes and reads here: opfs, then idb, then memory.
 * A database that exists is looked for where it is kept, so that a fault that passes cannot make it look empty.
 */

import factory from "wa-sqlite/dist/wa-sqlite.mjs";
import type { Clock } from "../../../core/index.ts";
import type { Backend } from "../driver.ts";
import { DriverError } from "../errors.ts";
import { existsInIdb, openIdb } from "./idb.ts";
import { existsInOpfs, openOpfs } from "./opfs.ts";
import { MEMORY, type SqliteModule, WasmDriver } from "./sqlite.ts";

type Kept = "opfs" | "idb" | "memory";

export async function openDatabase(name: string, backend: Backend, clock: Clock): Promise<WasmDriver> {
  const held = backend === "auto" ? await keptIn(name) : undefined;
  const wanted: readonly Kept[] = held ? [held] : backend === "auto" ? ["opfs", "idb", "memory"] : [backend as Kept];
  let reason: unknown;
  for (const kept of wanted) {
    try {
      const opened = await openOn(kept, name, clock);
      if (backend === "auto" && !held) await prove(opened);
      return opened;
    } catch (error) {
      reason = error;
    }
  }
  throw reason instanceof DriverError
    ? reason
    : new DriverError(
        "StorageUnavailable",
        `The browser offers no storage of the kind ${wanted.join(", ")}: ${reason}`,
      );
}

async function openOn(kept: Kept, name: string, clock: Clock): Promise<WasmDriver> {
  const module = (await factory()) as SqliteModule;
  const files = kept === "memory" ? MEMORY : kept === "idb" ? await openIdb(name) : await openOpfs(name);
  return WasmDriver.open(module, files, name, clock);
}

/** IndexedDB is asked first: nothing is there unless OPFS once failed, and that may have left a file behind. */
async function keptIn(name: string): Promise<Kept | undefined> {
  if (await existsInIdb(name)) return "idb";
  return (await existsInOpfs(name)) ? "opfs" : undefined;
}

async function prove(opened: WasmDriver): Promise<void> {
  await opened.script("CREATE TABLE IF NOT EXISTS lakesync_proof (x); DELETE FROM lakesync_proof;");
  await opened.execute("INSERT INTO lakesync_proof VALUES (42)");
  const { rows } = await opened.execute("SELECT x FROM lakesync_proof");
  if (rows[0]?.[0] !== 42) throw new DriverError("StorageUnavailable", "What was written could not be read back.");
  await opened.script("DROP TABLE lakesync_proof;");
}

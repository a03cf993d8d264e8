/** The yardstick: a worker with wa-sqlite on the same file system and settings, and nothing of ours. One statement a message. */
import { AccessHandlePoolVFS } from "wa-sqlite/src/examples/AccessHandlePoolVFS.js";
import { IDBBatchAtomicVFS } from "wa-sqlite/src/examples/IDBBatchAtomicVFS.js";
import { Factory } from "wa-sqlite/src/sqlite-api.js";

const ROW = 100;
const prepared = new Map();
let sqlite3;
let db;

/** The fastest that wa-sqlite has for each backend; its IndexedDB needs the asynchronous build. */
async function open(backend) {
  const build = await (backend === "idb"
    ? import("wa-sqlite/dist/wa-sqlite-async.mjs")
    : import("wa-sqlite/dist/wa-sqlite.mjs"));
  sqlite3 = Factory(await build.default());
  let vfs;
  let pragmas = "";
  if (backend === "opfs") {
    vfs = new AccessHandlePoolVFS("bare");
    await vfs.isReady;
    pragmas = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;";
  } else if (backend === "idb") {
    // Its "relaxed" answers before anything is stored; this waits, as ours does, and is relaxed only in Chromium's sense.
    vfs = new IDBBatchAtomicVFS("bare", { durability: "default" });
    pragmas = "PRAGMA page_size = 8192; PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = NORMAL;";
  }
  if (vfs) sqlite3.vfs_register(vfs, false);
  db = await sqlite3.open_v2(vfs ? "bare" : ":memory:", 6, vfs?.name);
  await sqlite3.exec(
    db,
    `${pragmas} PRAGMA cache_size = -16000;
     CREATE TABLE orders (id TEXT PRIMARY KEY NOT NULL, owner TEXT, name TEXT, amount REAL, count INTEGER, at INTEGER) STRICT`,
  );
}

async function prepare(sql) {
  const text = sqlite3.str_new(db, sql);
  const { stmt } = await sqlite3.prepare_v2(db, sqlite3.str_value(text));
  prepared.set(sql, stmt);
  return stmt;
}

async function run({ sql, params }) {
  const stmt = prepared.get(sql) ?? (await prepare(sql));
  sqlite3.bind_collection(stmt, params);
  const rows = [];
  while ((await sqlite3.step(stmt)) === ROW) rows.push(sqlite3.row(stmt));
  await sqlite3.reset(stmt);
  return rows;
}

addEventListener("message", async ({ data }) => postMessage(await (data.backend ? open(data.backend) : run(data))));
postMessage("ready");

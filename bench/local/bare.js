/** The yardstick: a worker with wa-sqlite on the same file system and settings, and nothing of ours. One statement a message. */
import factory from "wa-sqlite/dist/wa-sqlite.mjs";
import { AccessHandlePoolVFS } from "wa-sqlite/src/examples/AccessHandlePoolVFS.js";
import { Factory } from "wa-sqlite/src/sqlite-api.js";

const ROW = 100;
const sqlite3 = Factory(await factory());
const vfs = new AccessHandlePoolVFS("bare");
await vfs.isReady;
sqlite3.vfs_register(vfs, false);
const db = await sqlite3.open_v2("bare", 6, vfs.name);
await sqlite3.exec(
  db,
  `PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16000;
   CREATE TABLE orders (id TEXT PRIMARY KEY NOT NULL, owner TEXT, name TEXT, amount REAL, count INTEGER, at INTEGER) STRICT`,
);
const prepared = new Map();

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

addEventListener("message", async ({ data }) => postMessage(await run(data)));
postMessage("ready");

/**
 * LakeSync's own tables on the device:
 *
 *   lakesync_meta      key, value: format, client id, clock, offset, cursors, identity of the file
 *   lakesync_tables    the synced tables and their columns, by number
 *   lakesync_outbox    every local edit that the gateway has not acknowledged, in the order of its stamps
 *   lakesync_rejected  edits that the gateway refused, until the app dismisses them (C6)
 *   lakesync_pending   table and id of each row with edits in the outbox: a view, for apps
 *   lakesync_seen      rows that a resync under way has brought so far (sync/sweep.ts)
 *   lakesync_rows_T    for each row of T what the gateway is known to hold:
 *                        ins, del   stamps of its newest insert and delete
 *                        cells      JSON { column: stamp } where it is not `ins`, and for cells that were set to NULL;
 *                                   a column that is not there has the stamp `ins`, or none when its value is NULL
 *                        base       JSON { column: value } of the surviving cells, where table T shows something else:
 *                                   the row is dead, or was rebased while local edits wait
 *
 * What an app sees in T is this known row with its waiting edits on top. Edits in the outbox keep in `old` what they
 * replaced, so that an unacknowledged row costs its writer one entry in one table, and nothing else.
 */

export const FORMAT = 1;

/**
 * For a connection that was just opened: the tables, and the clock set past every stamp that this database ever gave out or
 * took in (H1), at the gateway's time (H3). Another tab may have this connection already, and its clock may have gone on.
 */
export const SETUP_SQL = `
  CREATE TABLE IF NOT EXISTS lakesync_meta (key TEXT PRIMARY KEY NOT NULL, value TEXT) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS lakesync_tables (id INTEGER PRIMARY KEY, name TEXT UNIQUE, key TEXT, columns TEXT);
  CREATE TABLE IF NOT EXISTS lakesync_outbox (hlc INTEGER PRIMARY KEY, tbl INTEGER NOT NULL, op TEXT NOT NULL, row_id TEXT NOT NULL, cells TEXT, old TEXT);
  CREATE TABLE IF NOT EXISTS lakesync_seen (tbl INTEGER, row_id TEXT, PRIMARY KEY (tbl, row_id)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS lakesync_rejected (id INTEGER PRIMARY KEY, hlc TEXT, tbl TEXT, op TEXT, row_id TEXT, cells TEXT, code TEXT, message TEXT, at_ms INTEGER);
  CREATE VIEW IF NOT EXISTS lakesync_pending (tbl, row_id) AS
    SELECT DISTINCT t.name, o.row_id FROM lakesync_outbox o JOIN lakesync_tables t ON t.id = o.tbl;
  SELECT lakesync_clock(
    max(lakesync_last(), coalesce((SELECT max(h) FROM (
      SELECT value AS h FROM lakesync_meta WHERE key = 'hlc'
      UNION ALL SELECT printf('%016x', max(hlc)) FROM lakesync_outbox
      UNION ALL SELECT max(hlc) FROM lakesync_rejected)), '')),
    coalesce((SELECT value FROM lakesync_meta WHERE key = 'offset'), 0));
`;

/** Text of an outbox stamp. */
export const HLC_TEXT_SQL = "printf('%016x', hlc)";

export type MetaKey =
  | "format"
  | "client_id"
  /** Greatest stamp that was acknowledged or received. */
  | "hlc"
  /** Gateway's clock minus ours, ms. */
  | "offset"
  | "cursor"
  /** JSON list of the tables that the cursor stands for; empty for all. "+" among them for their older rows as well. */
  | "tables"
  /** "1" while a resync is under way. */
  | "sweep"
  /** What a device without data installs before it pulls, as JSON; "off" where it has to pull (sync/bootstrap.ts). */
  | "checkpoint"
  /** How many chunks of it are installed. */
  | "installed"
  /** When rows are to be compared with the gateway's next (sync/verify.ts). Milliseconds since 1970. */
  | "verify"
  | "identity";

/**
 * The tables of a shard, and every statement on them.
 *
 *   rows    (t, id)  merged state, one row written per changed row and nothing else: no index on seq, since the log and
 *                    the change lists say what changed (decision 17)
 *   log     a push's edits of one table: a blob and its change list; stays until every destination has it; with the table's
 *           digest after it (digests.ts)
 *   lists   change lists of trimmed log entries, joined, kept for clients that catch up
 *   moved   clocks of clients that a table's former shards knew (moved.ts)
 *   cold    where rows are that have left (cold.ts)
 *   names   small numbers for table names      clients  whose client id it is      meta  single values
 */
import type { SqlRow, SqlStore, SqlValue } from "../ports/index.ts";

const DDL = [
  "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
  "CREATE TABLE IF NOT EXISTS names (t INTEGER PRIMARY KEY, name TEXT NOT NULL)",
  "CREATE TABLE IF NOT EXISTS clients (client TEXT PRIMARY KEY, sub TEXT NOT NULL, trimmed TEXT NOT NULL DEFAULT '') WITHOUT ROWID",
  "CREATE TABLE IF NOT EXISTS rows (t INTEGER NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, state TEXT NOT NULL, PRIMARY KEY (t, id)) WITHOUT ROWID",
  `CREATE TABLE IF NOT EXISTS log (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, t INTEGER NOT NULL, client TEXT NOT NULL,
     low TEXT NOT NULL, high TEXT NOT NULL, at INTEGER NOT NULL, bytes INTEGER NOT NULL, aside TEXT, digest TEXT, changes TEXT NOT NULL, cow TEXT, edits TEXT NOT NULL)`,
  "CREATE TABLE IF NOT EXISTS lists (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, clients TEXT NOT NULL, low TEXT NOT NULL, high TEXT NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL)",
  "CREATE TABLE IF NOT EXISTS moved (t INTEGER NOT NULL, idx INTEGER NOT NULL, of INTEGER NOT NULL, client TEXT NOT NULL, upto TEXT NOT NULL, PRIMARY KEY (t, client, idx, of)) WITHOUT ROWID",
  "CREATE TABLE IF NOT EXISTS cold (n INTEGER PRIMARY KEY, t INTEGER NOT NULL, run TEXT NOT NULL, filter BLOB NOT NULL)",
];

export function createTables(sql: SqlStore): void {
  for (const statement of DDL) sql.exec(statement);
}

export function readMeta(sql: SqlStore, key: string): string | undefined {
  return sql.exec<{ value: string }>("SELECT value FROM meta WHERE key = ?", key)[0]?.value;
}

export function writeMeta(sql: SqlStore, key: string, value: string | undefined): void {
  if (value === undefined) sql.exec("DELETE FROM meta WHERE key = ?", key);
  else
    sql.exec(
      "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
      key,
      value,
    );
}

export interface PackedRow extends SqlRow {
  readonly id: string;
  readonly seq: number;
  readonly state: string;
}

/** Bound text stays well below the 2 MB that a Durable Object takes for a value. UTF-16 units; 3 bytes each at most. */
const BOUND_CHARS = 512 * 1024;

/** Rows by id; ids that are not there are left out. */
export const readRows = (sql: SqlStore, t: number, ids: readonly string[]): PackedRow[] =>
  readRowsAt(sql, t, ids).filter((row) => row !== undefined);

/** The row of each id, or undefined. CROSS JOIN keeps json_each the outer loop. */
export function readRowsAt(sql: SqlStore, t: number, ids: readonly string[]): (PackedRow | undefined)[] {
  const rows = new Array<PackedRow | undefined>(ids.length).fill(undefined);
  for (let at = 0; at < ids.length; at += JOINED_ROWS) {
    const some = JSON.stringify(ids.slice(at, at + JOINED_ROWS));
    const from = "json_each(?2) AS k CROSS JOIN rows AS r WHERE r.t = ?1 AND r.id = k.value";
    for (const { id: key, seq, state } of joinedRows(sql, "k.key", from, t, some)) {
      const place = at + Number(key);
      rows[place] = { id: ids[place] as string, seq, state };
    }
  }
  return rows;
}

/** Rows after an id, in the order of ids' bytes. */
export function rowsAfter(sql: SqlStore, t: number, after: string, limit: number): PackedRow[] {
  const rows: PackedRow[] = [];
  for (let last = after; rows.length < limit; last = rows.at(-1)?.id as string) {
    const count = Math.min(JOINED_ROWS, limit - rows.length);
    const from = "(SELECT id, seq, state FROM rows WHERE t = ?1 AND id > ?2 ORDER BY id LIMIT ?3) AS r";
    const some = joinedRows(sql, "r.id", from, t, last, count);
    rows.push(...some);
    if (some.length < count) break;
  }
  return rows;
}

/** How many rows are read as one text, and the length up to which a row's state is: together below the 2 MB of a value. */
export const JOINED_ROWS = 200;
const JOINED_BYTES = 8 * 1024;

/**
 * Rows of a query as one text, cut up here, by their ids or their places in a list of ids: a row that crosses from SQLite by itself costs several times as much. Neither ids
 * nor JSON hold control characters. Where a state is long, the rows come one by one.
 */
function joinedRows(sql: SqlStore, id: "r.id" | "k.key", from: string, ...bindings: SqlValue[]): PackedRow[] {
  const [joined] = sql.exec<{ text: string | null; long: number }>(
    `SELECT group_concat(${id} || char(31) || r.seq || char(31) || r.state, char(30)) FILTER (WHERE octet_length(r.state) <= ${JOINED_BYTES}) AS text,
     count(*) FILTER (WHERE octet_length(r.state) > ${JOINED_BYTES}) AS long FROM ${from}`,
    ...bindings,
  );
  if (joined?.long) return sql.exec<PackedRow>(`SELECT ${id} AS id, r.seq, r.state FROM ${from}`, ...bindings);
  return splitRows(joined?.text ?? "");
}

/** What became of the rows that a run of edits changed. */
interface StandingRows {
  /** Rows that stand where their edit left them and are short, joined. */
  readonly text: string;
  /** Likewise, but long: places in the run. */
  readonly long: readonly number[];
  /** Rows that changed after `to`: places in the run. */
  readonly changed: readonly number[];
  /** How large those are by now. */
  readonly changedBytes: number;
}

/**
 * @param ids of a run of edits, the first of which has seq `first`; at most `JOINED_ROWS`
 * @param to rows whose last change is in the run's lease, but not this one, are left out
 */
export function standingRows(
  sql: SqlStore,
  t: number,
  ids: readonly string[],
  first: number,
  to: number,
): StandingRows {
  const [found] = sql.exec<{ text: string | null; long: string; changed: string; bytes: number | null }>(
    `SELECT group_concat(r.id || char(31) || r.seq || char(31) || r.state, char(30))
       FILTER (WHERE r.seq = ?3 + k.key AND octet_length(r.state) <= ${JOINED_BYTES}) AS text,
     json_group_array(k.key) FILTER (WHERE r.seq = ?3 + k.key AND octet_length(r.state) > ${JOINED_BYTES}) AS long,
     json_group_array(k.key) FILTER (WHERE r.seq > ?4) AS changed,
     sum(octet_length(r.state)) FILTER (WHERE r.seq > ?4) AS bytes
     FROM json_each(?2) AS k CROSS JOIN rows AS r WHERE r.t = ?1 AND r.id = k.value`,
    ...[t, JSON.stringify(ids), first, to],
  );
  return {
    text: found?.text ?? "",
    long: placesOf(found?.long),
    changed: placesOf(found?.changed),
    changedBytes: found?.bytes ?? 0,
  };
}

const placesOf = (text: string | undefined): number[] => (text ? (JSON.parse(text) as number[]) : []);

export const ROW_SEPARATOR = "\x1e";

export const joinRows = (rows: readonly PackedRow[]): string =>
  rows.map(({ id, seq, state }) => `${id}\x1f${seq}\x1f${state}`).join(ROW_SEPARATOR);

export function splitRows(text: string): PackedRow[] {
  if (text === "") return [];
  return text.split(ROW_SEPARATOR).map((row) => {
    const idEnd = row.indexOf("\x1f");
    const seqEnd = row.indexOf("\x1f", idEnd + 1);
    return { id: row.slice(0, idEnd), seq: Number(row.slice(idEnd + 1, seqEnd)), state: row.slice(seqEnd + 1) };
  });
}

/** Where a row lies in a slice, in one number of less than 53 bits: 21 of offset, 10 of the id's bytes, 21 of the state's. */
const WHERE = { offset: "(value >> 31)", id: "((value >> 21) & 1023)", state: "(value & 2097151)" };
const SEQ_CHARS = 16;

/**
 * A slice of rows is one blob, `id seq state` each, beside a list of where each row lies. SQLite copies pieces out of it; as
 * JSON the states would be escaped here, and parsed and unescaped there.
 */
const UPSERT = `INSERT INTO rows (t, id, seq, state)
  SELECT ?1,
    CAST(substr(?2, ${WHERE.offset} + 1, ${WHERE.id}) AS TEXT),
    CAST(substr(?2, ${WHERE.offset} + 1 + ${WHERE.id}, ${SEQ_CHARS}) AS INTEGER),
    CAST(substr(?2, ${WHERE.offset} + ${1 + SEQ_CHARS} + ${WHERE.id}, ${WHERE.state}) AS TEXT)
  FROM json_each(?3) WHERE true
  ON CONFLICT (t, id) DO UPDATE SET seq = excluded.seq, state = excluded.state`;

const utf8 = new TextEncoder();

export function writeRows(sql: SqlStore, t: number, rows: Iterable<PackedRow>): void {
  let slice: PackedRow[] = [];
  let chars = 0;
  const write = () => {
    if (slice.length > 0) sql.exec(UPSERT, t, ...packSlice(slice));
    slice = [];
    chars = 0;
  };
  for (const row of rows) {
    const length = row.id.length + SEQ_CHARS + row.state.length;
    if (chars + length > BOUND_CHARS) write();
    slice.push(row);
    chars += length;
  }
  write();
}

function packSlice(rows: readonly PackedRow[]): [Uint8Array, string] {
  let text = "";
  for (const { id, seq, state } of rows) text += id + String(seq).padStart(SEQ_CHARS, "0") + state;
  const bytes = utf8.encode(text);
  const lengthOf = bytes.length === text.length ? (s: string) => s.length : (s: string) => utf8.encode(s).length;
  const places: number[] = [];
  let offset = 0;
  for (const { id, state } of rows) {
    const [idBytes, stateBytes] = [lengthOf(id), lengthOf(state)];
    places.push(offset * 2 ** 31 + idBytes * 2 ** 21 + stateBytes);
    offset += idBytes + SEQ_CHARS + stateBytes;
  }
  return [bytes, `[${places.join(",")}]`];
}

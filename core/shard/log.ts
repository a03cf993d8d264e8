/**
 * The log: what a push brought, entry by entry, until it is flushed; and the change lists that outlive it.
 *
 *   entry k of a log row has seq first + k; its row id is in the change list, the rest of the edit in `edits`
 *
 *   changes  { ids, images: [[k, cells]] }   image: the deciding cells of a row that was alive before the edit, where the
 *                                            edit killed it or changed one of them: who could see it before (PL4)
 *   cow      [[id, seq, state]]              the row as a flush in progress has to see it (rule L1: as of the lease's end)
 */
import {
  ABSENT,
  type Absent,
  type ClientId,
  type DeltaBatch,
  HLC_TEXT_CHARS,
  type HlcText,
  type Scalar,
  type Seq,
} from "../../schemas/index.ts";
import type { SqlRow, SqlStore } from "../ports/index.ts";
import type { Cells, IdCells } from "./stored-row.ts";

/** One edit that was taken, on its way into the log. */
export interface LogEntry {
  readonly letter: "I" | "U" | "D";
  readonly rowId: string;
  readonly hlc: HlcText;
  readonly cells: IdCells;
  readonly image?: Cells;
  /** The row before this edit, packed, for a flush in progress. */
  readonly cow?: { readonly seq: number; readonly packed: string };
}

/** Of one run of consecutive seqs in one table. */
export interface ChangeList {
  readonly t: number;
  readonly first: number;
  /** Who made all of these edits. */
  readonly client: ClientId;
  readonly ids: readonly string[];
  readonly images: readonly (readonly [number, Cells])[];
}

type StoredChanges = { ids: string[]; images?: [number, Cells][] };
type StoredEdits = { ops: string; hlcs: string; columns: [number, (Scalar | Absent)[]][] };

/** Chars of one log row's text; three bytes each at most, against the 2 MB of a SQLite row. */
const ENTRY_CHARS = 400 * 1024;

/**
 * Appends entries from `first` on, in as few rows as fit.
 * @param digest of the table after them @returns bytes (UTF-16 units) added
 */
export function appendLog(
  sql: SqlStore,
  t: number,
  client: ClientId,
  first: number,
  entries: readonly LogEntry[],
  at: number,
  digest: string | null,
): number {
  const edits = JSON.stringify(packEdits(entries));
  const ids: string[] = [];
  const images: [number, Cells][] = [];
  const cow: string[] = [];
  for (const entry of entries) {
    if (entry.image) images.push([ids.length, entry.image]);
    // Packed rows are JSON already: as text within JSON they would grow.
    if (entry.cow) cow.push(`[${JSON.stringify(entry.rowId)},${entry.cow.seq},${entry.cow.packed}]`);
    ids.push(entry.rowId);
  }
  const changes = JSON.stringify({ ids, ...(images.length > 0 && { images }) });
  const cowText = cow.length > 0 ? `[${cow.join(",")}]` : null;
  const bytes = edits.length + changes.length + (cowText?.length ?? 0);
  if (bytes > ENTRY_CHARS && entries.length > 1) {
    const half = entries.length >> 1;
    const left = appendLog(sql, t, client, first, entries.slice(0, half), at, null);
    return left + appendLog(sql, t, client, first + half, entries.slice(half), at, digest);
  }
  let low = entries[0]?.hlc as HlcText;
  let high = low;
  for (const { hlc } of entries) {
    if (hlc < low) low = hlc;
    if (hlc > high) high = hlc;
  }
  sql.exec(
    "INSERT INTO log (first, last, t, client, low, high, at, bytes, digest, changes, cow, edits) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    ...[first, first + entries.length - 1, t, client, low, high, at, bytes, digest, changes, cowText, edits],
  );
  return bytes;
}

function packEdits(entries: readonly LogEntry[]): StoredEdits {
  let ops = "";
  let hlcs = "";
  for (const { letter, hlc } of entries) {
    ops += letter;
    hlcs += hlc;
  }
  return { ops, hlcs, columns: cellsByColumn(entries) };
}

function cellsByColumn(entries: readonly LogEntry[]): [number, (Scalar | Absent)[]][] {
  const { columns } = (entries[0] as LogEntry).cells;
  // Most pushes: all edits name the same columns.
  if (entries.every(({ cells }) => cells.columns === columns))
    return columns.map((id, at) => [id, entries.map(({ cells }) => cells.values[at] as Scalar)]);
  const all = new Map<number, (Scalar | Absent)[]>();
  entries.forEach(({ cells }, k) => {
    for (let at = 0; at < cells.columns.length; at++) {
      const id = cells.columns[at] as number;
      const column = all.get(id) ?? [];
      if (column.length === 0) all.set(id, column);
      while (column.length < k) column.push(ABSENT);
      column.push(cells.values[at] as Scalar);
    }
  });
  for (const column of all.values()) while (column.length < entries.length) column.push(ABSENT);
  return [...all];
}

export function unpackHlcs(text: string): HlcText[] {
  const hlcs: HlcText[] = [];
  for (let at = 0; at < text.length; at += HLC_TEXT_CHARS) hlcs.push(text.slice(at, at + HLC_TEXT_CHARS) as HlcText);
  return hlcs;
}

/** Edits of a log row as a batch, columns named by `nameOf`; a column without a name any more was dropped and is left out. */
export function unpackEdits(
  table: string,
  client: ClientId,
  changes: string,
  edits: string,
  nameOf: (id: number) => string | undefined,
): DeltaBatch {
  const { ids } = JSON.parse(changes) as StoredChanges;
  const { ops, hlcs, columns } = JSON.parse(edits) as StoredEdits;
  const named = columns.flatMap(([id, values]) => {
    const name = nameOf(id);
    return name === undefined ? [] : [{ name, values }];
  });
  return { table, ops, rowIds: ids, hlcs: unpackHlcs(hlcs), clients: [client], columns: named };
}

/** Change lists of everything after `after`, oldest first, read a few rows at a time. */
export function* changesAfter(sql: SqlStore, after: Seq): Generator<ChangeList> {
  let seq: number = after;
  for (;;) {
    const [row] = sql.exec<{ last: number; body: string }>(
      "SELECT last, body FROM lists WHERE last > ? ORDER BY first LIMIT 1",
      seq,
    );
    if (!row) break;
    for (const list of JSON.parse(row.body) as StoredList[]) if (list.first + list.ids.length - 1 > seq) yield list;
    seq = row.last;
  }
  for (;;) {
    const rows = sql.exec<{ last: number; t: number; first: number; client: ClientId; changes: string }>(
      `SELECT first, last, t, client, changes FROM log
       WHERE first >= coalesce((SELECT max(first) FROM log WHERE first <= ?1 + 1), 0) AND last > ?1 AND aside IS NULL ORDER BY first LIMIT 8`,
      seq,
    );
    if (rows.length === 0) return;
    for (const row of rows) {
      const { ids, images = [] } = JSON.parse(row.changes) as StoredChanges;
      yield { t: row.t, first: row.first, client: row.client, ids, images };
      seq = row.last;
    }
  }
}

/** Seqs of a table's log rows that were set aside: no destination has them. */
export type Aside = ReadonlyMap<number, readonly { readonly first: number; readonly last: number }[]>;

export const readAside = (sql: SqlStore): Aside =>
  Map.groupBy(
    sql.exec<{ t: number; first: number; last: number }>(
      "SELECT t, first, last FROM log WHERE aside IS NOT NULL ORDER BY first",
    ),
    ({ t }) => t,
  );

/** Change lists cover everything after this seq; a cursor below it has expired (PL8). */
export function listedAfter(sql: SqlStore, head: number): number {
  const [row] = sql.exec<{ first: number | null }>(
    "SELECT min(first) AS first FROM (SELECT min(first) AS first FROM lists UNION ALL SELECT min(first) FROM log WHERE aside IS NULL)",
  );
  return (row?.first ?? head + 1) - 1;
}

/** A change list that outlived its log row; the clocks are kept to know a repeated edit again (PU2). */
type StoredList = ChangeList & { readonly hlcs: string };

/** Change lists of a table that outlived their log rows. */
export function* listsOf(sql: SqlStore, t: number): Generator<StoredList> {
  for (const { first } of sql.exec<{ first: number }>("SELECT first FROM lists ORDER BY first"))
    for (const { body } of sql.exec<{ body: string }>("SELECT body FROM lists WHERE first = ?", first))
      for (const list of JSON.parse(body) as StoredList[]) if (list.t === t) yield list;
}

/** Names one edit of one client in one table. */
export const editKey = (edit: { readonly hlc: HlcText; readonly rowId: string }): string => edit.hlc + edit.rowId;

/**
 * Which of a client's edits of a table were taken before: looked up among what is logged and listed, a row at a time, only
 * where the clocks can be. Only for edits that left no trace in their row's state.
 * @returns their keys
 */
export function knownEdits(
  sql: SqlStore,
  t: number,
  client: ClientId,
  edits: readonly { readonly hlc: HlcText; readonly rowId: string }[],
): Set<string> {
  const known = new Set<string>();
  const clocks = edits.map((e) => e.hlc).sort();
  const [low, high] = [clocks[0], clocks.at(-1)];
  if (low === undefined || high === undefined) return known;
  const wanted = new Set(edits.map(editKey));
  const among = (ids: readonly string[], hlcs: string) =>
    unpackHlcs(hlcs).forEach((hlc, k) => {
      const key = editKey({ hlc, rowId: ids[k] as string });
      if (wanted.has(key)) known.add(key);
    });
  const mayHold = (span: Span) => clocks.some((hlc) => hlc >= span.low && hlc <= span.high);
  const logged = "SELECT first, low, high FROM log WHERE client = ? AND t = ? AND low <= ? AND high >= ?";
  for (const { first } of sql.exec<Span>(logged, client, t, high, low).filter(mayHold))
    for (const row of sql.exec<{ changes: string; edits: string }>(
      "SELECT changes, edits FROM log WHERE first = ?",
      first,
    ))
      among((JSON.parse(row.changes) as StoredChanges).ids, (JSON.parse(row.edits) as StoredEdits).hlcs);
  const listed = "SELECT first, low, high FROM lists WHERE low <= ? AND high >= ? AND instr(clients, ?) > 0";
  for (const { first } of sql.exec<Span>(listed, high, low, `,${client},`).filter(mayHold))
    for (const row of sql.exec<{ body: string }>("SELECT body FROM lists WHERE first = ?", first))
      for (const list of JSON.parse(row.body) as StoredList[])
        if (list.client === client && list.t === t) among(list.ids, list.hlcs);
  const [forgotten] = sql.exec<{ trimmed: string }>("SELECT trimmed FROM clients WHERE client = ?", client);
  for (const edit of edits) if (forgotten && edit.hlc <= forgotten.trimmed) known.add(editKey(edit));
  return known;
}

type Span = { readonly first: number; readonly low: string; readonly high: string };

/**
 * Takes flushed log rows out of the log, keeping their change lists. Rows that were set aside stay, their lists are kept too.
 * @param from exclusive: rows that were set aside before are listed already, or were and are forgotten
 * @param upTo inclusive
 */
export function trimLog(sql: SqlStore, from: Seq, upTo: Seq): void {
  let group: StoredList[] = [];
  let chars = 0;
  let meta = { clients: new Set<string>(), low: "~", high: "", at: 0 };
  const write = () => {
    const last = group.at(-1);
    if (!last) return;
    sql.exec(
      "INSERT INTO lists (first, last, clients, low, high, at, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
      ...[
        (group[0] as StoredList).first,
        last.first + last.ids.length - 1,
        `,${[...meta.clients].join(",")},`,
        meta.low,
        meta.high,
        meta.at,
        JSON.stringify(group),
      ],
    );
    group = [];
    chars = 0;
    meta = { clients: new Set(), low: "~", high: "", at: 0 };
  };
  for (const row of logBetween(sql, from, upTo)) {
    const { ids, images = [] } = JSON.parse(row.changes) as StoredChanges;
    const size = row.changes.length + row.hlcs.length;
    if (chars + size > ENTRY_CHARS) write();
    group.push({ t: row.t, first: row.first, client: row.client, hlcs: row.hlcs, ids, images });
    chars += size;
    meta.clients.add(row.client);
    if (row.low < meta.low) meta.low = row.low;
    if (row.high > meta.high) meta.high = row.high;
    meta.at = Math.max(meta.at, row.at);
  }
  write();
  sql.exec("DELETE FROM log WHERE first > ? AND first <= ? AND aside IS NULL", from, upTo);
}

interface LoggedRow extends SqlRow {
  readonly first: number;
  readonly last: number;
  readonly t: number;
  readonly client: ClientId;
  readonly low: string;
  readonly high: string;
  readonly at: number;
  readonly changes: string;
  readonly hlcs: string;
}

/** Log rows a few at a time: all of them may be more than fits in memory. */
function* logBetween(sql: SqlStore, from: Seq, upTo: Seq): Generator<LoggedRow> {
  let after: number = from;
  for (;;) {
    const rows = sql.exec<LoggedRow>(
      `SELECT first, last, t, client, low, high, at, changes, edits ->> '$.hlcs' AS hlcs FROM log
       WHERE first > ? AND first <= ? ORDER BY first LIMIT 32`,
      after,
      upTo,
    );
    if (rows.length === 0) return;
    yield* rows;
    after = (rows.at(-1) as LoggedRow).last;
  }
}

/** Drops change lists that are too old or too many; what they knew of each client's clocks shrinks to a watermark. */
export function dropLists(sql: SqlStore, olderThanMs: number, upToSeq: number): void {
  // Without a hole: where the clock stepped back, an older list may bear the later time.
  const old = sql.exec<{ first: number }>(
    "SELECT first FROM lists WHERE first <= (SELECT max(first) FROM lists WHERE at < ? OR last <= ?)",
    olderThanMs,
    upToSeq,
  );
  for (const { first } of old) {
    for (const { body } of sql.exec<{ body: string }>("SELECT body FROM lists WHERE first = ?", first))
      for (const { client, hlcs } of JSON.parse(body) as StoredList[])
        sql.exec(
          `INSERT INTO clients (client, sub, trimmed) VALUES (?, '', ?)
           ON CONFLICT (client) DO UPDATE SET trimmed = max(trimmed, excluded.trimmed)`,
          client,
          unpackHlcs(hlcs).reduce((a, b) => (a > b ? a : b)),
        );
    sql.exec("DELETE FROM lists WHERE first = ?", first);
  }
}

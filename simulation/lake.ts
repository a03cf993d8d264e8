/**
 * The lake at rest, and as engines read it meanwhile: current rows are what the accepted edits make, each edit is once in the
 * history, and every snapshot, whenever it was read, holds what the history up to its watermarks makes (F1, L1, L3, L5).
 */
import { rowOf, type StampedEdit } from "../core/testing.ts";
import {
  currentSchema,
  currentSnapshot,
  fieldsOf,
  identOf,
  type LakeDeps,
  scanSnapshot,
  type TableKind,
} from "../lake/index.ts";
import type { Scalar } from "../schemas/index.ts";
import { type Accepted, ADMIN, type Cells, cellsOf, difference, type Oracle } from "./oracle.ts";

/** The lake as somebody sees it who was never part of the world, and what it has to hold. */
export interface LakeView {
  readonly store: LakeDeps["store"];
  readonly catalogue: LakeDeps["catalogue"];
  readonly tables: readonly string[];
  readonly oracle: Oracle;
  /** Column ids, as text, and their names. */
  columnIds(table: string): ReadonlyMap<string, string>;
  /** What engines have read before. */
  readonly readings: readonly Reading[];
  /** Snapshots of a table that are read at most, the newest among them; all of them when left out. */
  readonly snapshotsMax?: number;
}

type LakeRow = Readonly<Record<string, Scalar>>;

/** As it is now; undefined where there is none. */
export async function openTable(lake: LakeView, table: string, kind: TableKind) {
  const loaded = await lake.catalogue.load(identOf(lake as unknown as LakeDeps, table, kind));
  if (!loaded.ok) return undefined;
  const { metadata } = loaded.value;
  const fields = fieldsOf(currentSchema(metadata), kind);
  const read = async (snapshot: ReturnType<typeof currentSnapshot>): Promise<LakeRow[]> => {
    const rows: LakeRow[] = [];
    for await (const { columns } of scanSnapshot(lake.store, snapshot, { columns: fields }))
      for (let at = 0; at < (columns[0]?.length ?? 0); at++)
        rows.push(Object.fromEntries(fields.map((f, of) => [f.name, columns[of]?.[at] as Scalar])));
    return rows;
  };
  return { metadata, read };
}

const userCells = (row: LakeRow): Cells =>
  Object.fromEntries(Object.entries(row).filter(([name, value]) => !name.startsWith("_") && value !== null));

/** @returns what is wrong with it */
export async function checkLake(lake: LakeView): Promise<string | undefined> {
  const held = new Map<string, Cells>();
  for (const table of lake.tables) {
    const wrong = (await checkTable(lake, table, held)) ?? (await checkHistory(lake, table));
    if (wrong) return wrong;
  }
  const wrong = difference(lake.oracle.expected(ADMIN), held);
  return wrong && `[L1] in the lake, ${wrong}`;
}

async function checkTable(lake: LakeView, table: string, held: Map<string, Cells>): Promise<string | undefined> {
  const main = await openTable(lake, table, "main");
  if (!main) return undefined;
  for (const row of await main.read(currentSnapshot(main.metadata))) {
    const key = `${table}/${String(row._id)}`;
    if (held.has(key)) return `[F1] ${key} is twice in the lake`;
    held.set(key, userCells(row));
  }
  return checkSnapshots(lake, table, main);
}

/** [F1] Each edit once in the history. */
async function checkHistory(lake: LakeView, table: string): Promise<string | undefined> {
  const changes = await openTable(lake, table, "changes");
  const found = ((await changes?.read(currentSnapshot(changes.metadata))) ?? [])
    .map(
      (r) =>
        `${r._op} ${r._id} ${BigInt(r._hlc as number)
          .toString(16)
          .padStart(16, "0")}${r._client_id}`,
    )
    .sort();
  const expected = [...lake.oracle.edits()]
    .filter((edit) => edit.table === table)
    .map(lineOf)
    .sort();
  const twice = found.find((line, at) => line === found[at - 1]);
  if (twice) return `[F1] ${table}__changes holds twice: ${twice}`;
  const [foundOnes, expectedOnes] = [new Set(found), new Set(expected)];
  // One that an old shard had refused, and that lost everywhere by the time another took it, may be missing (core/shard/moved.ts).
  const refused = new Set([...lake.oracle.edits()].filter((edit) => lake.oracle.wasRefused(edit)).map(lineOf));
  const lost = expected.find((line) => !foundOnes.has(line) && !refused.has(line));
  if (lost) return `[F1] ${table}__changes has lost: ${lost}`;
  const invented = found.find((line) => !expectedOnes.has(line));
  return invented && `[F1] ${table}__changes holds what nobody wrote: ${invented}`;
}

const lineOf = ({ letter, rowId, stamp }: Accepted): string => `${OPS[letter]} ${rowId} ${stamp}`;
const OPS = { I: "INSERT", U: "UPDATE", D: "DELETE" };

/** What an engine read of a snapshot. */
export interface Reading {
  readonly table: string;
  readonly summary: Readonly<Record<string, string>>;
  readonly number: string;
  readonly rows: ReadonlyMap<string, Cells>;
}

type Open = NonNullable<Awaited<ReturnType<typeof openTable>>>;

export async function readingOf(
  table: string,
  main: Open,
  snapshot: NonNullable<ReturnType<typeof currentSnapshot>>,
): Promise<Reading> {
  const rows = new Map((await main.read(snapshot)).map((r) => [String(r._id), userCells(r)]));
  return { table, summary: snapshot.summary, number: String(snapshot["sequence-number"]), rows };
}

/** What an engine reads just now. @returns undefined while there is nothing to read */
export async function readNow(lake: LakeView, table: string): Promise<Reading | undefined> {
  const main = await openTable(lake, table, "main");
  const snapshot = main && currentSnapshot(main.metadata);
  return snapshot && readingOf(table, main, snapshot);
}

/** So many of them, spread evenly, the last included. */
const some = <T>(all: readonly T[], max = all.length): T[] =>
  all.filter(
    (_, at) =>
      Math.floor(((all.length - 1 - at) * max) / all.length) !== Math.floor(((all.length - at) * max) / all.length),
  );

/** [L1] [L3] Each snapshot holds the rows that the history up to its watermarks makes: those that are there, and those read before. */
async function checkSnapshots(lake: LakeView, table: string, main: Open): Promise<string | undefined> {
  const changes = await openTable(lake, table, "changes");
  const history = (await changes?.read(currentSnapshot(changes.metadata))) ?? [];
  const names = lake.columnIds(table);
  const readings = lake.readings.filter((each) => each.table === table);
  for (const snapshot of some(main.metadata.snapshots ?? [], lake.snapshotsMax))
    readings.push(await readingOf(table, main, snapshot));
  for (const { summary, number, rows } of readings) {
    const upTo = (shard: Scalar) => Number(summary[`lakesync.watermark.${shard}`] ?? 0);
    const flushed = history.filter((r) => Number(r._seq) <= upTo(r._shard ?? null));
    const later = history.filter((r) => Number(r._seq) > upTo(r._shard ?? null));
    const wrong = difference(rowsMadeBy(flushed, names), rows);
    if (!wrong) continue;
    // A flush that has nothing to write moves no watermark; its deletes count in the shards to which the rows have moved.
    if (difference(rowsMadeBy([...flushed, ...traceless(flushed, later, names)], names), rows))
      return `[L1] in snapshot ${number} of ${table}, ${wrong}`;
  }
  return undefined;
}

function rowsMadeBy(edits: readonly LakeRow[], names: ReadonlyMap<string, string>): Map<string, Cells> {
  const made = new Map<string, Cells>();
  for (const [id, of] of Map.groupBy(edits, (r) => String(r._id))) {
    const row = rowOf(of.map((r) => stampedEdit(r, names)));
    if (row.alive) made.set(id, cellsOf(row));
  }
  return made;
}

/** Edits after which a row that was not there is not there again, for the shard that took them. */
function traceless(
  flushed: readonly LakeRow[],
  later: readonly LakeRow[],
  names: ReadonlyMap<string, string>,
): LakeRow[] {
  const place = (r: LakeRow) => `${r._shard} ${r._id}`;
  const before = Map.groupBy(flushed, place);
  return [...Map.groupBy(later, place)].flatMap(([at, edits]) => {
    const known = before.get(at) ?? [];
    const alive = (of: readonly LakeRow[]) => rowsMadeBy(of, names).size > 0;
    if (alive(known)) return [];
    const inOrder = edits.toSorted((a, b) => Number(a._seq) - Number(b._seq));
    const last = inOrder.findLastIndex((_, k) => !alive([...known, ...inOrder.slice(0, k + 1)]));
    return inOrder.slice(0, last + 1);
  });
}

function stampedEdit(row: LakeRow, names: ReadonlyMap<string, string>): StampedEdit {
  const named = String(row._columns ?? "")
    .split(",")
    .filter(Boolean);
  const columns = Object.fromEntries(named.map((id) => [names.get(id) ?? "", row[names.get(id) ?? ""] ?? null]));
  const stamp = `${BigInt(row._hlc as number)
    .toString(16)
    .padStart(16, "0")}${row._client_id}`;
  return { letter: String(row._op)[0] as "I" | "U" | "D", row: String(row._id), stamp, columns };
}

/** Every edit that a table's history holds, once for each time that it does. */
export async function historyOf(lake: LakeView, table: string): Promise<Accepted[]> {
  const changes = await openTable(lake, table, "changes");
  const rows = (await changes?.read(currentSnapshot(changes.metadata))) ?? [];
  return rows.map((row) => {
    const edit = stampedEdit(row, lake.columnIds(table));
    const [rowId, hlc, client] = [edit.row, edit.stamp.slice(0, 16), edit.stamp.slice(16)];
    return { ...edit, row: `${table}/${rowId}`, table, rowId, client, hlc };
  });
}

/** What a destination gives back: the latest rows, and the history of a shard, in the shapes that a flush came in. */
import type { DeltasSinceQuery, HistoryBatch, LatestStateQuery, RowBatch, ShardProgress } from "../../core/index.ts";
import {
  ABSENT,
  type Absent,
  type ClientId,
  compareCodePoints,
  type HlcText,
  hlcFromBigInt,
  invariant,
  letterOf,
  makeStamp,
  type Op,
  type Scalar,
  type Seq,
  type TableSchema,
} from "../../schemas/index.ts";
import { decodeLong, decodeString } from "./bounds.ts";
import type { LakeDeps } from "./deps.ts";
import { fieldNamed, fieldsOf, identOf, KINDS, type LakeField, type TableKind } from "./layout.ts";
import { currentSchema, type LiveEntry } from "./manifest.ts";
import { selectFirst } from "./select.ts";
import { loadOrUndefined } from "./tables.ts";
import { currentSnapshot, digestsOf, shardsIn, watermarkOf } from "./watermark.ts";

/**
 * Live rows after an id, in order of id. The lake keeps one stamp a row, so every cell has the row's, and no client: exact
 * stamps are in the history.
 */
export async function latestState(deps: LakeDeps, { table, after, limit, ids }: LatestStateQuery): Promise<RowBatch> {
  const wanted = ids && new Set(ids);
  const sorted = ids?.toSorted(compareCodePoints);
  const isAsked = (rowId: string) =>
    (!wanted || wanted.has(rowId)) && (after === undefined || compareCodePoints(rowId, after) > 0);
  const lake = await openTable(deps, table, "main");
  const id = lake && fieldNamed(lake.fields, "_id");
  const fields = lake?.fields ?? [];
  const values = id
    ? await selectFirst<string>(deps.store, lake.snapshot, {
        keys: [id],
        keyOf: ([rowId]) => (isAsked(rowId as string) ? (rowId as string) : undefined),
        compare: compareCodePoints,
        skip: (entry) =>
          (after !== undefined && endsBefore(entry, id, after)) ||
          (sorted !== undefined && holdsNone(entry, id, sorted)),
        limit,
        columns: fields,
      })
    : [];
  const own = ownColumns(fields, values);
  const rowIds = own("_id") as string[];
  const seqs = own("_seq") as Seq[];
  const stamps = own("_hlc").map((hlc) => makeStamp(hlcText(hlc), "" as ClientId));
  return {
    rowIds,
    stamps,
    seqs,
    deleted: rowIds.map(() => false),
    flushedSeqs: seqs,
    columns: userColumns(table, fields, values, rowIds.length),
    cellStamps: table.columns.map(() => stamps),
  };
}

/** Edits of a shard after a seq, in order, each with exactly the columns that it named. */
export async function deltasSince(
  deps: LakeDeps,
  { table, shard, afterSeq, limit }: DeltasSinceQuery,
): Promise<HistoryBatch> {
  const lake = await openTable(deps, table, "changes");
  const fields = lake?.fields ?? [];
  const seqField = lake && fieldNamed(fields, "_seq");
  const values = seqField
    ? await selectFirst<number>(deps.store, lake.snapshot, {
        keys: [seqField, fieldNamed(fields, "_shard")],
        keyOf: ([seq, of]) => (of === shard && (seq as number) > afterSeq ? (seq as number) : undefined),
        compare: (a, b) => a - b,
        skip: ({ data_file }) => {
          const upper = data_file.upper_bounds?.get(seqField.fieldId);
          return upper !== undefined && decodeLong(upper) <= BigInt(afterSeq);
        },
        limit,
        columns: fields,
      })
    : [];
  const own = ownColumns(fields, values);
  const named = own("_columns").map((ids) => new Set(String(ids).split(",")));
  const data = userColumns(table, fields, values, named.length).map(({ name, values }, of) => {
    const id = String(table.columns[of]?.id);
    return { name, values: values.map((value, at): Scalar | Absent => (named[at]?.has(id) ? value : ABSENT)) };
  });
  return {
    seqs: own("_seq") as Seq[],
    receivedMs: own("_received").map((micros) => Number(micros) / 1000),
    batch: {
      table: table.table,
      ops: own("_op")
        .map((op) => letterOf(op as Op))
        .join(""),
      rowIds: own("_id") as string[],
      hlcs: own("_hlc").map(hlcText),
      clients: own("_client_id") as ClientId[],
      columns: data.filter((column) => column.values.some((value) => value !== ABSENT)),
    },
  };
}

/**
 * How far the lake has come with each shard: with its rows and its history, since a flush may have been killed between the
 * two. A source that has no history, such as another tier, is known by its rows.
 */
export async function lakeProgress(deps: LakeDeps, table: TableSchema): Promise<ShardProgress[]> {
  const [rows, changes] = await Promise.all(
    KINDS.map(async (kind) => (await loadOrUndefined(deps, identOf(deps, table.table, kind)))?.metadata),
  );
  if (!rows || !changes) return [];
  const digests = digestsOf(rows);
  const histories = new Set(shardsIn(changes));
  return [...new Set([...histories, ...shardsIn(rows)])].map((shard) => {
    const ofRows = watermarkOf(rows, shard);
    const watermark = (histories.has(shard) ? Math.min(ofRows, watermarkOf(changes, shard)) : ofRows) as Seq;
    const digest = digests[shard];
    return { shard, watermark, ...(digest !== undefined && { digest }) };
  });
}

async function openTable(deps: LakeDeps, table: TableSchema, kind: TableKind) {
  const loaded = await loadOrUndefined(deps, identOf(deps, table.table, kind));
  if (!loaded) return undefined;
  const { metadata } = loaded;
  return { fields: fieldsOf(currentSchema(metadata), kind), snapshot: currentSnapshot(metadata) };
}

const ownColumns = (fields: readonly LakeField[], values: readonly (readonly Scalar[])[]) => (name: string) =>
  (values[fields.findIndex((field) => field.name === name && field.columnId === undefined)] ?? []) as Scalar[];

/** The user's columns as the table now has them; one that the lake does not have yet is null throughout. */
function userColumns(
  table: TableSchema,
  fields: readonly LakeField[],
  values: readonly (readonly Scalar[])[],
  rows: number,
): { name: string; values: readonly Scalar[] }[] {
  return table.columns.map(({ id, name }) => {
    const at = fields.findIndex((field) => field.columnId === id);
    return { name, values: values[at] ?? new Array<Scalar>(rows).fill(null) };
  });
}

/** Whether all ids of a file are at most `after`. */
function endsBefore({ data_file }: LiveEntry, id: LakeField, after: string): boolean {
  const upper = data_file.upper_bounds?.get(id.fieldId);
  return upper !== undefined && compareCodePoints(decodeString(upper), after) <= 0;
}

/** Whether none of the sorted ids lies within a file's bounds. */
function holdsNone({ data_file }: LiveEntry, id: LakeField, ids: readonly string[]): boolean {
  const lower = data_file.lower_bounds?.get(id.fieldId);
  const upper = data_file.upper_bounds?.get(id.fieldId);
  if (!lower || !upper) return false;
  const least = decodeString(lower);
  const first = ids.find((each) => compareCodePoints(each, least) >= 0);
  return first === undefined || compareCodePoints(first, decodeString(upper)) > 0;
}

function hlcText(long: Scalar): HlcText {
  const text = hlcFromBigInt(BigInt.asUintN(64, BigInt(long as string | number)));
  invariant(text, "a long is 64 bits");
  return text;
}

/**
 * A table at a moment: the rows of a snapshot that holds nothing that came later, and over them the rows that were touched
 * since, merged anew from the history by the shard's own rules (core/merge.ts), as exact as the shard itself (L6).
 *
 *   base      newest snapshot whose newest edit belongs to the moment; none: everything is merged
 *   touched   rows with an edit that belongs to the moment and is not in the base
 */
import {
  applyEdit,
  cellOf,
  emptyRow,
  isAlive,
  type LakeAdapter,
  type LoadedTable,
  newestStamp,
  type RowState,
  type Snapshot,
  type TableMetadata,
} from "../core/index.ts";
import {
  currentSchema,
  currentSnapshot,
  decodeLong,
  decodeString,
  fieldsOf,
  type LakeField,
  type LiveEntry,
  scanSnapshot,
} from "../lake/index.ts";
import {
  type ClientId,
  compareCodePoints,
  hlcFromBigInt,
  hlcToBigInt,
  LakeSyncError,
  letterOf,
  makeStamp,
  type Op,
  type Scalar,
  stampHlc,
} from "../schemas/index.ts";
import { type Edit, includes, type Moment, type Watermarks } from "./moment.ts";

const WATERMARK = "lakesync.watermark.";

export interface Live {
  readonly edits: readonly Edit[];
  readonly heads: Watermarks;
}

export interface TableSource {
  readonly name: string;
  readonly store: LakeAdapter;
  readonly main: LoadedTable | undefined;
  readonly changes: LoadedTable | undefined;
  /** Fields of `main` and of `changes` as they now are. */
  readonly fields: readonly LakeField[];
  readonly changeFields: readonly LakeField[];
  /** What the gateway has not flushed. */
  readonly live: Live | undefined;
}

/** What a query saw of a table. */
export interface Seen {
  /** The snapshot that its rows came from, where there is one. */
  readonly snapshot?: string;
  /** Highest seq of each shard in it, with live rows those of the shards themselves. */
  readonly watermarks: Readonly<Record<string, number>>;
}

export interface Counts {
  files: number;
  /** Files that the bounds in their manifests ruled out. */
  filesPruned: number;
}

export type Batch = readonly (readonly Scalar[] | undefined)[];
type Skip = (entry: LiveEntry) => boolean;

export const heldBy = (summary: Readonly<Record<string, string>> | undefined): Watermarks =>
  new Map(
    Object.entries(summary ?? {}).flatMap(([key, value]) =>
      key.startsWith(WATERMARK) ? [[key.slice(WATERMARK.length), Number(value)] as const] : [],
    ),
  );

export class TableAt {
  readonly #source: TableSource;
  readonly #moment: Moment;
  readonly #base: Snapshot | undefined;
  /** What belongs to the moment, for a snapshot: its watermarks. */
  readonly #held: Watermarks;

  constructor(source: TableSource, moment: Moment) {
    this.#source = source;
    this.#moment = moment;
    this.#base = baseOf(source, moment);
    this.#held = heldBy(this.#base?.summary);
  }

  get seen(): Seen {
    const id = this.#base?.["snapshot-id"];
    const watermarks = this.#moment.kind === "now" ? (this.#source.live?.heads ?? this.#held) : this.#held;
    return { ...(id !== undefined && { snapshot: String(id) }), watermarks: Object.fromEntries(watermarks) };
  }

  #belongs(edit: Pick<Edit, "shard" | "seq" | "received" | "hlc">): boolean {
    return includes(this.#moment, edit, this.#held);
  }

  /** Rows, in columns as `fields` of the source has them; columns that are not wanted are undefined. */
  async *rows(wanted: ReadonlySet<string>, skip: Skip, counts: Counts): AsyncGenerator<Batch> {
    const { fields, store } = this.#source;
    const touched = await this.#touched(counts);
    const columns = fields.filter(({ name }) => wanted.has(name) || name === "_id");
    const at = fields.map((field) => columns.indexOf(field));
    const id = columns.findIndex(({ name }) => name === "_id");
    const counted = counting(skip, counts);
    if (this.#base)
      for await (const batch of scanSnapshot(store, this.#base, { columns, skip: counted })) {
        const ids = batch.columns[id] as readonly string[];
        const stays = touched.size === 0 ? undefined : keysOf(ids, (each) => !touched.has(each));
        const values = stays ? batch.columns.map((column) => stays.map((row) => column[row] as Scalar)) : batch.columns;
        yield at.map((column) => values[column]);
      }
    if (touched.size > 0) yield rowsOf(await this.#merged(touched, columns, counts), fields);
  }

  /** Ids of rows with edits that belong here and are not in the base. */
  async #touched(counts: Counts): Promise<ReadonlySet<string>> {
    const ids = new Set<string>();
    const { kind } = this.#moment;
    if (kind === "snapshot" || (kind === "now" && !this.#source.live)) return ids;
    const base = this.#held;
    const least = base.size === 0 ? 0 : Math.min(...base.values());
    const seq = this.#changeField("_seq");
    const inBase: Skip = (entry) => {
      const upper = entry.data_file.upper_bounds?.get(seq.fieldId);
      // Of one shard only: others may have begun later.
      return base.size === 1 && upper !== undefined && decodeLong(upper) <= BigInt(least);
    };
    for await (const edit of this.#edits([], inBase, counts))
      if (edit.seq > (base.get(edit.shard) ?? 0)) ids.add(edit.rowId);
    return ids;
  }

  async #merged(ids: ReadonlySet<string>, columns: readonly LakeField[], counts: Counts): Promise<Map<string, Merged>> {
    const rows = new Map<string, Merged>();
    for await (const edit of this.#edits(columns, idsRuledOut(ids, this.#changeField("_id")), counts)) {
      if (!ids.has(edit.rowId)) continue;
      const row = rows.get(edit.rowId) ?? { state: emptyRow(), seq: 0 };
      rows.set(edit.rowId, row);
      const changed = applyEdit(row.state, letterOf(edit.op) as "I", makeStamp(edit.hlc, edit.clientId), edit.cells, 0);
      if (changed) row.seq = Math.max(row.seq, edit.seq);
    }
    return rows;
  }

  /** Merged rows of some ids that are alive at the moment, by id, cells by column name. */
  async rowsOf(ids: ReadonlySet<string>, counts: Counts): Promise<Map<string, Record<string, Scalar>>> {
    const { fields } = this.#source;
    const users = fields.filter((field) => field.columnId !== undefined);
    const found = new Map<string, Record<string, Scalar>>();
    for (const [id, { state }] of await this.#merged(ids, fields, counts))
      if (isAlive(state)) found.set(id, Object.fromEntries(users.map((field) => [field.name, cell(state, field)])));
    return found;
  }

  #changeField(name: string): LakeField {
    const field = this.#source.changeFields.find((each) => each.name === name && each.columnId === undefined);
    if (!field) throw new LakeSyncError("Corrupt", `The history of ${this.#source.name} has no column ${name}.`);
    return field;
  }

  /** Edits that belong to the moment, with the cells of these columns. */
  async *#edits(columns: readonly LakeField[], skip: Skip, counts: Counts): AsyncGenerator<Edit> {
    for await (const edit of editsOf(this.#source, columns, (entry) => skip(entry) || this.#later(entry), counts))
      if (this.#belongs(edit)) yield edit;
  }

  /** Whether all of a file of history is later than the moment. */
  #later({ data_file }: LiveEntry): boolean {
    const moment = this.#moment;
    if (moment.kind !== "time" && moment.kind !== "hlc") return false;
    const field = this.#changeField(moment.kind === "time" ? "_received" : "_hlc");
    const lower = data_file.lower_bounds?.get(field.fieldId);
    const last = moment.kind === "time" ? BigInt(Math.floor(moment.micros)) : hlcToBigInt(moment.hlc);
    return lower !== undefined && decodeLong(lower) > last;
  }

  /** The history as it was, in columns as `changeFields` of the source has them. */
  async *history(counts: Counts): AsyncGenerator<Batch> {
    const { changeFields } = this.#source;
    let rows: Edit[] = [];
    for await (const edit of this.#edits(changeFields, () => false, counts)) {
      rows.push(edit);
      if (rows.length < HISTORY_ROWS) continue;
      yield historyOf(rows, changeFields);
      rows = [];
    }
    if (rows.length > 0) yield historyOf(rows, changeFields);
  }
}

const HISTORY_ROWS = 8192;

interface Merged {
  readonly state: RowState;
  seq: number;
}

function baseOf({ name, main }: TableSource, moment: Moment): Snapshot | undefined {
  if (!main) return undefined;
  const { metadata } = main;
  if (moment.kind === "now") return currentSnapshot(metadata);
  if (moment.kind === "snapshot") {
    const found = metadata.snapshots?.find((each) => String(each["snapshot-id"]) === moment.id);
    if (found) return found;
    throw new LakeSyncError("NotFound", `Table ${name} has no snapshot ${moment.id}, or it has expired; ask by time.`);
  }
  const fits = ({ summary }: Snapshot): boolean => {
    if (moment.kind === "time") return summary[TO_MS] !== undefined && Number(summary[TO_MS]) * 1000 <= moment.micros;
    return summary[MAX_HLC] !== undefined && BigInt(summary[MAX_HLC]) <= hlcToBigInt(moment.hlc);
  };
  return ancestors(metadata).find(fits);
}

const TO_MS = "lakesync.to-ms";
const MAX_HLC = "lakesync.max-hlc";

/** Retained snapshots of the current one's line, newest first. */
function ancestors(metadata: TableMetadata): Snapshot[] {
  const byId = new Map(metadata.snapshots?.map((each) => [each["snapshot-id"], each]));
  const line: Snapshot[] = [];
  for (let at = currentSnapshot(metadata); at; at = byId.get(at["parent-snapshot-id"] ?? -1)) line.push(at);
  return line;
}

function counting(skip: Skip, counts: Counts): Skip {
  return (entry) => {
    const skipped = skip(entry);
    counts.files += 1;
    if (skipped) counts.filesPruned += 1;
    return skipped;
  };
}

/** All of these ids are below or above those of a file. */
function idsRuledOut(ids: ReadonlySet<string>, field: LakeField): Skip {
  let [least, greatest]: [string | undefined, string | undefined] = [undefined, undefined];
  for (const id of ids) {
    if (least === undefined || compareCodePoints(id, least) < 0) least = id;
    if (greatest === undefined || compareCodePoints(id, greatest) > 0) greatest = id;
  }
  return ({ data_file }) => {
    const [lower, upper] = [data_file.lower_bounds?.get(field.fieldId), data_file.upper_bounds?.get(field.fieldId)];
    if (least === undefined || greatest === undefined || !lower || !upper) return false;
    return compareCodePoints(decodeString(upper), least) < 0 || compareCodePoints(decodeString(lower), greatest) > 0;
  };
}

const BOOKKEEPING = ["_seq", "_shard", "_received", "_hlc", "_client_id", "_op", "_id", "_columns"] as const;

/** All edits that a table's lake knows, then those that it does not know yet; cells of these columns only. */
export async function* editsOf(
  { store, changes, changeFields, live }: TableSource,
  columns: readonly LakeField[],
  skip: Skip,
  counts: Counts,
): AsyncGenerator<Edit> {
  const ids = columns.flatMap(({ columnId }) => (columnId === undefined ? [] : [columnId]));
  const users = changeFields.filter(({ columnId }) => columnId !== undefined && ids.includes(columnId));
  const own = BOOKKEEPING.flatMap((name) => changeFields.filter((f) => f.name === name && f.columnId === undefined));
  const snapshot = changes && currentSnapshot(changes.metadata);
  const held = heldBy(snapshot?.summary);
  if (snapshot)
    for await (const batch of scanSnapshot(store, snapshot, {
      columns: [...own, ...users],
      skip: counting(skip, counts),
    })) {
      const [seq, shard, received, hlc, client, op, id, named] = batch.columns as readonly (readonly Scalar[])[];
      for (let row = 0; row < batch.positions.length; row++) {
        const names = users.length > 0 ? new Set(String(named?.[row]).split(",")) : undefined;
        const cells: Record<string, Scalar> = {};
        users.forEach(({ columnId }, at) => {
          if (names?.has(String(columnId))) cells[String(columnId)] = batch.columns[own.length + at]?.[row] as Scalar;
        });
        const text = hlcFromBigInt(BigInt.asUintN(64, BigInt(hlc?.[row] as string | number)));
        yield {
          seq: Number(seq?.[row]),
          shard: String(shard?.[row]),
          received: Number(received?.[row]),
          hlc: text as Edit["hlc"],
          clientId: String(client?.[row]) as ClientId,
          op: String(op?.[row]) as Op,
          rowId: String(id?.[row]),
          cells,
        };
      }
    }
  for (const edit of live?.edits ?? []) if (edit.seq > (held.get(edit.shard) ?? 0)) yield edit;
}

const cell = (state: RowState, field: LakeField): Scalar => cellOf(state, String(field.columnId)) ?? null;

function rowsOf(rows: ReadonlyMap<string, Merged>, fields: readonly LakeField[]): Batch {
  const alive = [...rows].filter(([, { state }]) => isAlive(state));
  return fields.map((field) =>
    alive.map(([id, { state, seq }]): Scalar => {
      if (field.columnId !== undefined) return cell(state, field);
      if (field.name === "_id") return id;
      return field.name === "_seq" ? seq : longOf(stampHlc(newestStamp(state)));
    }),
  );
}

const longOf = (hlc: Edit["hlc"]): string => hlcToBigInt(hlc).toString();

function historyOf(edits: readonly Edit[], fields: readonly LakeField[]): Batch {
  const of: Record<string, (edit: Edit) => Scalar> = {
    _seq: (edit) => edit.seq,
    _shard: (edit) => edit.shard,
    _received: (edit) => edit.received,
    _hlc: (edit) => longOf(edit.hlc),
    _client_id: (edit) => edit.clientId,
    _op: (edit) => edit.op,
    _id: (edit) => edit.rowId,
    _columns: (edit) => Object.keys(edit.cells).join(","),
  };
  return fields.map(({ name, columnId }) =>
    edits.map((edit) => (columnId === undefined ? (of[name]?.(edit) ?? null) : (edit.cells[String(columnId)] ?? null))),
  );
}

const keysOf = (ids: readonly string[], stays: (id: string) => boolean): number[] =>
  Array.from(ids.keys()).filter((row) => stays(ids[row] as string));

/** Fields of a table's current schema, or those that it would be created with. */
export const fieldsNow = (loaded: LoadedTable, kind: "main" | "changes"): LakeField[] =>
  fieldsOf(currentSchema(loaded.metadata), kind);

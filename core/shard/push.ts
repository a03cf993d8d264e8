/**
 * Push: edits in, one SQLite transaction, answer out (PU1 to PU3).
 *
 *   admit each delta by itself -> read the rows it names -> may this token write them? -> merge -> rows, log, in one go
 *
 * Everything is synchronous: within a shard nothing happens between reading the rows and writing them.
 */
import {
  type DeltaId,
  err,
  type HlcText,
  LakeSyncError,
  makeStamp,
  NO_STAMP,
  ok,
  ownTexts,
  type Result,
  ROW_BYTES_MAX,
  type Seq,
  type Stamp,
} from "../../schemas/index.ts";
import { deltaId } from "../delta-id.ts";
import { DigestChange, TableDigest } from "../digest.ts";
import { applyCells, cellOf, cloneRow, isAlive, showsEdit } from "../merge.ts";
import type { SqlStore } from "../ports/index.ts";
import { decidingColumns, type TableAccess, tableAccess } from "../sync-rules.ts";
import type { Candidate, Refusal } from "./admit.ts";
import type { ShardConfig } from "./config.ts";
import { columnNames } from "./digests.ts";
import { byTable, columnsOf, type Item, ownsAll, type PushInput, type TableWork } from "./input.ts";
import { type Aside, appendLog, editKey, knownEdits, type LogEntry } from "./log.ts";
import { movedEdits } from "./moved.ts";
import { type PackedRow, readRowsAt, writeRows } from "./store.ts";
import { type Cells, flushedVersion, newRow, packRow, type ShardRow, type StoredRow, unpackRow } from "./stored-row.ts";
import { type Before, cellsOf, mayWrite, pick, WRITE_FORBIDDEN } from "./write-rules.ts";

export interface Rejected extends Refusal {
  readonly deltaId: string;
  readonly table: string;
  readonly rowId: string;
  readonly hlc: HlcText;
}

export interface PushOutcome {
  /** Ids of accepted `deltas`, in order. */
  readonly accepted: DeltaId[];
  /** How many deltas were accepted in all, repeated ones included. */
  acceptedCount: number;
  readonly rejected: Rejected[];
  /** Highest clock among what was taken. */
  highest: HlcText | "";
}

/** What a push needs to know of the shard it goes into. */
export interface PushContext {
  readonly sql: SqlStore;
  readonly config: ShardConfig;
  /** Highest seq given out. */
  readonly head: number;
  /** Seqs up to here are flushed, or in the flush that is under way: changing such a row leaves a version behind in the lake. */
  readonly flushBoundary: Seq;
  /** Seqs above here and up to the boundary are being flushed now: the flush has to see rows as they were. */
  readonly leaseFrom: number;
  readonly aside: Aside;
  tableNumber(name: string): number;
  /** Of a table's rows, as they are before the push. */
  digest(t: number): TableDigest;
}

export interface PushResult extends PushOutcome {
  readonly head: number;
  readonly loggedBytes: number;
  readonly loggedDeltas: number;
  /** Of the tables that changed. */
  readonly digests: ReadonlyMap<number, TableDigest>;
}

/**
 * Takes a push. The caller holds the transaction.
 * @returns `ShardMoved`, before anything is written, when a row of it lives elsewhere by now (PU4)
 */
export function push(context: PushContext, input: PushInput): Result<PushResult, LakeSyncError> {
  if (!ownsAll(context.config, input))
    return err(
      new LakeSyncError("ShardMoved", "Rows of this push are being moved to another shard; push again in a moment."),
    );
  const outcome: PushOutcome = { accepted: [], acceptedCount: 0, rejected: [], highest: "" };
  let head = context.head;
  let loggedBytes = 0;
  const digests = new Map<number, TableDigest>();
  for (const work of byTable(context.config, input)) {
    const run = new TablePush(context, input, work, outcome);
    const written = run.write(head);
    head = written.head;
    loggedBytes += written.bytes;
    if (written.digest) digests.set(...written.digest);
  }
  return ok({ ...outcome, head, loggedBytes, loggedDeltas: head - context.head, digests });
}

const utf8 = new TextEncoder();

const storedRow = (before: PackedRow | undefined): StoredRow =>
  before ? unpackRow(before.seq, before.state) : newRow();

/** What was read of a row, and what becomes of it. */
interface Touched {
  readonly id: string;
  row: StoredRow;
  /** As stored, for a flush under way; absent for a new row. */
  readonly before: PackedRow | undefined;
  changed: boolean;
  /** Of the stored text, from above. */
  bytes: number;
}

class TablePush {
  readonly #context: PushContext;
  readonly #input: PushInput;
  readonly #work: TableWork;
  readonly #outcome: PushOutcome;
  readonly #access: TableAccess;
  readonly #columns: ReturnType<typeof decidingColumns>;
  #aside: ReturnType<Aside["get"]>;
  /** The table's, after the edits so far. */
  #digest = new TableDigest();
  readonly #difference: DigestChange<number>;
  #rows: Touched[] = [];
  /** Absent where no row is named twice. */
  #byId: ReadonlyMap<string, Touched> | undefined;
  /** How many of the rows had their turn, where there is no map. */
  #turns = 0;
  readonly #entries: LogEntry[] = [];
  /** Edits without effect or trace: repeated ones, or late ones that lost. The log knows which. */
  readonly #traceless: Candidate[] = [];

  constructor(context: PushContext, input: PushInput, work: TableWork, outcome: PushOutcome) {
    const { config } = context;
    this.#context = context;
    this.#input = input;
    this.#work = work;
    this.#outcome = outcome;
    this.#difference = new DigestChange(columnNames(work.table));
    this.#access = work.table
      ? tableAccess(config.rules, work.table, input.claims)
      : { sees: () => false, writes: () => false, seesAll: false };
    this.#columns = work.table ? decidingColumns(config.rules, work.table) : { sees: [], decides: [] };
  }

  /** Judges and merges every item, then writes rows and log. @param head highest seq so far */
  write(head: number): { head: number; bytes: number; digest?: [number, TableDigest] } {
    const { sql, tableNumber } = this.#context;
    const { table, name, items } = this.#work;
    if (!table) {
      for (const item of items) this.#judge(item, NO_STAMP, head);
      return { head, bytes: 0 };
    }
    const t = tableNumber(name);
    this.#aside = this.#context.aside.get(t);
    this.#digest = this.#context.digest(t).copy();
    this.#load(t);
    const stamps = ownTexts(items.map(({ hlc }) => makeStamp(hlc, this.#input.clientId)));
    for (const [at, item] of items.entries()) this.#judge(item, stamps[at] as Stamp, head + this.#entries.length + 1);
    this.#logLosers(t);
    if (this.#entries.length === 0) return { head, bytes: 0 };
    writeRows(sql, t, this.#changedRows());
    const text = String(this.#digest);
    const bytes = appendLog(sql, t, this.#input.clientId, head + 1, this.#entries, this.#input.nowMs, text);
    return { head: head + this.#entries.length, bytes, digest: [t, this.#digest] };
  }

  #load(t: number): void {
    const ids = this.#work.items.flatMap(({ admitted, rowId }) => ("cells" in admitted ? [rowId] : []));
    // Ids in their order need no map, which costs as much as a third of reading the rows.
    const ascending = ids.every((id, at) => at === 0 || (ids[at - 1] as string) < id);
    const distinct = ascending ? ids : [...new Set(ids)];
    this.#rows = readRowsAt(this.#context.sql, t, distinct).map((before, at) => {
      const bytes = (before?.state.length ?? 0) * 3;
      return { id: distinct[at] as string, row: storedRow(before), before, changed: false, bytes };
    });
    if (!ascending) this.#byId = new Map(this.#rows.map((row) => [row.id, row]));
  }

  /** Called once for each candidate, in order. */
  #rowOf({ rowId }: Candidate): Touched {
    return (this.#byId ? this.#byId.get(rowId) : this.#rows[this.#turns++]) as Touched;
  }

  #judge(item: Item, stamp: Stamp, seq: number): void {
    const { admitted } = item;
    const refusal = "refusal" in admitted ? admitted.refusal : this.#take(item, admitted, stamp, seq);
    if (!refusal) {
      this.#outcome.acceptedCount++;
      if (item.hlc > this.#outcome.highest) this.#outcome.highest = item.hlc;
      if (item.loose) this.#outcome.accepted.push(this.#idOf(item));
    } else {
      const { rowId, hlc } = item;
      this.#outcome.rejected.push({
        ...refusal,
        deltaId: item.loose?.claimed || this.#idOf(item),
        table: this.#work.name,
        rowId: String(rowId),
        hlc,
      });
    }
  }

  #idOf(item: Item): DeltaId {
    return deltaId({
      clientId: this.#input.clientId,
      hlc: item.hlc,
      table: this.#work.name,
      rowId: String(item.rowId),
      columns: columnsOf(item),
    });
  }

  #take(item: Item, candidate: Candidate, stamp: Stamp, seq: number): Refusal | undefined {
    const { flushBoundary, leaseFrom } = this.#context;
    const touched = this.#rowOf(candidate);
    if (item.loose?.claimed && item.loose.claimed !== this.#idOf(item))
      return {
        code: "DeltaIdMismatch",
        message: "The deltaId is not the id of this delta; leave it out, or compute it as docs/SPEC.md (M4) has it.",
      };
    const { row } = touched;
    const unrestricted = this.#input.claims.role === "admin";
    const alive = isAlive(row.state);
    const before = alive && this.#leavesPlace(candidate) ? undefined : this.#before(row);
    const flushedSeq = flushedVersion(row, flushBoundary, this.#aside);
    if (this.#tooLarge(touched, candidate))
      return {
        code: "RowTooLarge",
        message: `The row would be larger than ${ROW_BYTES_MAX} bytes; split it, or keep large values elsewhere.`,
      };
    const edited = candidate.letter === "D" ? undefined : candidate.cells.columns;
    this.#difference.begin(candidate.rowId, row.state, edited);
    // Merged in place, since few edits are refused: such a row is read again, or was copied if an edit of this push is in it.
    const after = unrestricted || !touched.changed ? row.state : cloneRow(row.state);
    const changed = applyCells(after, candidate.letter, stamp, candidate.cells, seq);
    if (!unrestricted && !mayWrite(this.#access.writes, before, after, candidate.cells)) {
      if (!touched.changed) touched.row = storedRow(touched.before);
      return WRITE_FORBIDDEN;
    }
    if (!changed) {
      if (!showsEdit(row.state, stamp)) this.#traceless.push(candidate);
      return undefined;
    }
    this.#difference.addTo(this.#digest, after);
    const image =
      before?.alive && this.#movesRow(before.cells, after) ? pick(before.cells, this.#columns.sees) : undefined;
    const cow =
      touched.before && row.seq > leaseFrom && row.seq <= flushBoundary
        ? { seq: row.seq, packed: touched.before.state }
        : undefined;
    const next: StoredRow = { state: after, seq, flushedSeq };
    const grave = isAlive(after) ? undefined : alive ? before?.cells : row.grave;
    if (grave) next.grave = grave;
    touched.row = next;
    touched.changed = true;
    this.#entries.push(image || cow ? { ...candidate, ...(image && { image }), ...(cow && { cow }) } : candidate);
    return undefined;
  }

  /** Most edits: of a living row, they name no column that decides who may see or write it. */
  #leavesPlace({ letter, cells }: Candidate): boolean {
    return letter !== "D" && !cells.columns.some((id) => this.#columns.decides.includes(id));
  }

  #before({ state, grave }: StoredRow): Before {
    const cells = cellsOf(state, this.#columns.decides);
    return { alive: isAlive(state), cells, holdsCells: state.layers.length > 0, grave };
  }

  #movesRow(before: Cells, after: ShardRow): boolean {
    return !isAlive(after) || this.#columns.sees.some((id) => (before[id] ?? null) !== (cellOf(after, id) ?? null));
  }

  /**
   * Estimated from above first (a control character takes six bytes in JSON): exact counting is for the rows that come near
   * the limit. Row and edit count together, since a log entry may have to hold both. A delete makes no row larger.
   */
  #tooLarge(touched: Touched, { letter, cells }: Candidate): boolean {
    if (letter === "D") return false;
    let added = 64;
    for (const value of cells.values) {
      added += typeof value === "string" ? 16 + value.length * 6 : 40;
    }
    touched.bytes += added;
    if (touched.bytes <= ROW_BYTES_MAX) return false;
    const bytes = utf8.encode(packRow(touched.row)).length + utf8.encode(JSON.stringify(cells.values)).length;
    if (bytes > ROW_BYTES_MAX) touched.bytes -= added;
    return bytes > ROW_BYTES_MAX;
  }

  /** Late edits that lost everywhere change no row, but belong to the history, once. */
  #logLosers(t: number): void {
    if (this.#traceless.length === 0) return;
    const known = knownEdits(this.#context.sql, t, this.#input.clientId, this.#traceless);
    for (const entry of this.#entries) known.add(editKey(entry));
    const takenBefore = movedEdits(this.#context.sql, t, this.#input.clientId);
    for (const candidate of this.#traceless) {
      if (known.has(editKey(candidate)) || takenBefore(candidate.rowId, candidate.hlc)) continue;
      known.add(editKey(candidate));
      this.#entries.push(candidate);
    }
  }

  *#changedRows(): Generator<PackedRow> {
    for (const { id, row, changed } of this.#rows) if (changed) yield { id, seq: row.seq, state: packRow(row) };
  }
}

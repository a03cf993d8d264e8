/**
 * Push: edits in, one SQLite transaction, answer out (PU1 to PU3).
 *
 *   admit each delta by itself -> read the rows it names -> may this token write them? -> merge -> rows, log, in one go
 *
 * Everything is synchronous: within a shard nothing happens between reading the rows and writing them.
 */
import {
  type Claims,
  type ClientId,
  type DeltaBatch,
  type DeltaId,
  err,
  type HlcText,
  LakeSyncError,
  type LooseDelta,
  makeStamp,
  ok,
  type Result,
  ROW_BYTES_MAX,
  type Scalar,
  type Seq,
  type TableSchema,
} from "../../schemas/index.ts";
import { deltaId } from "../delta-id.ts";
import { applyEdit, cellOf, cloneRow, isAlive, showsEdit } from "../merge.ts";
import type { SqlStore } from "../ports/index.ts";
import { decidingColumns, type TableAccess, tableAccess } from "../sync-rules.ts";
import { type Admitted, admitBatch, admitLoose, type Candidate, type Refusal } from "./admit.ts";
import { ownsRow, type ShardConfig } from "./config.ts";
import { appendLog, knownClocks, type LogEntry } from "./log.ts";
import { type PackedRow, readRows, writeRows } from "./store.ts";
import { type Cells, flushedVersion, newRow, packRow, type StoredRow, unpackRow } from "./stored-row.ts";

export interface PushInput {
  readonly clientId: ClientId;
  readonly claims: Claims;
  readonly nowMs: number;
  /** Programs' edits, in columns. */
  readonly batches: readonly DeltaBatch[];
  /** People's edits; their ids are answered. */
  readonly deltas: readonly LooseDelta[];
}

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
  tableNumber(name: string): number;
}

export interface PushResult extends PushOutcome {
  readonly head: number;
  readonly loggedBytes: number;
  readonly loggedDeltas: number;
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
  for (const work of byTable(context.config, input)) {
    const run = new TablePush(context, input, work, outcome);
    const written = run.write(head);
    head = written.head;
    loggedBytes += written.bytes;
  }
  return ok({ ...outcome, head, loggedBytes, loggedDeltas: head - context.head });
}

/** Rows of known tables have to be this shard's; what belongs to no table is refused delta by delta. */
function ownsAll({ tables, owns }: ShardConfig, { batches, deltas }: PushInput): boolean {
  const known = new Set(tables.map((t) => t.table));
  const owned = (table: string, rowId: string) => !known.has(table) || ownsRow(owns[table], rowId);
  return (
    batches.every((b) =>
      owns[b.table]?.of === 1 && !owns[b.table]?.sealed ? true : b.rowIds.every((id) => owned(b.table, id)),
    ) && deltas.every((d) => owned(d.table, d.rowId))
  );
}

const utf8 = new TextEncoder();

interface TableWork {
  readonly name: string;
  readonly table: TableSchema | undefined;
  readonly items: Item[];
}

interface Item {
  readonly admitted: Admitted;
  /** What the delta was, for its id and for the refusal. */
  readonly rowId: string;
  readonly hlc: HlcText;
  readonly columns: () => Record<string, Scalar>;
  /** The delta came by itself: its id is answered, and the id it claims is compared. */
  readonly loose?: { readonly claimed: string };
}

function byTable(config: ShardConfig, input: PushInput): TableWork[] {
  const works = new Map<string, TableWork>();
  const workOf = (name: string): TableWork => {
    const work = works.get(name) ?? { name, table: config.tables.find((t) => t.table === name), items: [] };
    works.set(name, work);
    return work;
  };
  for (const batch of input.batches) {
    const { table, items } = workOf(batch.table);
    if (!table) {
      for (const [at, rowId] of batch.rowIds.entries())
        items.push({ admitted: unknownTable(batch.table), rowId, hlc: batch.hlcs[at] as HlcText, columns: () => ({}) });
      continue;
    }
    let at = 0;
    for (const admitted of admitBatch(table, batch, input.nowMs)) {
      const columns = () => ("candidate" in admitted ? namedCells(table, admitted.candidate.cells) : {});
      items.push({ admitted, rowId: batch.rowIds[at] as string, hlc: batch.hlcs[at] as HlcText, columns });
      at++;
    }
  }
  for (const delta of input.deltas) {
    const { table, items } = workOf(delta.table);
    const admitted = table ? admitLoose(table, delta, input.nowMs) : unknownTable(delta.table);
    const columns = () => (table && "candidate" in admitted ? namedCells(table, admitted.candidate.cells) : {});
    items.push({ admitted, rowId: delta.rowId, hlc: delta.hlc, columns, loose: { claimed: delta.deltaId } });
  }
  return [...works.values()];
}

const unknownTable = (name: string): Admitted => ({
  refusal: {
    code: "UnknownTable",
    message: `There is no table ${JSON.stringify(name.slice(0, 80))}; an admin puts its schema at /admin/tables/.`,
  },
});

function namedCells(table: TableSchema, cells: Cells): Record<string, Scalar> {
  const named: Record<string, Scalar> = {};
  for (const column of table.columns)
    if (Object.hasOwn(cells, column.id)) named[column.name] = cells[column.id] as Scalar;
  return named;
}

/** What was read of a row, and what becomes of it. */
interface Touched {
  row: StoredRow;
  /** As stored, for a flush under way; absent for a new row. */
  readonly before: PackedRow | undefined;
  changed: boolean;
  /** Length of the stored text, from above. */
  chars: number;
}

class TablePush {
  readonly #context: PushContext;
  readonly #input: PushInput;
  readonly #work: TableWork;
  readonly #outcome: PushOutcome;
  readonly #access: TableAccess;
  readonly #columns: ReturnType<typeof decidingColumns>;
  readonly #rows = new Map<string, Touched>();
  readonly #entries: LogEntry[] = [];
  /** Edits without effect or trace: repeated ones, or late ones that lost. The log knows which. */
  readonly #traceless: { candidate: Candidate }[] = [];

  constructor(context: PushContext, input: PushInput, work: TableWork, outcome: PushOutcome) {
    const { config } = context;
    this.#context = context;
    this.#input = input;
    this.#work = work;
    this.#outcome = outcome;
    this.#access = work.table
      ? tableAccess(config.rules, work.table, input.claims)
      : { sees: () => false, writes: () => false, seesAll: false };
    this.#columns = work.table ? decidingColumns(config.rules, work.table) : { sees: [], decides: [] };
  }

  /** Judges and merges every item, then writes rows and log. @param head highest seq so far */
  write(head: number): { head: number; bytes: number } {
    const { sql, tableNumber } = this.#context;
    const { table, name, items } = this.#work;
    if (!table) {
      for (const item of items) this.#judge(item, head);
      return { head, bytes: 0 };
    }
    const t = tableNumber(name);
    this.#load(t);
    for (const item of items) this.#judge(item, head + this.#entries.length + 1);
    this.#logLosers();
    if (this.#entries.length === 0) return { head, bytes: 0 };
    writeRows(sql, t, this.#changedRows());
    const bytes = appendLog(sql, t, this.#input.clientId, head + 1, this.#entries, this.#input.nowMs);
    return { head: head + this.#entries.length, bytes };
  }

  #load(t: number): void {
    const ids = new Set<string>();
    for (const { admitted } of this.#work.items) if ("candidate" in admitted) ids.add(admitted.candidate.rowId);
    for (const id of ids) this.#rows.set(id, { row: newRow(), before: undefined, changed: false, chars: 0 });
    for (const before of readRows(this.#context.sql, t, [...ids])) {
      const row = unpackRow(before.seq, before.state);
      this.#rows.set(before.id, { row, before, changed: false, chars: before.state.length });
    }
  }

  #judge(item: Item, seq: number): void {
    const { admitted } = item;
    const refusal = "refusal" in admitted ? admitted.refusal : this.#take(item, admitted.candidate, seq);
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
      columns: item.columns(),
    });
  }

  #take(item: Item, candidate: Candidate, seq: number): Refusal | undefined {
    const { flushBoundary, leaseFrom } = this.#context;
    if (item.loose?.claimed && item.loose.claimed !== this.#idOf(item))
      return {
        code: "DeltaIdMismatch",
        message: "The deltaId is not the id of this delta; leave it out, or compute it as docs/SPEC.md (M4) has it.",
      };
    const touched = this.#rows.get(candidate.rowId) as Touched;
    const { row } = touched;
    const stamp = makeStamp(candidate.hlc, this.#input.clientId);
    const unrestricted = this.#input.claims.role === "admin";
    // An admin's edit cannot be refused any more below, so it may be merged in place: what the row was is read first.
    const after = unrestricted ? row.state : cloneRow(row.state);
    const alive = isAlive(row.state);
    const deciding = cellsOf(row.state, this.#columns.decides);
    const flushedSeq = flushedVersion(row, flushBoundary);
    if (this.#tooLarge(touched, candidate))
      return {
        code: "RowTooLarge",
        message: `The row would be larger than ${ROW_BYTES_MAX} bytes; split it, or keep large values elsewhere.`,
      };
    const changed = applyEdit(after, candidate.letter, stamp, candidate.cells, seq);
    if (!unrestricted && !this.#mayWrite(row, after, candidate)) return WRITE_FORBIDDEN;
    if (!changed) {
      if (!showsEdit(row.state, stamp)) this.#traceless.push({ candidate });
      return undefined;
    }
    const image = alive && this.#movesRow(deciding, after) ? pick(deciding, this.#columns.sees) : undefined;
    const cow =
      touched.before && !touched.changed && row.seq > leaseFrom && row.seq <= flushBoundary
        ? { seq: row.seq, packed: touched.before.state }
        : undefined;
    const next: StoredRow = { state: after, seq, flushedSeq };
    const grave = isAlive(after) ? undefined : alive ? deciding : row.grave;
    if (grave) next.grave = grave;
    touched.row = next;
    touched.changed = true;
    this.#entries.push({
      letter: candidate.letter,
      rowId: candidate.rowId,
      hlc: candidate.hlc,
      cells: candidate.cells,
      ...(image && { image }),
      ...(cow && { cow }),
    });
    return undefined;
  }

  #movesRow(before: Cells, after: StoredRow["state"]): boolean {
    return !isAlive(after) || this.#columns.sees.some((id) => (before[id] ?? null) !== (cellOf(after, id) ?? null));
  }

  /**
   * Write rules hold for the row before and after. A row that is not alive is judged by what it was when it died and by
   * cells that outlived it; the id of one that is dead and empty is free to be inserted again. A row that may not be seen
   * and one that is not there get the same answer (PL4).
   */
  #mayWrite(before: StoredRow, after: StoredRow["state"], candidate: Candidate): boolean {
    const { writes } = this.#access;
    const alive = isAlive(after);
    if (isAlive(before.state))
      return writes((id) => cellOf(before.state, id)) && (!alive || writes((id) => cellOf(after, id)));
    const past = (id: number) => cellOf(before.state, id) ?? before.grave?.[id];
    const holdsCells = before.state.layers.length > 0;
    if (alive) return (!holdsCells || writes(past)) && writes((id) => cellOf(after, id));
    const known = holdsCells || before.grave !== undefined;
    return (!known || writes(past)) && writes((id) => candidate.cells[id] ?? past(id));
  }

  /** Estimated from above first: exact counting is for the rows that come near the limit. */
  #tooLarge(touched: Touched, candidate: Candidate): boolean {
    let added = 64;
    for (const id in candidate.cells) added += 8 + String(candidate.cells[id]).length;
    touched.chars += added;
    if (touched.chars * 3 <= ROW_BYTES_MAX) return false;
    const bytes = utf8.encode(packRow(touched.row)).length + utf8.encode(JSON.stringify(candidate.cells)).length;
    if (bytes <= ROW_BYTES_MAX) return false;
    touched.chars -= added;
    return true;
  }

  /** Late edits that lost everywhere change no row, but belong to the history, once. */
  #logLosers(): void {
    if (this.#traceless.length === 0) return;
    const clocks = this.#traceless.map((l) => l.candidate.hlc).sort();
    const known = knownClocks(this.#context.sql, this.#input.clientId, clocks);
    for (const entry of this.#entries) known.add(entry.hlc);
    for (const { candidate } of this.#traceless) {
      if (known.has(candidate.hlc)) continue;
      known.add(candidate.hlc);
      const { letter, rowId, hlc, cells } = candidate;
      this.#entries.push({ letter, rowId, hlc, cells });
    }
  }

  *#changedRows(): Generator<PackedRow> {
    for (const [id, { row, changed }] of this.#rows) if (changed) yield { id, seq: row.seq, state: packRow(row) };
  }
}

function cellsOf(state: StoredRow["state"], columns: readonly number[]): Cells {
  const cells: Cells = {};
  for (const id of columns) {
    const value = cellOf(state, id);
    if (value !== undefined) cells[id] = value;
  }
  return cells;
}

function pick(cells: Cells, columns: readonly number[]): Cells {
  const picked: Cells = {};
  for (const id of columns) if (cells[id] !== undefined) picked[id] = cells[id];
  return picked;
}

const WRITE_FORBIDDEN: Refusal = {
  code: "WriteForbidden",
  message:
    "The sync rules do not let this token write this row as it is or as it would be; the device has to take the edit back.",
};

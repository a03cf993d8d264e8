/**
 * Pull: what changed since a position, for one token (PL1 to PL8).
 *
 *   scan   the whole of each table in order of row id, from nothing; ends as a tail from where the shard stood at its start
 *   tail   the change lists after a seq; each row is sent where it changed last, with its present state
 *
 * A tail position is exact when the page that gave it was current: then the device holds every row just as it was at
 * that seq, and the first image of a row after it says whether the device has the row. In the middle of catching up it
 * may have a row from a later moment: then whole rows are sent, and any image that was visible counts.
 *
 * A device also has the rows that it wrote itself, whether or not it may see them: those are taken off it likewise.
 */
import {
  type Claims,
  type DeltaBatch,
  DeltaBatchBuilder,
  err,
  HLC_ZERO,
  LakeSyncError,
  ok,
  PAGE_LOOKS_MAX,
  READ_AHEAD_CHARS,
  type Result,
  type Scalar,
  type Seq,
  stampClient,
  stampHlc,
  type TableSchema,
} from "../../schemas/index.ts";
import type { TableDigest } from "../digest.ts";
import { cellOf, isAlive } from "../merge.ts";
import type { SqlStore } from "../ports/index.ts";
import { accessFingerprint, type TableAccess, tableAccess } from "../sync-rules.ts";
import type { ShardConfig } from "./config.ts";
import { type ChangeList, changesAfter, listedAfter } from "./log.ts";
import { type PackedRow, readRows, rowsAfter } from "./store.ts";
import { type Cells, type IdCells, type ShardRow, unpackRow } from "./stored-row.ts";
import { addRow, ENTRIES_MAX, NOBODY, namedCells } from "./whole-row.ts";

/** Where a device stands in one shard. */
export type Position =
  | { readonly at: "tail"; readonly seq: number; readonly exact: boolean }
  | { readonly at: "scan"; readonly seq: number; readonly table: string; readonly after: string };

export interface PullInput {
  readonly claims: Claims;
  /** Of the device, where it says so: what it wrote it holds. */
  readonly clientId?: string;
  /** Absent to start from nothing. */
  readonly position?: Position;
  /** What the position was bound to. Another than the shard's own means starting over (PL5). */
  readonly fingerprint: string;
  /** Empty for all. */
  readonly tables: readonly string[];
  readonly maxBytes: number;
}

export interface PullPage {
  readonly batches: readonly DeltaBatch[];
  readonly position: Position;
  readonly hasMore: boolean;
  readonly fingerprint: string;
  /** The position did not count, since rules or claims changed: the device drops what it holds before it applies this page. */
  readonly resync: boolean;
  /** Bytes of the page, roughly. */
  readonly bytes: number;
  /** Of the tables that the token sees whole, where the page makes the device current (V1). */
  readonly digests?: Readonly<Record<string, string>>;
}

export interface PullContext {
  readonly sql: SqlStore;
  readonly config: ShardConfig;
  readonly head: number;
  /** Positions below it are of an incarnation of this shard that was lost, or of before rows left it. */
  readonly floor: number;
  tableNumber(name: string): number;
  tableName(t: number): string;
  digest(table: string): TableDigest;
}

const expired = () =>
  new LakeSyncError(
    "CursorExpired",
    "The cursor is older than the changes that the gateway remembers; start again without a cursor, and keep the outbox.",
  );

export function pull(context: PullContext, input: PullInput): Result<PullPage, LakeSyncError> {
  const { config, head } = context;
  const fingerprint = accessFingerprint(config.rules, config.rulesVersion, input.claims);
  const resync = input.position !== undefined && input.fingerprint !== fingerprint;
  const position = resync ? undefined : input.position;
  if (position && position.seq > head) return err(expired()); // of a shard that was lost and rebuilt
  // A scan that began before the changes that are kept could not be completed by them either.
  if (position && position.seq < Math.max(context.floor, listedAfter(context.sql, head))) return err(expired());
  const page = new Page(context, input);
  const next = position?.at === "tail" ? page.tail(position.seq, position.exact) : page.scan(position);
  const hasMore = next.at === "scan" || next.seq < head;
  const digests = hasMore ? {} : { digests: page.digests() };
  return ok({ batches: page.batches(), position: next, hasMore, fingerprint, resync, bytes: page.bytes, ...digests });
}

/** What a token may see of some rows of a table, as they are now. */
export function pickRows(
  context: PullContext,
  claims: Claims,
  table: string,
  ids: readonly string[],
): readonly DeltaBatch[] {
  const page = new Page(context, { claims, fingerprint: "", tables: [table], maxBytes: Number.POSITIVE_INFINITY });
  page.pick(table, ids);
  return page.batches();
}

class Page {
  readonly #context: PullContext;
  readonly #input: PullInput;
  readonly #tables = new Map<string, { schema: TableSchema; access: TableAccess; names: Map<number, string> }>();
  readonly #builders = new Map<string, DeltaBatchBuilder>();
  #bytes = 0;
  #entries = 0;
  #looked = 0;
  /** Characters and number of rows read so far: what the next ones may be like. The first are taken to be large. */
  readonly #read = { chars: READ_AHEAD_CHARS / 32, rows: 1 };

  constructor(context: PullContext, input: PullInput) {
    this.#context = context;
    this.#input = input;
    const { config } = context;
    for (const schema of [...config.tables].sort((a, b) => (a.table < b.table ? -1 : 1))) {
      if (input.tables.length > 0 && !input.tables.includes(schema.table)) continue;
      if (!Object.hasOwn(config.owns, schema.table)) continue;
      const names = new Map(schema.columns.map((c) => [c.id, c.name]));
      this.#tables.set(schema.table, { schema, access: tableAccess(config.rules, schema, input.claims), names });
    }
  }

  get bytes(): number {
    return this.#bytes;
  }

  batches(): DeltaBatch[] {
    return [...this.#builders.values()].map((b) => b.build());
  }

  digests(): Record<string, string> {
    // Of a table with a hot window nobody knows what of it a device holds.
    const whole = [...this.#tables].filter(([, { access, schema }]) => access.seesAll && !schema.hot);
    return Object.fromEntries(whole.map(([name]) => [name, String(this.#context.digest(name))]));
  }

  get #full(): boolean {
    const { maxBytes } = this.#input;
    const entries = this.#entries;
    return (entries > 0 && this.#bytes >= maxBytes) || entries > ENTRIES_MAX || this.#looked >= PAGE_LOOKS_MAX;
  }

  /** How many rows to read next. */
  get #ahead(): number {
    const { chars, rows } = this.#read;
    return Math.max(1, Math.min(1000, Math.floor((READ_AHEAD_CHARS * rows) / chars)));
  }

  #noteRead(rows: readonly PackedRow[]): readonly PackedRow[] {
    for (const { state } of rows) this.#read.chars += state.length;
    this.#read.rows += rows.length;
    return rows;
  }

  scan(from: Extract<Position, { at: "scan" }> | undefined): Position {
    const start = from?.seq ?? this.#context.head;
    for (const name of this.#tables.keys()) {
      if (from && name < from.table) continue;
      let after = from?.table === name ? from.after : "";
      for (let done = false; !done; ) {
        if (this.#full) return { at: "scan", seq: start, table: name, after };
        const limit = this.#ahead;
        const rows = this.#scanRows(name, after, limit);
        for (const row of rows) {
          this.#looked++;
          this.#sendRow(name, unpackRow(row.seq, row.state).state, row.id, 0, true, true);
          after = row.id;
          if (this.#full) break;
        }
        done = rows.length < limit && after === (rows.at(-1)?.id ?? after);
      }
    }
    return { at: "tail", seq: start, exact: start === this.#context.head };
  }

  /** Rows by id, in the order of their bytes, as SQLite keeps them. */
  #scanRows(name: string, after: string, limit: number): readonly PackedRow[] {
    return this.#noteRead(rowsAfter(this.#context.sql, this.#context.tableNumber(name), after, limit));
  }

  /** Rows by id, as they are now, as far as they are to be seen. */
  pick(name: string, ids: readonly string[]): void {
    if (!this.#tables.has(name)) return;
    for (const row of readRows(this.#context.sql, this.#context.tableNumber(name), ids))
      this.#sendRow(name, unpackRow(row.seq, row.state).state, row.id, 0, true, true);
  }

  tail(since: number, exact: boolean): Position {
    const images = new Map<string, Cells[]>();
    let seq = since;
    for (const list of changesAfter(this.#context.sql, since as Seq)) {
      const skip = Math.max(0, since + 1 - list.first);
      if (this.#full) return { at: "tail", seq: list.first - 1, exact: false };
      const stopped = this.#tailList(list, skip, since, exact, images);
      seq = list.first + stopped - 1;
      if (stopped < list.ids.length) return { at: "tail", seq, exact: false };
    }
    return { at: "tail", seq: Math.max(seq, this.#context.head), exact: true };
  }

  /** @returns how many entries of the list were dealt with */
  #tailList(list: ChangeList, skip: number, since: number, exact: boolean, images: Map<string, Cells[]>): number {
    const name = this.#context.tableName(list.t);
    const table = this.#tables.get(name);
    if (!table) return list.ids.length;
    const imageAt = new Map(list.images);
    for (let from = skip, limit = this.#ahead; from < list.ids.length; from += limit, limit = this.#ahead) {
      const ids = list.ids.slice(from, from + limit);
      const read = this.#noteRead(readRows(this.#context.sql, list.t, [...new Set(ids)]));
      const rows = new Map(read.map((r) => [r.id, r]));
      for (let k = 0; k < ids.length; k++) {
        if (this.#full) return from + k;
        this.#looked++;
        const id = ids[k] as string;
        const image = imageAt.get(from + k);
        const own = list.client === this.#input.clientId;
        const key = `${list.t}:${id}`;
        if (image) images.set(key, [...(images.get(key) ?? []), image]);
        const row = rows.get(id);
        if (!row) continue; // the row left this shard
        this.#sendChange(
          table.access,
          name,
          row,
          list.first + from + k,
          { image: image !== undefined, own },
          images.get(key) ?? [],
          since,
          exact,
        );
      }
    }
    return list.ids.length;
  }

  #sendChange(
    access: TableAccess,
    name: string,
    row: PackedRow,
    seq: number,
    here: { readonly image: boolean; readonly own: boolean },
    seen: readonly Cells[],
    since: number,
    exact: boolean,
  ): void {
    const last = row.seq === seq;
    if (!last && !here.image && !here.own) return;
    const { state } = unpackRow(row.seq, row.state);
    if (isAlive(state) && access.sees((c) => cellOf(state, c))) {
      if (!last) return; // comes again where it changed last
      const whole = !exact || seen.length > 0 || state.insertedSeq > since;
      this.#sendRow(name, state, row.id, whole ? 0 : since, whole, false);
      return;
    }
    // Not to be seen now. The device has it if it was to be seen at the position, or, on the way, at any time since.
    const held = exact ? seen.slice(0, 1) : seen;
    if (!here.own && !held.some((image) => access.sees((c) => image[c]))) return;
    const builder = this.#builder(name);
    // Of a row that never was, of which somebody wrote cells, there is no delete to tell of.
    if (isAlive(state) || state.deleted === "") builder.add("R", row.id, HLC_ZERO, NOBODY, {});
    else builder.add("D", row.id, stampHlc(state.deleted), stampClient(state.deleted), {});
    this.#count(row.id.length + 40);
  }

  #sendRow(name: string, state: ShardRow, id: string, since: number, whole: boolean, judge: boolean): void {
    const table = this.#tables.get(name);
    if (!table || (judge && !(isAlive(state) && table.access.sees((c) => cellOf(state, c))))) return;
    const builder = this.#builder(name);
    const before = builder.count;
    const named = (cells: IdCells) => this.#named(table.names, cells);
    addRow(builder, id, state, { since, whole, named });
    const edits = builder.count - before;
    this.#count(edits * (id.length + 40), edits);
  }

  #named(names: ReadonlyMap<number, string>, cells: IdCells): Record<string, Scalar> {
    const named = namedCells(names, cells);
    for (const name in named) {
      const value = named[name];
      this.#bytes += typeof value === "string" ? value.length + 3 : 8;
    }
    return named;
  }

  #count(bytes: number, entries = 1): void {
    this.#bytes += bytes;
    this.#entries += entries;
  }

  #builder(table: string): DeltaBatchBuilder {
    const builder = this.#builders.get(table) ?? new DeltaBatchBuilder(table);
    this.#builders.set(table, builder);
    return builder;
  }
}

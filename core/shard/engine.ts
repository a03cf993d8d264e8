/**
 * A shard: ordering, durability and dedup of one tenant's rows of some tables, over a synchronous SQLite. The Durable
 * Object around it only carries calls; under Node and in the simulation it is the same engine.
 *
 *   push  edits in, seqs out          pull  what a token may see since a position
 *   lease / pages / settle            the flush to the lake and other destinations
 *   configure                         schemas, rules and the shard's slice, as the tenant says
 *   beginRebuild .. endRebuild        a shard that lost its storage (rebuild.ts)
 *   leaveBegin .. leaveEnd, thaw      rows that nobody touches leave, and come back for an edit (cold.ts)
 */
import {
  CHANGE_LIST_DELTAS,
  CHANGE_LIST_MS,
  type Claims,
  type DeltaBatch,
  err,
  FLUSH_LEASE_MS,
  FLUSH_PAGE_BYTES,
  HOT_LEAVE_EDITS,
  LakeSyncError,
  LOG_BYTES_MAX,
  NO_RULES,
  ok,
  RETRY_AFTER_SECONDS,
  type Result,
  type Seq,
  type TableSchema,
} from "../../schemas/index.ts";
import { TableDigest } from "../digest.ts";
import type { HistoryBatch, SqlStore } from "../ports/index.ts";
import { accessFingerprint } from "../sync-rules.ts";
import { type CheckpointChanges, type CheckpointRows, checkpointChanges, checkpointRows } from "./checkpoint.ts";
import { type ColdAsk, ColdRows, type ColdRun, type FilteredRun } from "./cold.ts";
import type { ShardConfig } from "./config.ts";
import { addRows, columnNames, countRows, type Digests, readDigests, writeDigests } from "./digests.ts";
import {
  assertLease,
  type FlushPage,
  historyPage,
  type Lease,
  leaseAgain,
  rowsPage,
  setAside,
  type TableResult,
  tablesIn,
} from "./flush.ts";
import type { HistoryText, RowsText } from "./flush-pages.ts";
import type { PushInput } from "./input.ts";
import { type Aside, dropLists, listedAfter, readAside, trimLog } from "./log.ts";
import { type ClientClocks, forgetMovedClocks, type MovedClock, movedClocks, noteMovedClocks } from "./moved.ts";
import { type PullContext, type PullInput, type PullPage, pickRows, pull } from "./pull.ts";
import { type PushOutcome, push } from "./push.ts";
import {
  beginRebuild,
  declareLost,
  endRebuild,
  LOST,
  opened,
  type RebuildContext,
  type RebuildState,
  type RebuildStep,
  readFloor,
  readRebuild,
  rebuildClocks,
  rebuildEdits,
  rebuildRows,
  rebuildStatus,
} from "./rebuild.ts";
import { Remembering } from "./remembering.ts";
import { leaseStatus, type ShardStatus, storedStatus } from "./status.ts";
import { createTables, type PackedRow, readMeta, readRows, writeMeta, writeRows } from "./store.ts";
import { flushedVersion, packRow, unpackRow } from "./stored-row.ts";

export interface ShardLimits {
  /** Bytes of unflushed log past which pushes are refused (PU5). */
  readonly logBytesMax: number;
  readonly leaseMs: number;
  readonly listMs: number;
  readonly listDeltas: number;
  /** Edits that have become older than a hot window before rows leave. */
  readonly leaveEdits: number;
}

const DEFAULT_LIMITS: ShardLimits = {
  logBytesMax: LOG_BYTES_MAX,
  leaseMs: FLUSH_LEASE_MS,
  listMs: CHANGE_LIST_MS,
  listDeltas: CHANGE_LIST_DELTAS,
  leaveEdits: HOT_LEAVE_EDITS,
};

/** Rows that may have left, each in whichever of its places it is. */
export interface ColdAsks {
  readonly version: number;
  readonly asks: readonly (ColdAsk & { readonly schema: TableSchema })[];
}

const outOfService = ({ at }: RebuildState): LakeSyncError =>
  new LakeSyncError(
    "Unavailable",
    `This shard ${at === LOST ? "has lost its storage and waits to be" : "is being"} rebuilt; keep the deltas, and come again.`,
    { retryAfterSeconds: RETRY_AFTER_SECONDS },
  );

export class ShardEngine {
  readonly #sql: SqlStore;
  readonly #limits: ShardLimits;
  readonly #names = new Map<string, number>();
  readonly #numbers = new Map<number, string>();
  #config: ShardConfig | undefined;
  #head = 0;
  #flushed = 0;
  #lease: Lease | undefined;
  #aside: Aside = new Map();
  #digests: Digests = new Map();
  #logBytes = 0;
  #oldestMs: number | null = null;
  #rebuild: RebuildState | undefined;
  #floor = 0;
  readonly #cold: ColdRows;

  constructor(sql: SqlStore, limits: Partial<ShardLimits> = {}) {
    this.#sql = sql;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#cold = new ColdRows(sql);
    sql.transaction(() => createTables(sql));
    this.#restore();
  }

  /** State from disk: at the start, and after a transaction that failed. */
  #restore(): void {
    const sql = this.#sql;
    this.#names.clear();
    this.#numbers.clear();
    for (const { t, name } of sql.exec<{ t: number; name: string }>("SELECT t, name FROM names"))
      this.#remember(t, name);
    const config = readMeta(sql, "config");
    this.#config = config === undefined ? undefined : (JSON.parse(config) as ShardConfig);
    const lease = readMeta(sql, "lease");
    this.#lease = lease === undefined ? undefined : (JSON.parse(lease) as Lease);
    this.#flushed = Number(readMeta(sql, "flushed") ?? 0);
    this.#measureLog();
    const [top] = sql.exec<{ head: number }>(
      "SELECT max(coalesce((SELECT max(last) FROM log), 0), coalesce((SELECT max(last) FROM lists), 0)) AS head",
    );
    this.#head = Math.max(top?.head ?? 0, this.#flushed, Number(readMeta(sql, "head") ?? 0));
    this.#rebuild = readRebuild(sql);
    this.#cold.restore();
    this.#floor = Math.max(readFloor(sql), this.#cold.left);
    this.#digests = this.#rebuild ? new Map() : readDigests(sql, (t) => this.#schema(t));
  }

  #schema(t: number): TableSchema | undefined {
    return this.#configured().tables.find(({ table }) => table === this.#numbers.get(t));
  }

  #measureLog(): void {
    const [log] = this.#sql.exec<{ bytes: number | null; oldest: number | null }>(
      "SELECT sum(bytes) AS bytes, min(at) AS oldest FROM log WHERE aside IS NULL",
    );
    this.#aside = readAside(this.#sql);
    this.#logBytes = log?.bytes ?? 0;
    this.#oldestMs = log?.oldest ?? null;
  }

  #remember(t: number, name: string): void {
    this.#names.set(name, t);
    this.#numbers.set(t, name);
  }

  #tableNumber(name: string): number {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    const t = this.#names.size + 1;
    this.#sql.exec("INSERT INTO names (t, name) VALUES (?, ?)", t, name);
    this.#remember(t, name);
    return t;
  }

  /** A transaction after whose failure memory and disk agree again. */
  #atomically<T>(body: () => T): T {
    try {
      return this.#sql.transaction(body);
    } catch (error) {
      this.#restore();
      throw error;
    }
  }

  get head(): number {
    return this.#head;
  }

  get config(): ShardConfig | undefined {
    return this.#config;
  }

  get unflushed(): { readonly deltas: number; readonly bytes: number; readonly oldestMs: number | null } {
    return { deltas: this.#head - this.#flushed, bytes: this.#logBytes, oldestMs: this.#oldestMs };
  }

  /** Takes over what the tenant says, unless it is older than what is known. */
  configure(config: ShardConfig): void {
    if (this.#config && config.version <= this.#config.version) return;
    this.#atomically(() => writeMeta(this.#sql, "config", JSON.stringify(config)));
    this.#config = config;
  }

  #configured(): ShardConfig {
    return (
      this.#config ?? { gatewayId: "", shard: "", version: 0, rulesVersion: 0, rules: NO_RULES, tables: [], owns: {} }
    );
  }

  /** Whose a client id is; undefined when this shard has not met it. */
  ownerOf(clientId: string): string | undefined {
    return this.#sql.exec<{ sub: string }>("SELECT sub FROM clients WHERE client = ? AND sub <> ''", clientId)[0]?.sub;
  }

  rememberOwner(clientId: string, sub: string): void {
    this.#sql.exec(
      "INSERT INTO clients (client, sub) VALUES (?, ?) ON CONFLICT (client) DO UPDATE SET sub = excluded.sub WHERE sub = ''",
      clientId,
      sub,
    );
  }

  /** @returns `LogFull` when the log is at its cap (PU5), `ShardMoved` for rows that live elsewhere (PU4): nothing is written then */
  push(input: PushInput): Result<PushOutcome, LakeSyncError> {
    if (this.#rebuild) return err(outOfService(this.#rebuild));
    if (this.#logBytes >= this.#limits.logBytesMax)
      return err(
        new LakeSyncError(
          "LogFull",
          "The gateway cannot flush to its destinations at the moment and its log is full. Keep the deltas and push again later.",
          {
            retryAfterSeconds: RETRY_AFTER_SECONDS,
          },
        ),
      );
    if (this.coldAsks(input).asks.length > 0)
      return err(new LakeSyncError("Unavailable", "Rows of this push have left the shard and are not back yet."));
    const lease = this.#lease;
    const boundary = (lease?.to ?? this.#flushed) as Seq;
    const context = {
      sql: this.#sql,
      config: this.#configured(),
      head: this.#head,
      flushBoundary: boundary,
      leaseFrom: lease?.from ?? boundary,
      aside: this.#aside,
      tableNumber: (name: string) => this.#tableNumber(name),
      digest: (t: number) => this.#digests.get(t) ?? new TableDigest(),
    };
    const result = this.#atomically(() => push(context, input));
    if (!result.ok) return result;
    const { head, loggedBytes, loggedDeltas, digests, ...outcome } = result.value;
    if (loggedDeltas > 0) {
      this.#head = head;
      for (const [t, digest] of digests) this.#digests.set(t, digest);
      this.#logBytes += loggedBytes;
      this.#oldestMs ??= input.nowMs;
    }
    return ok(outcome);
  }

  /** Rows that a push names and that may have left: they have to be back before it. */
  coldAsks({ batches, deltas }: Pick<PushInput, "batches" | "deltas">): ColdAsks {
    const asks = this.#configured().tables.flatMap((schema) => {
      const t = this.#names.get(schema.table);
      if (t === undefined || !schema.hot) return [];
      const ids = batches.filter(({ table }) => table === schema.table).flatMap(({ rowIds }) => rowIds);
      for (const { table, rowId } of deltas) if (table === schema.table) ids.push(String(rowId));
      return this.#cold.asks(t, ids).map((ask) => ({ ...ask, schema }));
    });
    return { version: this.#cold.version, asks };
  }

  /** Which of a table's rows may have left, and where they lie then. */
  coldAsksOf(table: string, ids: readonly string[]): ColdAsk[] {
    return this.#cold.asks(this.#names.get(table) ?? 0, ids);
  }

  /** Rows come back that were asked for, as they were when they left. @param asked ids that were looked for everywhere */
  thaw(version: number, table: string, asked: readonly string[], rows: readonly PackedRow[]): void {
    const schema = this.#known(table);
    this.#atomically(() => this.#cold.thaw(this.#tableNumber(table), schema, version, asked, rows));
  }

  /** The table whose rows are to leave now, if any is: nobody touched them for as long as its window is. */
  leaveBegin(token: string, nowMs: number): TableSchema | undefined {
    if (this.#rebuild) return undefined;
    const { tables, owns } = this.#configured();
    return tables.find(
      ({ table, hot }) =>
        hot &&
        Object.hasOwn(owns, table) &&
        this.#cold.begin(this.#tableNumber(table), token, hot.ageMs, nowMs, this.#limits.leaveEdits),
    );
  }

  leavingRows(token: string, after: string, maxChars = FLUSH_PAGE_BYTES): CheckpointRows {
    return this.#cold.page(token, after, maxChars, this.#aside);
  }

  /** @param rows id and seq of each row that the run holds @returns how many left */
  leave(
    token: string,
    table: string,
    run: ColdRun,
    filter: Uint8Array,
    rows: readonly (readonly [string, number])[],
  ): number {
    const schema = this.#known(table);
    const gone = this.#atomically(() => this.#cold.leave(schema, token, run, filter, rows));
    this.#floor = Math.max(this.#floor, this.#cold.left);
    return gone;
  }

  leaveEnd(token: string): void {
    this.#atomically(() => dropLists(this.#sql, Number.NEGATIVE_INFINITY, this.#cold.end(token)));
    this.#floor = Math.max(this.#floor, this.#cold.left);
  }

  /** The table whose runs are to be merged now, if any is, and which of them, oldest first. */
  runsToMerge(): { readonly schema: TableSchema; readonly runs: readonly ColdRun[] } | undefined {
    if (this.#rebuild) return undefined;
    for (const schema of this.#configured().tables) {
      const runs = this.#cold.toMerge(this.#names.get(schema.table) ?? 0);
      if (runs) return { schema, runs };
    }
    return undefined;
  }

  /** @returns false where runs have changed since they were read, and these do not take their place */
  mergeRuns(table: string, from: readonly string[], into: readonly FilteredRun[], nowMs: number): boolean {
    return this.#atomically(() => this.#cold.merge(this.#names.get(table) ?? 0, from, into, nowMs));
  }

  /** Names of the runs of rows that left which somebody may read that was told of them by this shard. */
  knownRuns(nowMs: number): string[] {
    return this.#cold.known(nowMs);
  }

  /** What has left of a table, oldest first. */
  coldRuns(table: string): ColdRun[] {
    return this.#cold.runs(this.#names.get(table) ?? 0);
  }

  pull(input: PullInput): Result<PullPage, LakeSyncError> {
    return this.#rebuild ? err(outOfService(this.#rebuild)) : pull(this.#reading(), input);
  }

  /** What several tokens would get by pulling from this seq. @returns of each the page; undefined where one is not enough */
  follow(since: number, inputs: readonly Omit<PullInput, "position" | "fingerprint">[]): (PullPage | undefined)[] {
    const context = { ...this.#reading(), sql: new Remembering(this.#sql) };
    return inputs.map((input) => {
      const fingerprint = this.fingerprint(input.claims);
      const page = pull(context, { ...input, fingerprint, position: { at: "tail", seq: since, exact: true } });
      return page.ok && !page.value.hasMore ? page.value : undefined;
    });
  }

  #reading(): PullContext {
    return {
      sql: this.#sql,
      config: this.#configured(),
      head: this.#head,
      floor: this.#floor,
      tableNumber: (name: string) => this.#names.get(name) ?? 0,
      tableName: (t: number) => this.#numbers.get(t) ?? "",
      digest: (name: string) => this.digest(name),
    };
  }

  /** Of a table's rows that are here (V1). */
  digest(table: string): TableDigest {
    return this.#digests.get(this.#names.get(table) ?? 0) ?? new TableDigest();
  }

  /** The same, by reading every row that is here: what it has to be. */
  countDigest(table: string): TableDigest {
    const t = this.#names.get(table) ?? 0;
    const digest = countRows(this.#sql, t, this.#schema(t));
    digest.addTable(this.#cold.digest(t));
    return digest;
  }

  /** Of a table's rows that have left. */
  coldDigest(table: string): TableDigest {
    return this.#cold.digest(this.#names.get(table) ?? 0);
  }

  #ownDigests(): Record<string, string> {
    return Object.fromEntries([...this.#digests].map(([t, digest]) => [this.#numbers.get(t) ?? "", String(digest)]));
  }

  /** What a token may see of some rows of a table, as they are now. */
  pick(claims: Claims, table: string, ids: readonly string[]): readonly DeltaBatch[] {
    return pickRows(this.#reading(), claims, table, ids);
  }

  /** What a token's cursor is bound to (PL5). */
  fingerprint(claims: Claims): string {
    const { rules, rulesVersion } = this.#configured();
    return accessFingerprint(rules, rulesVersion, claims);
  }

  /** Whether a device that stands at this seq can catch up from there (PL8). */
  remembers(seq: number): boolean {
    return seq <= this.#head && seq >= Math.max(this.#floor, listedAfter(this.#sql, this.#head));
  }

  /** A page of a table's rows by id, dead ones too, for a checkpoint. */
  checkpointRows(table: string, after: string, maxChars = FLUSH_PAGE_BYTES): CheckpointRows {
    return checkpointRows(this.#sql, this.#names.get(table) ?? 0, after, maxChars);
  }

  /** Rows that changed after a seq, as they are now, for a checkpoint. @param tables that it is of */
  checkpointChanges(tables: readonly string[], since: Seq, maxChars = FLUSH_PAGE_BYTES): CheckpointChanges {
    if (!this.remembers(since))
      throw new LakeSyncError("Conflict", "The shard no longer knows what changed since the checkpoint was begun.");
    const nameOf = (t: number) => tables.find((name) => name === this.#numbers.get(t));
    const digests = Object.fromEntries(tables.map((name) => [name, String(this.digest(name))]));
    const cold = Object.fromEntries(
      tables.map((name) => [name, { runs: this.coldRuns(name), digest: String(this.coldDigest(name)) }]),
    );
    return { ...checkpointChanges(this.#sql, nameOf, since, this.#head as Seq, maxChars), digests, cold };
  }

  /**
   * The next range to flush, or why there is none. A running lease is given again only once it has expired.
   * @param atOnce whether one that rests is given, too
   */
  lease(
    nowMs: number,
    token: string,
    atOnce = false,
  ): { readonly lease: Lease; readonly tables: readonly TableSchema[] } | "empty" | "busy" {
    const open = this.#lease;
    if (open && open.expiresMs > nowMs && !(atOnce && open.resting)) return "busy";
    if (this.#rebuild || (!open && this.#head === this.#flushed)) return "empty";
    const expiresMs = nowMs + this.#limits.leaseMs;
    const [top] = this.#sql.exec<{ at: number | null }>("SELECT max(at) AS at FROM log");
    const lease: Lease = open
      ? { ...open, token, expiresMs, attempt: open.attempt + 1, resting: false }
      : {
          token,
          from: this.#flushed as Seq,
          to: this.#head as Seq,
          expiresMs,
          attempt: 1,
          toMs: top?.at ?? nowMs,
          digests: this.#ownDigests(),
        };
    this.#atomically(() => writeMeta(this.#sql, "lease", JSON.stringify(lease)));
    this.#lease = lease;
    const names = tablesIn(this.#sql, lease).map((t) => this.#numbers.get(t));
    return { lease, tables: this.#configured().tables.filter((table) => names.includes(table.table)) };
  }

  /** Keeps a lease from expiring while its consumer is at work. Throws `LeaseLost` for a stale token. */
  renew(token: string, nowMs: number): void {
    const lease = { ...assertLease(this.#lease, token), expiresMs: nowMs + this.#limits.leaseMs };
    this.#atomically(() => writeMeta(this.#sql, "lease", JSON.stringify(lease)));
    this.#lease = lease;
  }

  /** @param after exclusive; the lease's `from` for the first page. Throws `LeaseLost` for a stale token. */
  flushRows(token: string, table: string, after: Seq, maxChars = FLUSH_PAGE_BYTES): FlushPage<RowsText> {
    return rowsPage(this.#sql, assertLease(this.#lease, token), this.#tableNumber(table), after, maxChars);
  }

  /** Likewise, for the history. */
  flushHistory(token: string, table: string, after: Seq, maxChars = FLUSH_PAGE_BYTES): FlushPage<HistoryText[]> {
    return historyPage(this.#sql, assertLease(this.#lease, token), this.#tableNumber(table), after, maxChars);
  }

  /** History that is not flushed yet, of no lease: a page of what came after `after`, up to `to`. */
  unflushedHistory(table: string, after: Seq, to: Seq, maxChars = FLUSH_PAGE_BYTES): FlushPage<HistoryText[]> {
    return historyPage(this.#sql, { from: after, to }, this.#tableNumber(table), after, maxChars);
  }

  /**
   * Ends a lease. When every table landed, or failed without hope, the log is trimmed (F2) and what failed is set aside with
   * its reason (F3). Otherwise the lease stays, to be taken again at once, or after a rest.
   */
  settle(token: string, results: readonly TableResult[], nowMs: number): "trimmed" | "again" {
    const lease = assertLease(this.#lease, token);
    const failed = [...results, ...this.#unanswered(lease, results)].filter((r) => r.error);
    const retry = failed.some((r) => !r.error?.hopeless) ? leaseAgain(lease, failed, nowMs) : undefined;
    this.#atomically(() => {
      writeMeta(
        this.#sql,
        "flushError",
        failed[0]?.error ? `${failed[0].table}: ${failed[0].error.message}` : undefined,
      );
      if (retry) {
        writeMeta(this.#sql, "lease", JSON.stringify(retry));
        return;
      }
      for (const { table, error } of failed) setAside(this.#sql, lease, this.#tableNumber(table), error?.message ?? "");
      trimLog(this.#sql, lease.from, lease.to);
      dropLists(this.#sql, nowMs - this.#limits.listMs, lease.to - this.#limits.listDeltas);
      writeMeta(this.#sql, "flushed", String(lease.to));
      writeMeta(this.#sql, "lease", undefined);
      writeDigests(this.#sql, this.#digests, this.#head);
      const { tables, owns } = this.#configured();
      const windows = tables.flatMap(({ table, hot }) => (hot && Object.hasOwn(owns, table) ? [hot.ageMs] : []));
      if (windows.length > 0) this.#cold.noteAge(lease.to, lease.toMs, Math.max(...windows));
    });
    if (retry) {
      this.#lease = retry;
      return "again";
    }
    this.#lease = undefined;
    this.#flushed = lease.to;
    this.#measureLog();
    return "trimmed";
  }

  /** Tables of a lease without a result: nothing of them may be trimmed unseen. */
  #unanswered(lease: Lease, results: readonly TableResult[]): TableResult[] {
    const answered = new Set(results.map((r) => r.table));
    const configured = new Set(this.#configured().tables.map((t) => t.table));
    return tablesIn(this.#sql, lease)
      .map((t) => this.#numbers.get(t) ?? "")
      .filter((table) => !answered.has(table))
      .map((table) =>
        configured.has(table)
          ? { table, error: { message: "The flush did not say what became of this table.", hopeless: false } }
          : { table, error: { message: "The table was dropped before its last deltas were flushed.", hopeless: true } },
      );
  }

  /** Log entries of a table that still wait to be flushed; those set aside do not count. */
  pending(table: string): number {
    const t = this.#names.get(table) ?? 0;
    return this.#sql.exec<{ n: number }>("SELECT count(*) AS n FROM log WHERE t = ? AND aside IS NULL", t)[0]?.n ?? 0;
  }

  /** What is known of the clocks of a table's clients, for a move. @param index of this shard among `count` */
  movedClocks(table: string, index: number, count: number): MovedClock[] {
    return movedClocks(this.#sql, this.#names.get(table) ?? 0, index, count);
  }

  /** The same of several tables, for a checkpoint. */
  clientClocks(tables: readonly string[]): ClientClocks {
    const { owns } = this.#configured();
    return Object.fromEntries(
      tables.flatMap((table) => {
        const slice = Object.hasOwn(owns, table) ? owns[table] : undefined;
        return slice ? [[table, this.movedClocks(table, slice.index, slice.of)]] : [];
      }),
    );
  }

  /** Stored rows of a table, by id, for a move to other shards. */
  exportRows(table: string, after: string, limit: number): PackedRow[] {
    const t = this.#names.get(table) ?? 0;
    return this.#sql.exec<PackedRow>(
      "SELECT id, seq, state FROM rows WHERE t = ? AND id > ? ORDER BY id LIMIT ?",
      t,
      after,
      limit,
    );
  }

  /**
   * Takes rows over from another shard as they are, seqs included, so that the lake still knows their versions. Seqs given
   * out from now on come after all of them.
   */
  importRows(table: string, rows: readonly PackedRow[], head: number, clocks: readonly MovedClock[] = []): void {
    const moved = rows.map(({ id, seq, state }) => {
      const row = unpackRow(seq, state);
      return { id, seq, state: packRow({ ...row, flushedSeq: flushedVersion(row, Number.POSITIVE_INFINITY as Seq) }) };
    });
    this.#atomically(() => {
      this.#countImport(table, moved, Math.max(head, this.#head));
      writeRows(this.#sql, this.#tableNumber(table), moved);
      if (clocks.length > 0) noteMovedClocks(this.#sql, this.#tableNumber(table), clocks);
      if (head > this.#head) writeMeta(this.#sql, "head", String(head));
      if (head > this.#head && this.#head === this.#flushed) writeMeta(this.#sql, "flushed", String(head));
    });
    if (head <= this.#head) return;
    if (this.#head === this.#flushed) this.#flushed = head;
    this.#head = head;
  }

  /** A copy may come again: what is there is taken out first. */
  #countImport(table: string, rows: readonly PackedRow[], head: number): void {
    const t = this.#tableNumber(table);
    const digest = (this.#digests.get(t) ?? new TableDigest()).copy();
    const nameOf = columnNames(this.#schema(t));
    const there = readRows(
      this.#sql,
      t,
      rows.map(({ id }) => id),
    );
    addRows(digest, there, nameOf, "remove");
    addRows(digest, rows, nameOf);
    this.#digests.set(t, digest);
    writeDigests(this.#sql, this.#digests, head);
  }

  /** Forgets a table's rows after they have moved. */
  dropRows(table: string): void {
    const t = this.#names.get(table);
    if (t === undefined) return;
    this.#atomically(() => {
      this.#sql.exec("DELETE FROM rows WHERE t = ?", t);
      forgetMovedClocks(this.#sql, t);
      this.#digests.delete(t);
      writeDigests(this.#sql, this.#digests, this.#head);
    });
  }

  /** How far a rebuild has come that is not over. */
  get rebuilding(): RebuildState | undefined {
    return this.#rebuild;
  }

  /** Whether `beginRebuild` would go on with a rebuild, and not begin one. */
  get rebuildBegun(): boolean {
    return this.#rebuild !== undefined && this.#rebuild.at !== LOST;
  }

  /**
   * Empties the shard to be rebuilt, or goes on with a rebuild that is under way.
   * @param at where the first step begins @param top a seq that is known to have been given out
   * @throws LakeSyncError `Conflict` where something is here
   */
  beginRebuild(at: string, nowMs: number, top: number, force: boolean): RebuildState {
    if (this.#rebuild && this.rebuildBegun && !force) return this.#rebuild;
    if (this.#head > 0 && !force)
      throw new LakeSyncError(
        "Conflict",
        `The shard is not empty: it stands at ${this.#head}. "force" drops what it holds, edits that were not flushed included.`,
        { head: this.#head },
      );
    this.#rebuilt(() => beginRebuild(this.#sql, at, nowMs, Math.max(top, this.#head)));
    return this.#rebuild as unknown as RebuildState;
  }

  /** Of a shard that was there before, and is blank: nobody is answered until it has been rebuilt. */
  declareLost(nowMs: number): void {
    if (this.#head === 0 && !this.#rebuild) this.#rebuilt(() => declareLost(this.#sql, nowMs));
  }

  rebuildRows(step: RebuildStep, table: string, rows: readonly PackedRow[]): RebuildState {
    const schema = this.#stepTable(step.at, table);
    return this.#rebuilt(() => rebuildRows(this.#rebuildContext(), step, schema, rows));
  }

  /** What a checkpoint knew of clients' clocks; told again, it changes nothing. */
  rebuildClocks(at: string, table: string, clocks: readonly MovedClock[]): void {
    const t = this.#tableNumber(this.#stepTable(at, table).table);
    this.#atomically(() => rebuildClocks(this.#sql, at, t, clocks));
  }

  rebuildEdits(step: RebuildStep, table: string, edits: HistoryBatch, watermark?: number): RebuildState {
    const schema = this.#stepTable(step.at, table);
    return this.#rebuilt(() => rebuildEdits(this.#rebuildContext(), step, schema, edits, watermark));
  }

  /** What the rebuilt tables' digests are, as of their last flush (V1). */
  rebuiltDigest(table: string): string {
    const t = this.#names.get(table) ?? 0;
    return this.#rebuild?.landed[t] ?? this.#rebuild?.digests[t] ?? String(new TableDigest());
  }

  endRebuild(at: string): void {
    this.#rebuilt(() => endRebuild(this.#sql, at));
  }

  /** A shard that has lost its storage once more knows no table, and no step. */
  #stepTable(at: string, table: string): TableSchema {
    opened(this.#sql, at);
    return this.#known(table);
  }

  #known(table: string): TableSchema {
    const schema = this.#configured().tables.find((each) => each.table === table);
    if (schema) return schema;
    throw new LakeSyncError("UnknownTable", `The shard knows no table ${JSON.stringify(table)}.`);
  }

  #rebuildContext(): RebuildContext {
    return { sql: this.#sql, config: this.#configured(), tableNumber: (name) => this.#tableNumber(name) };
  }

  #rebuilt<T>(body: () => T): T {
    const result = this.#atomically(body);
    this.#restore();
    return result;
  }

  status(): ShardStatus {
    const { shard, version } = this.#configured();
    return {
      shard,
      configVersion: version,
      head: this.#head,
      flushed: this.#flushed,
      unflushedDeltas: this.#head - this.#flushed,
      unflushedBytes: this.#logBytes,
      oldestMs: this.#oldestMs,
      lease: this.#lease ? leaseStatus(this.#lease) : null,
      ...(this.#rebuild && { rebuild: rebuildStatus(this.#rebuild) }),
      ...storedStatus(
        this.#sql,
        (t) => this.#numbers.get(t) ?? "",
        (t) => this.#cold.digest(t).rows,
      ),
    };
  }
}

/** What the shard's tests share: one small table, edits in a line, and a device that pulls. */
import {
  batchDeltas,
  type Claims,
  type ClientId,
  cellsAt,
  clientOf,
  type Delta,
  type DeltaBatch,
  type HlcText,
  makeStamp,
  type Op,
  type OpLetter,
  packHlc,
  type Scalar,
  type Seq,
  type SyncRules,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import { applyEdit, cellOf, emptyRow, isAlive, type RowState } from "../merge.ts";
import type { HistoryBatch, RowBatch, SqlStore } from "../ports/index.ts";
import type { ShardConfig } from "../shard/config.ts";
import { ShardEngine, type ShardLimits } from "../shard/engine.ts";
import type { FlushPage } from "../shard/flush.ts";
import { historyOf, rowsOf } from "../shard/flush-pages.ts";
import type { Position, PullPage } from "../shard/pull.ts";
import type { PushOutcome } from "../shard/push.ts";
import { NodeSqlStore } from "./node-sqlite.ts";

/** Gateway time at which every test starts. */
export const NOW = 1_800_000_000_000;

export function tableOf(table: string, columns: Record<string, TableSchema["columns"][number]["type"]>): TableSchema {
  const list = Object.entries(columns).map(([name, type], at) => ({ id: at + 1, name, type, nullable: true }));
  return { table, version: 1, columns: list, lastColumnId: list.length, shards: 0 };
}

export const TODOS = tableOf("todos", { user_id: "string", title: "string", priority: "integer" });
export const NOTES = tableOf("notes", { user_id: "string", body: "string" });

/** Everyone sees and writes the rows that carry their own name. */
const OWN_ROWS: SyncRules = {
  buckets: [{ name: "own", tables: ["todos", "notes"], filters: [{ column: "user_id", op: "eq", value: "jwt:sub" }] }],
};

export const configOf = (change: Partial<ShardConfig> = {}): ShardConfig => ({
  gatewayId: "demo",
  shard: "main",
  version: 1,
  rulesVersion: 1,
  rules: OWN_ROWS,
  tables: [NOTES, TODOS],
  owns: { todos: { index: 0, of: 1 }, notes: { index: 0, of: 1 } },
  ...change,
});

export const user = (sub: string, more: Record<string, unknown> = {}): Claims => ({ sub, role: "client", ...more });
export const ADMIN: Claims = { sub: "root", role: "admin" };

export function shardOf(
  config: Partial<ShardConfig> = {},
  limits: Partial<ShardLimits> = {},
  sql: SqlStore = new NodeSqlStore(),
): ShardEngine {
  const engine = new ShardEngine(sql, limits);
  engine.configure(configOf(config));
  return engine;
}

/** @param ms after NOW; edits of the past are negative */
export const clockAt = (ms: number, counter = 0): HlcText => packHlc(NOW + ms, counter);

export type Edit = Omit<Delta, "clientId">;

export const edit = (
  op: Op,
  rowId: string,
  ms: number,
  columns: Record<string, Scalar> = {},
  table = "todos",
): Edit => ({ op, rowId, hlc: clockAt(ms), columns, table });

/** Pushes edits of one client in columnar batches; each user has one client unless another is named. */
export function push(
  engine: ShardEngine,
  claims: Claims,
  edits: readonly Edit[],
  clientId = `c-${claims.sub}`,
  nowMs = NOW,
): PushOutcome {
  const id = clientId as ClientId;
  const batches = batchDeltas(edits.map((e) => ({ ...e, clientId: id })));
  return unwrap(engine.push({ clientId: id, claims, nowMs, batches, deltas: [] }));
}

/** A page of a lease as a consumer reads it. */
export function rowsPageOf(
  shard: ShardEngine,
  token: string,
  table: TableSchema,
  after: Seq,
  maxChars?: number,
): FlushPage<RowBatch> {
  const { page, ...next } = shard.flushRows(token, table.table, after, maxChars);
  return { page: rowsOf(table, page), ...next };
}

export function historyPageOf(
  shard: ShardEngine,
  token: string,
  table: TableSchema,
  after: Seq,
  maxChars?: number,
): FlushPage<HistoryBatch[]> {
  const { page, ...next } = shard.flushHistory(token, table.table, after, maxChars);
  return { page: page.map((text) => historyOf(table, text)), ...next };
}

/** A row as people compare it: cells and their stamps by column name. */
export type PlainRow = Readonly<Record<string, { readonly value: Scalar; readonly stamp: string }>>;

export function plainRow(row: RowState): PlainRow {
  const plain: Record<string, { value: Scalar; stamp: string }> = {};
  for (const { stamp, columns, values } of row.layers)
    for (const [k, name] of columns.entries()) plain[name] = { value: values[k] as Scalar, stamp };
  return plain;
}

/** One entry of a page. */
export interface Sent {
  readonly letter: OpLetter;
  readonly table: string;
  readonly rowId: string;
  readonly columns: Readonly<Record<string, Scalar>>;
}

export function sentIn(page: PullPage): Sent[] {
  return page.batches.flatMap((batch) =>
    batch.rowIds.map((rowId, at) => ({
      letter: batch.ops[at] as OpLetter,
      table: batch.table,
      rowId,
      columns: cellsAt(batch, at),
    })),
  );
}

/** What a device does with pages: merges edits by stamp, forgets rows that it may not see any more. */
export class Device {
  readonly claims: Claims;
  readonly rows = new Map<string, RowState>();
  position: Position | undefined;
  #fingerprint = "";

  constructor(claims: Claims) {
    this.claims = claims;
  }

  /** Takes what a checkpoint holds, to go on from there. */
  install(batches: readonly DeltaBatch[], position: Position, fingerprint: string): void {
    for (const batch of batches) this.#apply(batch);
    this.position = position;
    this.#fingerprint = fingerprint;
  }

  /** Pulls one page; an expired cursor makes the device start blank. */
  pullPage(engine: ShardEngine, maxBytes = 1 << 20, tables: readonly string[] = []): PullPage | "expired" {
    const input = { claims: this.claims, fingerprint: this.#fingerprint, tables, maxBytes };
    const result = engine.pull(this.position ? { ...input, position: this.position } : input);
    if (!result.ok) {
      if (result.error.code !== "CursorExpired") throw result.error;
      this.rows.clear();
      this.position = undefined;
      return "expired";
    }
    const page = result.value;
    if (page.resync) this.rows.clear();
    for (const batch of page.batches) this.#apply(batch);
    this.position = page.position;
    this.#fingerprint = page.fingerprint;
    return page;
  }

  /** Pulls until there is no more. @returns everything that was sent */
  pullAll(engine: ShardEngine, maxBytes = 1 << 20): Sent[] {
    const sent: Sent[] = [];
    for (let pages = 0; pages < 10_000; pages++) {
      const page = this.pullPage(engine, maxBytes);
      if (page === "expired") continue;
      sent.push(...sentIn(page));
      if (!page.hasMore) return sent;
    }
    throw new Error("A pull does not end.");
  }

  #apply(batch: DeltaBatch): void {
    for (let at = 0; at < batch.rowIds.length; at++) {
      const key = `${batch.table}/${batch.rowIds[at]}`;
      const letter = batch.ops[at] as OpLetter;
      if (letter === "R") {
        this.rows.delete(key);
        continue;
      }
      const row = this.rows.get(key) ?? emptyRow();
      this.rows.set(key, row);
      applyEdit(row, letter, makeStamp(batch.hlcs[at] as HlcText, clientOf(batch, at)), cellsAt(batch, at), 0);
    }
  }

  /** Rows that are alive on the device. */
  get alive(): Map<string, PlainRow> {
    const alive = [...this.rows].filter(([, row]) => isAlive(row));
    return new Map(alive.map(([key, row]) => [key, plainRow(row)] as const).sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** A cell of a row that is alive. */
  cell(key: string, column: string): Scalar | undefined {
    const row = this.rows.get(key);
    return row && isAlive(row) ? cellOf(row, column) : undefined;
  }
}

/**
 * The engine against a model, in random schedules: pushes by several clients (late, repeated, in part), pulls by several
 * devices page by page, changes of rules, leases that land, fail and expire, change lists that are dropped, reopening.
 * A lake is kept beside it, by what the leases hand over.
 */
import { ok, deepStrictEqual as same } from "node:assert";
import fc from "fast-check";
import {
  type Claims,
  type Op,
  packHlc,
  type Scalar,
  type Seq,
  type SyncRules,
  type TableSchema,
} from "../../schemas/index.ts";
import type { SqlStore } from "../ports/index.ts";
import { ShardEngine, type ShardLimits } from "../shard/engine.ts";
import type { Lease } from "../shard/flush.ts";
import { mayTouch, type OracleRow, rowOf, type StampedEdit } from "./oracle.ts";
import {
  ADMIN,
  configOf,
  Device,
  type Edit,
  historyPageOf,
  NOW,
  push,
  rowsPageOf,
  type Sent,
  sentIn,
  user,
} from "./shard-kit.ts";

const both = ["todos", "notes"];
const own = { column: "user_id", op: "eq", value: "jwt:sub" } as const;
const RULES: SyncRules[] = [
  { buckets: [{ name: "own", tables: both, filters: [own] }] },
  {
    buckets: [
      { name: "own", tables: both, filters: [own] },
      { name: "urgent", tables: ["todos"], filters: [{ column: "priority", op: "gte", value: 2 }], write: [own] },
    ],
  },
  { buckets: [{ name: "team", tables: both, filters: [{ column: "user_id", op: "in", value: "jwt:team" }] }] },
  { buckets: [{ name: "own, open to writes", tables: both, filters: [own], write: [] }] },
  { buckets: [{ name: "notes for all", tables: ["notes"], filters: [] }] },
];

const CLIENTS: Claims[] = [user("alice", { team: ["alice", "bob"] }), user("bob", { team: ["bob"] }), ADMIN];
const ROWS = ["todos/a", "todos/b", "notes/n"];
export const ROOMY: Partial<ShardLimits> = { leaseMs: 100 };
/** Change lists are dropped early. */
export const CRAMPED: Partial<ShardLimits> = { leaseMs: 100, listMs: 120, listDeltas: 2 };

const cellsArb = fc.record(
  {
    user_id: fc.constantFrom("alice", "bob", "alice", "bob", null),
    text: fc.constantFrom("x", "y", null),
    priority: fc.constantFrom(1, 2, 3, null),
  },
  { requiredKeys: [] },
);
const editArb = fc.record({
  op: fc.constantFrom<Op>("INSERT", "INSERT", "UPDATE", "UPDATE", "DELETE"),
  row: fc.constantFrom(...ROWS),
  when: fc.constantFrom("now", "now", "now", "late", "soon", "again"),
  cells: cellsArb,
});
const who = fc.nat(CLIENTS.length - 1);
/** Mostly an admin, whose edits land. */
const whoPushes = fc.constantFrom(0, 1, 2, 2, 2);
const bytes = fc.constantFrom(1, 1, 1, 1 << 20);
const commandArb = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.tuple(fc.constant("push" as const), whoPushes, fc.array(editArb, { minLength: 1, maxLength: 4 })),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant("repeat" as const), fc.nat(9), fc.nat(15)) },
  { weight: 7, arbitrary: fc.tuple(fc.constant("pull" as const), who, bytes) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("rules" as const), fc.nat(RULES.length - 1), fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("reopen" as const), fc.constant(0), fc.constant(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("lease" as const), fc.constant(0), fc.constant(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("settle" as const), fc.constantFrom(0, 0, 1, 2), bytes) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("flush" as const), fc.constant(0), fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("wait" as const), fc.constantFrom(50, 150), fc.constant(0)) },
);

type Command = readonly [
  name: "push" | "repeat" | "pull" | "rules" | "reopen" | "lease" | "settle" | "flush" | "wait",
  a: number,
  b: unknown,
];

interface LakeRow {
  readonly seq: number;
  readonly cells: OracleRow["cells"];
}

class World {
  readonly #sql: SqlStore;
  readonly #limits: Partial<ShardLimits>;
  #shard: ShardEngine;
  #rules: SyncRules = RULES[0] as SyncRules;
  #version = 1;
  #now = NOW;
  #events = 0;
  #usedStamps = new Set<string>();
  /** What was taken, and what was sent, by client. */
  readonly #edits: StampedEdit[] = [];
  readonly #taken = new Set<string>();
  readonly #sent: { by: number; edits: Edit[] }[] = [];
  readonly #devices = CLIENTS.map((claims) => ({ device: new Device(claims), exactAt: 0 }));
  /** Moments at which a token could see a row: "client row" to the latest. */
  readonly #visible = new Map<string, number>();
  #lease: { lease: Lease; tables: readonly TableSchema[]; edits: number } | undefined;
  readonly #lake = new Map<string, LakeRow>();
  readonly #history: string[] = [];
  readonly #aside = new Set<string>();

  constructor(sql: SqlStore, limits: Partial<ShardLimits>) {
    this.#sql = sql;
    this.#limits = limits;
    for (const { name } of sql.exec("SELECT name FROM sqlite_schema WHERE type = 'table'"))
      sql.exec(`DELETE FROM ${name}`);
    this.#shard = this.#open();
    this.#shard.configure(configOf({ rules: this.#rules }));
    for (const { sub } of CLIENTS) this.#shard.rememberOwner(`c-${sub}`, sub);
  }

  #open(): ShardEngine {
    return new ShardEngine(this.#sql, this.#limits);
  }

  run([name, a, b]: Command): void {
    this.#now += 1;
    if (name === "push") this.push(a, b as EditPlan[]);
    else if (name === "repeat") this.repeat(a, b as number);
    else if (name === "pull") this.pull(a, b as number);
    else if (name === "rules") this.rules(a);
    else if (name === "reopen") this.#shard = this.#open();
    else if (name === "lease") this.lease();
    else if (name === "settle") this.settle(["landed", "retry", "hopeless"][a] as Ending, b as number);
    else if (name === "flush") {
      this.lease();
      this.settle("landed", 1);
    } else this.#now += a;
  }

  #row(row: string, edits = this.#edits.length): OracleRow {
    return rowOf(this.#edits.slice(0, edits).filter((e) => e.row === row));
  }

  #sees(claims: Claims, row: string, what: "see" | "write" = "see", state = this.#row(row)): boolean {
    return state.alive && mayTouch(this.#rules, claims, row.split("/")[0] as string, state.cells, what);
  }

  #noteVisible(): void {
    this.#events++;
    CLIENTS.forEach((claims, by) => {
      for (const row of ROWS) if (this.#sees(claims, row)) this.#visible.set(`${by} ${row}`, this.#events);
    });
  }

  /** Gives an edit a clock that its client has not used for this row. */
  #stamped(by: number, { op, row, when, cells }: EditPlan): Edit {
    const [table, rowId] = row.split("/") as [string, string];
    let millis = this.#now + (when === "late" ? -5 : when === "soon" ? 5 : 0);
    if (when === "again") millis -= 1;
    while (this.#usedStamps.has(`${by} ${millis} ${row}`)) millis++;
    this.#usedStamps.add(`${by} ${millis} ${row}`);
    const { user_id, text, priority } = cells;
    const named = table === "todos" ? { user_id, title: text, priority } : { user_id, body: text };
    const columns = Object.fromEntries(Object.entries(named).filter(([, v]) => v !== undefined)) as Record<
      string,
      Scalar
    >;
    if (op === "UPDATE" && Object.keys(columns).length === 0) columns.user_id = "bob";
    return { op, table, rowId, hlc: packHlc(millis, 0), columns: op === "DELETE" ? {} : columns };
  }

  push(by: number, plans: readonly EditPlan[]): void {
    const edits = plans.map((plan) => this.#stamped(by, plan));
    this.#sent.push({ by, edits });
    this.#send(by, edits);
  }

  /** The same again: some of it, in another order. */
  repeat(which: number, mask: number): void {
    const sent = this.#sent[which % Math.max(1, this.#sent.length)];
    const edits = sent?.edits.filter((_, at) => mask & (1 << at)).reverse() ?? [];
    if (sent && edits.length > 0) this.#send(sent.by, edits);
  }

  #send(by: number, edits: readonly Edit[]): void {
    const claims = CLIENTS[by] as Claims;
    const outcome = push(this.#shard, claims, edits, `c-${claims.sub}`, this.#now);
    const refused = new Map(outcome.rejected.map((r) => [`${r.table}/${r.rowId} ${r.hlc}`, r.code]));
    same(outcome.acceptedCount + outcome.rejected.length, edits.length);
    for (const { op, table, rowId, hlc, columns } of edits.toSorted((a, b) => tableAt(edits, a) - tableAt(edits, b))) {
      const row = `${table}/${rowId}`;
      const code = refused.get(`${row} ${hlc}`);
      const edit: StampedEdit = { letter: op[0] as "I", row, stamp: `${hlc}c-${claims.sub}`, columns };
      this.#judge(claims, edit, code);
      if (code !== undefined) continue;
      this.#taken.add(`${edit.stamp} ${row}`);
      this.#edits.push(edit);
      this.#noteVisible();
    }
  }

  /** Write rules for rows that are alive: before and after. */
  #judge(claims: Claims, edit: StampedEdit, code: string | undefined): void {
    const before = this.#row(edit.row);
    const after = rowOf([...this.#edits.filter((e) => e.row === edit.row), edit]);
    const mayBefore = !before.alive || this.#sees(claims, edit.row, "write", before);
    const mayAfter = !after.alive || this.#sees(claims, edit.row, "write", after);
    if (!mayBefore || !mayAfter) same(code, "WriteForbidden");
    else if (before.alive) same(code, undefined);
    else ok(code === undefined || code === "WriteForbidden", code);
  }

  rules(which: number): void {
    this.#rules = RULES[which] as SyncRules;
    this.#version++;
    this.#shard.configure(configOf({ rules: this.#rules, version: this.#version, rulesVersion: this.#version }));
    this.#visible.clear();
    this.#noteVisible();
  }

  /** One page; whether there is more. */
  pull(by: number, maxBytes: number): boolean {
    const entry = this.#devices[by] as { device: Device; exactAt: number };
    const { device } = entry;
    const page = device.pullPage(this.#shard, maxBytes);
    if (page === "expired") {
      entry.exactAt = this.#events;
      return true;
    }
    if (page.resync || (page.position.at === "scan" && device.rows.size === 0)) entry.exactAt = this.#events;
    for (const sent of sentIn(page)) this.#allowed(by, sent, entry.exactAt);
    if (page.position.at === "tail" && page.position.exact) entry.exactAt = this.#events;
    return page.hasMore;
  }

  /** Nothing of a row that the token may not see; its end only where the device could have been shown it. */
  #allowed(by: number, { letter, table, rowId, columns }: Sent, since: number): void {
    const row = `${table}/${rowId}`;
    if (!this.#sees(CLIENTS[by] as Claims, row)) {
      ok(letter === "R" || letter === "D", "cells of a row that the token may not see");
      ok((this.#visible.get(`${by} ${row}`) ?? -1) >= since, "a row that the device never could see is named");
    }
    const { cells } = this.#row(row);
    for (const [name, value] of Object.entries(columns)) same(cells[name]?.value, value);
  }

  lease(): void {
    const taken = this.#shard.lease(this.#now, `t${this.#now}`);
    if (this.#lease && taken !== "busy" && taken !== "empty") {
      same([taken.lease.from, taken.lease.to], [this.#lease.lease.from, this.#lease.lease.to]);
      this.#lease = { ...taken, edits: this.#lease.edits };
    } else if (taken !== "busy" && taken !== "empty") this.#lease = { ...taken, edits: this.#edits.length };
    else if (taken === "empty") same(this.#shard.unflushed.deltas, 0);
  }

  settle(ending: Ending, maxChars: number): void {
    if (!this.#lease) return;
    const { lease, tables, edits } = this.#lease;
    for (const table of tables) {
      const aside = ending === "hopeless" && table.table === "notes";
      this.#readHistory(lease, table, maxChars, ending !== "retry");
      this.#readRows(lease, table, maxChars, edits, ending !== "retry" && !aside);
      if (aside) this.#aside.add(table.table);
    }
    const results = tables.map(({ table }) => {
      if (ending === "retry") return { table, error: { message: "later", hopeless: false } };
      return ending === "hopeless" && table === "notes"
        ? { table, error: { message: "never", hopeless: true } }
        : { table };
    });
    const ended = this.#shard.settle(lease.token, results, this.#now);
    same(ended, ending === "retry" && tables.length > 0 ? "again" : "trimmed");
    if (ended === "again") return;
    this.#lease = undefined;
  }

  #readHistory(lease: Lease, table: TableSchema, maxChars: number, keep: boolean): void {
    let after: Seq | undefined = lease.from;
    let last = 0;
    while (after !== undefined) {
      const { page, next }: ReturnType<typeof historyPageOf> = historyPageOf(
        this.#shard,
        lease.token,
        table,
        after,
        maxChars,
      );
      for (const { seqs, batch } of page)
        seqs.forEach((seq, at) => {
          ok(seq > last, "history out of order");
          last = seq;
          if (keep) this.#history.push(`${batch.hlcs[at]}${batch.clients[0]} ${batch.table}/${batch.rowIds[at]}`);
        });
      after = next;
    }
  }

  /** Rows of a lease: as they stood at its end, each once; `flushedSeqs` names what the lake has. */
  #readRows(lease: Lease, table: TableSchema, maxChars: number, edits: number, keep: boolean): void {
    const handed = new Set<string>();
    let after: Seq | undefined = lease.from;
    while (after !== undefined) {
      const { page, next }: ReturnType<typeof rowsPageOf> = rowsPageOf(
        this.#shard,
        lease.token,
        table,
        after,
        maxChars,
      );
      page.rowIds.forEach((id, at) => {
        const key = `${table.table}/${id}`;
        same(handed.has(key), false);
        handed.add(key);
        const { alive, cells } = this.#row(key, edits);
        same(page.deleted[at], !alive);
        page.columns.forEach(({ name, values }, c) => {
          same(values[at], alive ? (cells[name]?.value ?? null) : null);
          same(page.cellStamps[c]?.[at], alive ? (cells[name]?.stamp ?? "") : "");
        });
        same(page.flushedSeqs[at], this.#lake.get(key)?.seq ?? 0);
        if (!keep) return;
        if (alive) this.#lake.set(key, { seq: page.seqs[at] as number, cells });
        else this.#lake.delete(key);
      });
      after = next;
    }
    if (!keep || this.#aside.has(table.table)) return;
    for (const row of ROWS.filter((r) => r.startsWith(table.table))) {
      const { alive, cells } = this.#row(row, edits);
      same(this.#lake.get(row)?.cells, alive ? cells : undefined);
    }
  }

  /** Everything quiets: every device has exactly what it may see, the lake has all, history has each edit once. */
  settleDown(roomy: boolean): void {
    this.#devices.forEach(({ device }, by) => {
      for (let pages = 0; this.pull(by, 1 << 20); pages++) ok(pages < 20, "a pull does not end");
      const seen = ROWS.filter((row) => this.#sees(device.claims, row)).map((row) => [row, this.#row(row).cells]);
      same([...device.alive], seen.sort());
    });
    for (let rounds = 0; rounds < 2; rounds++) {
      this.#now += 1000;
      this.lease();
      this.settle("landed", 1 << 20);
    }
    same(this.#shard.unflushed, { deltas: 0, bytes: 0, oldestMs: null });
    const once = new Set(this.#history);
    same(once.size, this.#history.length);
    for (const key of once) same(this.#taken.has(key), true);
    // Where change lists were dropped, an edit that came late and lost counts as known from its clock alone.
    if (roomy) same(once.size, this.#taken.size);
  }
}

type EditPlan = {
  op: Op;
  row: string;
  when: string;
  cells: { user_id?: string | null; text?: string | null; priority?: number | null };
};
type Ending = "landed" | "retry" | "hopeless";

/** Edits of one push are taken table by table, in the order in which tables are named. */
const tableAt = (edits: readonly Edit[], edit: Edit): number => edits.findIndex((e) => e.table === edit.table);

/** Whatever happens in whatever order, everything holds at each step and at the end. */
/** @param sql emptied for each schedule */
export function anySchedule(sql: SqlStore, limits: Partial<ShardLimits>) {
  return fc.property(fc.array(commandArb, { minLength: 1, maxLength: 24, size: "max" }), (commands) => {
    const world = new World(sql, limits);
    for (const command of commands) world.run(command);
    world.settleDown(limits === ROOMY);
  });
}

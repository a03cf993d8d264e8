/**
 * A tenant: its tables, rules, shard map and clients, over a synchronous SQLite. Everything else in a gateway caches what
 * it says, with its version.
 *
 *   common          one shard for all tables that do not ask for their own
 *   <table>.v.i     shard i of the layout that the tenant's version v made (PU4): a layout is never changed, only replaced
 *
 * A change of a table's number of shards is a move:
 *
 *   drain     the old shards flush; reads and writes go on, so that a destination that is down stops nobody
 *   sealed    the old shards refuse writes, flush the rest, and their rows are copied; they still answer pulls
 *   switched  the new layout is in force; the old shards forget their rows, and the move is over
 */
import {
  err,
  type GatewayId,
  LakeSyncError,
  NO_RULES,
  ok,
  type Result,
  SHARDS_PER_GATEWAY_MAX,
  type SyncRules,
  TABLES_MAX,
  type TableDefinition,
  type TableSchema,
  TENANT_CHARS_MAX,
  unwrap,
} from "../schemas/index.ts";
import type { SqlStore } from "./ports/index.ts";
import type { ShardConfig, ShardSlice } from "./shard/config.ts";
import { validateSyncRules } from "./sync-rules.ts";

export const COMMON_SHARD = "common";

/** Where the rows of each table live. */
export interface ShardMap {
  /** Changes whenever rows change place: cursors are bound to it. */
  readonly version: number;
  /** Table name to its shards, in slice order. */
  readonly tables: Readonly<Record<string, readonly string[]>>;
}

/** A change of layout under way. */
export interface Move {
  readonly table: string;
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly phase: "drain" | "sealed" | "switched";
}

export interface TenantState {
  /** Grows with every change of anything here. */
  readonly version: number;
  readonly rulesVersion: number;
  readonly rules: SyncRules;
  readonly tables: readonly TableSchema[];
  readonly map: ShardMap;
  readonly move?: Move;
}

const EMPTY: TenantState = {
  version: 0,
  rulesVersion: 0,
  rules: NO_RULES,
  tables: [],
  map: { version: 0, tables: {} },
};

export class TenantEngine {
  readonly #sql: SqlStore;
  #state: TenantState;

  constructor(sql: SqlStore) {
    this.#sql = sql;
    sql.transaction(() => {
      sql.exec("CREATE TABLE IF NOT EXISTS tenant (one INTEGER PRIMARY KEY CHECK (one = 1), state TEXT NOT NULL)");
      sql.exec("CREATE TABLE IF NOT EXISTS clients (client TEXT PRIMARY KEY, sub TEXT NOT NULL) WITHOUT ROWID");
    });
    const [row] = sql.exec<{ state: string }>("SELECT state FROM tenant");
    this.#state = row ? (JSON.parse(row.state) as TenantState) : EMPTY;
  }

  get state(): TenantState {
    return this.#state;
  }

  #save(next: Omit<TenantState, "version">): Result<void, LakeSyncError> {
    const state = { ...next, version: this.#state.version + 1 };
    const text = JSON.stringify(state);
    if (text.length > TENANT_CHARS_MAX)
      return err(
        new LakeSyncError(
          "TooLarge",
          `Tables and sync rules would take ${text.length} characters together; the limit is ${TENANT_CHARS_MAX}. Use fewer tables, columns or listed values.`,
          { limit: TENANT_CHARS_MAX },
        ),
      );
    this.#sql.exec(
      "INSERT INTO tenant (one, state) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET state = excluded.state",
      text,
    );
    this.#state = state;
    return ok(undefined);
  }

  /** Binds a client id to the user that first used it (S6). */
  claimClient(clientId: string, sub: string): Result<void, LakeSyncError> {
    this.#sql.exec("INSERT INTO clients (client, sub) VALUES (?, ?) ON CONFLICT (client) DO NOTHING", clientId, sub);
    const [row] = this.#sql.exec<{ sub: string }>("SELECT sub FROM clients WHERE client = ?", clientId);
    return row?.sub === sub ? ok(undefined) : err(clientIdTaken(clientId));
  }

  putRules(rules: SyncRules): Result<void, LakeSyncError> {
    const valid = validateSyncRules(rules, this.#state.tables);
    if (!valid.ok) return valid;
    return this.#save({ ...this.#state, rules, rulesVersion: this.#state.rulesVersion + 1 });
  }

  /** Creates a table or adds nullable columns to it; anything else is a `Conflict` that says what. */
  putTable(name: string, definition: TableDefinition): Result<TableSchema, LakeSyncError> {
    const { tables, map } = this.#state;
    const old = tables.find((t) => t.table === name);
    const twin = tables.find((t) => t.table !== name && t.table.toLowerCase() === name.toLowerCase());
    if (twin)
      return err(
        new LakeSyncError("Conflict", `There is a table ${twin.table}; SQL does not tell upper from lower case.`),
      );
    if (!old) {
      if (tables.length >= TABLES_MAX)
        return err(new LakeSyncError("TooLarge", `A gateway holds at most ${TABLES_MAX} tables.`));
      const table = newTable(name, definition);
      const misplaced = windowProblem(undefined, table, undefined);
      if (misplaced) return err(misplaced);
      const layout = this.#layoutOf(table);
      if (!layout.ok) return layout;
      const saved = this.#save({
        ...this.#state,
        tables: [...tables, table],
        map: { ...map, tables: { ...map.tables, [name]: layout.value } },
      });
      return saved.ok ? ok(table) : saved;
    }
    const evolved = evolveTable(old, definition);
    if (!evolved.ok) return evolved;
    const table = evolved.value;
    const misplaced = windowProblem(old, table, this.#state.move);
    if (misplaced) return err(misplaced);
    const moving = table.shards !== old.shards;
    if (moving && this.#state.move)
      return err(
        new LakeSyncError(
          "Conflict",
          `Table ${this.#state.move.table} is being moved to other shards; try again when that is done.`,
        ),
      );
    if (table === old) return ok(old);
    const to = this.#layoutOf(table);
    if (moving && !to.ok) return to;
    const from = layoutOf(map, name);
    const move: Move | undefined =
      moving && to.ok ? { table: name, from, to: to.value, phase: "drain" } : this.#state.move;
    const saved = this.#save({
      ...this.#state,
      tables: tables.map((t) => (t === old ? table : t)),
      ...(move && { move }),
    });
    return saved.ok ? ok(table) : saved;
  }

  /** Names that no shard ever had: what a name's object remembers is never taken for another layout's. */
  #layoutOf({ table, shards }: TableSchema): Result<string[], LakeSyncError> {
    if (shards === 0) return ok([COMMON_SHARD]);
    const replaced = layoutOf(this.#state.map, table);
    const count = this.shards().filter((s) => s !== COMMON_SHARD && !replaced.includes(s)).length + shards;
    if (count > SHARDS_PER_GATEWAY_MAX)
      return err(
        new LakeSyncError(
          "TooLarge",
          `The gateway would have ${count} shards; the limit is ${SHARDS_PER_GATEWAY_MAX}. Give table ${JSON.stringify(table)} fewer, or leave tables in the common shard ("shards": 0).`,
          { limit: SHARDS_PER_GATEWAY_MAX },
        ),
      );
    return ok(Array.from({ length: shards }, (_, i) => `${table}.${this.#state.version + 1}.${i}`));
  }

  /** The old shards take no more writes. */
  sealMove(): void {
    const { move } = this.#state;
    if (move) unwrap(this.#save({ ...this.#state, move: { ...move, phase: "sealed" } }));
  }

  /** Puts the new layout of a move in force. */
  switchMove(): void {
    const { move, ...rest } = this.#state;
    if (!move) return;
    const map = { version: rest.map.version + 1, tables: { ...rest.map.tables, [move.table]: move.to } };
    unwrap(this.#save({ ...rest, map, move: { ...move, phase: "switched" } }));
  }

  /** The old shards have forgotten their rows. */
  endMove(): void {
    const { move, ...rest } = this.#state;
    if (move) unwrap(this.#save(rest));
  }

  /** Every shard that has to know what changes: those of the map, of both ends of a move, and the common one. */
  shards(): string[] {
    const { move } = this.#state;
    return [...new Set([COMMON_SHARD, ...shardsOf(this.#state), ...(move?.from ?? []), ...(move?.to ?? [])])];
  }

  shardConfig(gatewayId: GatewayId, shard: string): ShardConfig {
    return shardConfig(this.#state, gatewayId, shard);
  }
}

export const clientIdTaken = (clientId: string): LakeSyncError =>
  new LakeSyncError(
    "ClientIdTaken",
    `Client id ${JSON.stringify(clientId)} belongs to another user; give this device an id of its own.`,
  );

/** The shards of a table, in slice order; those of a table that nobody knows, where it is refused. */
export const layoutOf = ({ tables }: ShardMap, table: string): readonly string[] =>
  (Object.hasOwn(tables, table) && tables[table]) || [COMMON_SHARD];

/** Shards that hold rows, by the map in force. @param tables only theirs; empty for all */
export function shardsOf({ map }: TenantState, tables: readonly string[] = []): string[] {
  const layouts = Object.entries(map.tables).filter(([name]) => tables.length === 0 || tables.includes(name));
  return [...new Set(layouts.flatMap(([, layout]) => layout))];
}

export function shardConfig(state: TenantState, gatewayId: GatewayId, shard: string): ShardConfig {
  const owns: Record<string, ShardSlice> = {};
  for (const [table, layout] of Object.entries(state.map.tables)) {
    const index = layout.indexOf(shard);
    const sealed = state.move?.table === table && state.move.phase === "sealed";
    if (index >= 0) owns[table] = { index, of: layout.length, ...(sealed && { sealed }) };
  }
  return {
    gatewayId,
    shard,
    version: state.version,
    rulesVersion: state.rulesVersion,
    rules: state.rules,
    tables: state.tables,
    owns,
  };
}

/**
 * A table with a hot window has shards of its own, since cursors expire with the window; and stays in them, since rows that left a
 * shard are known to that shard alone.
 */
function windowProblem(
  old: TableSchema | undefined,
  table: TableSchema,
  move: Move | undefined,
): LakeSyncError | undefined {
  if (!table.hot) return undefined;
  const conflict = (why: string) => new LakeSyncError("Conflict", `Table ${JSON.stringify(table.table)}: ${why}`);
  if (table.shards === 0) return conflict('a hot window needs shards of its own; give the table "shards": 1 or more.');
  if (old?.hot && table.shards !== old.shards)
    return conflict("its rows cannot move to other shards, since it has a hot window.");
  if (old && (table.shards !== old.shards || move?.table === table.table))
    return conflict('its rows are being moved; give it "hot" when that is done.');
  return undefined;
}

function newTable(name: string, { columns, shards = 0, backend, hot }: TableDefinition): TableSchema {
  const numbered = columns.map((c, at) => ({ id: at + 1, ...c }));
  return {
    table: name,
    version: 1,
    columns: numbered,
    lastColumnId: columns.length,
    shards,
    ...(backend !== undefined && { backend }),
    ...(hot && { hot }),
  };
}

/** @returns the very same schema when nothing changes */
function evolveTable(
  old: TableSchema,
  { columns, shards = old.shards, backend = old.backend, hot = old.hot }: TableDefinition,
): Result<TableSchema, LakeSyncError> {
  const conflict = (why: string) =>
    err(new LakeSyncError("Conflict", `Table ${JSON.stringify(old.table)}: ${why}`, { table: old.table }));
  for (const column of old.columns) {
    const next = columns.find((c) => c.name === column.name);
    if (!next)
      return conflict(`column ${JSON.stringify(column.name)} is missing; columns can be added, not taken away.`);
    if (next.type !== column.type)
      return conflict(
        `column ${JSON.stringify(column.name)} is ${column.type} and cannot become ${next.type}; add a new column.`,
      );
    if (next.nullable !== column.nullable)
      return conflict(`column ${JSON.stringify(column.name)} cannot change whether it takes NULL.`);
  }
  const added = columns.filter((c) => !old.columns.some((o) => o.name === c.name));
  const required = added.find((c) => !c.nullable);
  if (required)
    return conflict(
      `new column ${JSON.stringify(required.name)} has to be nullable, since there may be rows without it.`,
    );
  const same = shards === old.shards && backend === old.backend && hot?.ageMs === old.hot?.ageMs;
  if (added.length === 0 && same) return ok(old);
  const numbered = added.map((c, at) => ({ id: old.lastColumnId + 1 + at, ...c }));
  return ok({
    ...old,
    version: old.version + 1,
    columns: [...old.columns, ...numbered],
    lastColumnId: old.lastColumnId + added.length,
    shards,
    ...(backend !== undefined && { backend }),
    ...(hot && { hot }),
  });
}

/**
 * What a device does in a test with real faults, in a process of Node or in a page: it opens its database, keeps it in sync,
 * writes all the time, and says what it has committed. It ends only by being killed.
 */
import {
  defaultPlatform,
  HttpTransport,
  isLakeSyncError,
  LocalDB,
  type Platform,
  type SchemaSpec,
  SyncCoordinator,
  WebSocketTransport,
} from "../../client/index.ts";
import { type Op, type Written, write } from "../edits.ts";

export interface WorkloadJob {
  readonly name: string;
  /** Tells this life of the device from its others: texts that it writes are never written again. */
  readonly life: string;
  readonly user: string;
  readonly url: string;
  readonly gatewayId: string;
  readonly transport: "http" | "socket";
  /** Node: the file. */
  readonly path?: string;
  /** Between two transactions. Milliseconds. */
  readonly pauseMs: number;
  readonly batchDeltas: number;
}

export interface State {
  readonly clientId: string;
  readonly outbox: number;
  readonly syncedAtMs: number | undefined;
  readonly error: string | undefined;
}

export type Table = readonly (readonly unknown[])[];

/** A running device, as its driver sees it. */
export interface Workload {
  /** How far its clock is ahead. Milliseconds. */
  skew(ms: number): void;
  work(on: boolean): void;
  state(): Promise<State>;
  /** Rows of a query, as arrays after a first one of column names. */
  look(sql: string): Promise<Table>;
}

export const COLUMNS = { title: "string", body: "string", owner: "string", team: "string", rank: "integer" } as const;
export const TABLES = ["todos", "notes"];
export const USERS = ["alice", "bob", "carol"];
const TEAMS = ["red", "blue"];
const HOT_ROWS = 24;

export const SCHEMA: SchemaSpec = Object.fromEntries(
  TABLES.map((table) => [table, Object.fromEntries(Object.entries(COLUMNS).map(([name, type]) => [name, { type }]))]),
);

const pick = <T>(of: readonly T[]): T => of[Math.floor(Math.random() * of.length)] as T;
const chance = (p: number): boolean => Math.random() < p;

export interface Host {
  token(user: string): Promise<string>;
  report(event: { readonly committed?: readonly Written[]; readonly failed?: string }): void;
}

export async function startWorkload(job: WorkloadJob, host: Host): Promise<Workload> {
  let skewMs = 0;
  let working = true;
  const platform: Platform = { ...defaultPlatform(), clock: { now: () => Date.now() + skewMs } };
  const { name, user, url: baseUrl, gatewayId, path } = job;
  const db = await LocalDB.open({
    name,
    platform,
    schema: SCHEMA,
    ...(path === undefined ? {} : { path, backend: "file" }),
  });
  const options = { baseUrl, gatewayId, platform, token: () => host.token(user) };
  const transport = job.transport === "http" ? new HttpTransport(options) : new WebSocketTransport(options);
  const sync = new SyncCoordinator(db, transport, {
    batchDeltas: job.batchDeltas,
    requestMs: 10_000,
    stallMs: 30_000,
    pollMs: 2000,
    livePollMs: 10_000,
    backoffMaxMs: 8000,
  });
  sync.startAutoSync();
  const device = new Writer(job);
  void (async () => {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, job.pauseMs * 2 * Math.random()));
      if (!working) continue;
      try {
        const committed = await write(db, sync, device.ops());
        if (committed.length > 0) host.report({ committed });
      } catch (error) {
        // A full disk, a row that is there already, a tab that lost its leader: the app shrugs. All else is a bug.
        if (!isLakeSyncError(error))
          host.report({ failed: error instanceof Error ? String(error.stack) : String(error) });
      }
    }
  })();
  return {
    skew: (ms) => {
      skewMs = ms;
    },
    work: (on) => {
      working = on;
    },
    state: async () => {
      const { pending, syncedAtMs, error } = await sync.status();
      return { clientId: db.clientId, outbox: pending, syncedAtMs, error: error && `${error.code}: ${error.message}` };
    },
    look: async (sql) => {
      const rows = await db.query(sql);
      const columns = Object.keys(rows[0] ?? {});
      return [columns, ...rows.map((row) => columns.map((column) => row[column]))];
    },
  };
}

class Writer {
  readonly #job: WorkloadJob;
  #texts = 0;
  #rows = 0;

  constructor(job: WorkloadJob) {
    this.#job = job;
  }

  ops(): Op[] {
    return Array.from({ length: chance(0.2) ? 3 : 1 }, () => this.#op());
  }

  #op(): Op {
    const op = chance(0.1)
      ? pick(["bulk", "sql", "replace"] as const)
      : pick(["upsert", "upsert", "upsert", "update", "update", "insert", "delete"] as const);
    const whole = op !== "update" && op !== "sql";
    const rowId = chance(0.75) ? `hot${Math.floor(Math.random() * HOT_ROWS)}` : `${this.#job.life}-${++this.#rows}`;
    const values: Record<string, string | number | null> = { [pick(["title", "body"])]: this.#text() };
    if (chance(0.4)) values.rank = Math.floor(Math.random() * 6);
    if (chance(0.05)) values.body = null;
    if (chance(whole ? 0.6 : 0.1)) values.team = pick(TEAMS);
    if (chance(whole ? 0.95 : 0.1)) values.owner = chance(0.8) ? this.#job.user : pick(USERS);
    return { op, table: chance(0.75) ? "todos" : "notes", rowId, values };
  }

  /** Unique: by it an edit is known again wherever it turns up. */
  #text(): string {
    return `v0.${this.#job.life}.${++this.#texts}`;
  }
}

/**
 * flush to databases: 200,000 new rows from the pages of their history until their table, their log and the watermark are
 * committed, by an adapter in Node. Beside it the bare rows into the same table without `_stamps`, with its index, as
 * each database takes them fastest from one client: COPY of text for Postgres, INSERTs of a megabyte for MariaDB.
 */
import { execFileSync } from "node:child_process";
import { createConnection } from "mysql2/promise";
import pg from "pg";
import { MySQLAdapter, PostgresAdapter } from "../../adapters/index.ts";
import { startMariadb } from "../../adapters/testing.ts";
import type { DatabaseAdapter, FlushBatch, HistoryBatch } from "../../core/index.ts";
import { type ClientId, packHlc, type Seq, type TableSchema, timestampToIso, unwrap } from "../../schemas/index.ts";
import { startPostgres } from "../../scripts/testing/postgres.ts";
import type { Sheet } from "../bench.ts";
import { measure, progress, ratioOf, timed } from "../stats.ts";

const ROWS = 200_000;
const ROUNDS = 5;
/** Edits of one log row. */
const PAGE = 1000;
const START_MS = 1_790_000_000_000;

/** Ids in no order, as devices make them. */
const idOf = (row: number): string => {
  const mixed = (Math.imul(row + 1, 2_654_435_761) >>> 0).toString(16).padStart(8, "0");
  return `${mixed}-0000-4000-8000-${String(row).padStart(12, "0")}`;
};
const cellsOf = (row: number) =>
  [1.7e15 + row * 60e6, ((row * 7) % 200) - 20, (row * 13) % 2500, `AP${row % 300}`, `AP${(row * 7) % 300}`] as const;

const tableCalled = (table: string): TableSchema => {
  const types = {
    date: "timestamp",
    delay: "integer",
    distance: "integer",
    origin: "string",
    destination: "string",
  } as const;
  const columns = Object.entries(types).map(([name, type], at) => ({ id: at + 1, name, type, nullable: true }));
  return { table, version: 1, columns, lastColumnId: columns.length, shards: 0 };
};

function pageOf(table: TableSchema, first: number): HistoryBatch {
  const rows = Array.from({ length: PAGE }, (_, at) => first + at);
  const cells = rows.map(cellsOf);
  return {
    seqs: rows.map((row) => (row + 1) as Seq),
    receivedMs: rows.map(() => START_MS),
    batch: {
      table: table.table,
      ops: "I".repeat(PAGE),
      rowIds: rows.map(idOf),
      hlcs: rows.map((row) => packHlc(START_MS + row, 0)),
      clients: ["client-1" as ClientId],
      columns: table.columns.map(({ name }, of) => ({ name, values: cells.map((row) => row[of] ?? null) })),
    },
  };
}

function batchOf(table: TableSchema): FlushBatch {
  const pages: HistoryBatch[] = [];
  for (let first = 0; first < ROWS; first += PAGE) pages.push(pageOf(table, first));
  return {
    gatewayId: "bench",
    shard: "common",
    table,
    fromSeq: 0 as Seq,
    toSeq: ROWS as Seq,
    toMs: START_MS,
    async *rows() {},
    async *history() {
      yield* pages;
    },
  };
}

/** pg's query, with what a COPY sends. */
class Copy extends pg.Query {
  readonly #parts: readonly string[];

  constructor(sql: string, parts: readonly string[], done: (error?: Error) => void) {
    super({ text: sql });
    this.#parts = parts;
    (this as unknown as { callback: typeof done }).callback = done;
  }

  handleCopyInResponse(connection: { sendCopyFromChunk(chunk: Buffer): void; endCopyFrom(): void }): void {
    for (const part of this.#parts) connection.sendCopyFromChunk(Buffer.from(part));
    connection.endCopyFrom();
  }
}

interface Yardstick {
  readonly adapter: DatabaseAdapter;
  /** The bare rows into a table of this name, which is made beforehand. */
  bare(table: string): Promise<() => Promise<void>>;
  stop(): Promise<void>;
}

const textParts = (line: (row: number) => string, rows: number): string[] =>
  Array.from({ length: ROWS / rows }, (_, part) =>
    Array.from({ length: rows }, (_, at) => line(part * rows + at)).join(""),
  );

async function postgres(): Promise<Yardstick> {
  const server = await startPostgres();
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  const adapter = new PostgresAdapter({ connectionString: server.url });
  const line = (row: number) => {
    const [date, ...cells] = cellsOf(row);
    return `${[idOf(row), timestampToIso(date), ...cells].join("\t")}\n`;
  };
  return {
    adapter,
    async bare(table) {
      const columns = "date timestamptz, delay bigint, distance bigint, origin text, destination text";
      await client.query(`CREATE TABLE ${table} (_id text COLLATE "C" PRIMARY KEY, ${columns})`);
      const parts = textParts(line, 10_000);
      const copy = `COPY ${table} FROM STDIN`;
      return () =>
        new Promise((done, failed) => void client.query(new Copy(copy, parts, (e) => (e ? failed(e) : done()))));
    },
    async stop() {
      await adapter.close();
      await client.end();
      await server.stop();
    },
  };
}

async function mariadb(): Promise<Yardstick> {
  const server = await startMariadb();
  const client = await createConnection(server.url);
  const adapter = new MySQLAdapter({ connectionString: server.url });
  const line = (row: number) => {
    const [date, delay, distance, ...airports] = cellsOf(row);
    const time = timestampToIso(date).replace("T", " ").slice(0, -1);
    return `('${idOf(row)}','${time}',${delay},${distance},'${airports.join("','")}'),`;
  };
  return {
    adapter,
    async bare(table) {
      const text = "mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin";
      const columns = `date datetime(6), delay bigint, distance bigint, origin ${text}, destination ${text}`;
      const id = "_id varchar(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PRIMARY KEY";
      await client.query(`CREATE TABLE ${table} (${id}, ${columns})`);
      const parts = textParts(line, 10_000).map((rows) => `INSERT INTO ${table} VALUES ${rows.slice(0, -1)}`);
      return async () => {
        for (const statement of parts) await client.query(statement);
      };
    },
    async stop() {
      await adapter.close();
      await client.end();
      await server.stop();
    },
  };
}

async function against(name: string, open: () => Promise<Yardstick>, out: Sheet): Promise<void> {
  const database = await open();
  const ours: number[] = [];
  const theirs: number[] = [];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      progress(`flush: ${name}, round ${round + 1} of ${ROUNDS}`);
      const table = tableCalled(`ours${round}`);
      const batch = batchOf(table);
      unwrap(await database.adapter.ensureSchema(table));
      const flushed = await timed(async () => unwrap(await database.adapter.insertDeltas(batch)));
      const bare = await timed(await database.bare(`bare${round}`));
      ours.push((ROWS * 1000) / flushed);
      theirs.push((ROWS * 1000) / bare);
    }
  } finally {
    await database.stop();
  }
  out.ratio(name, ratioOf(ours, theirs));
  out.figure(`${name}PerSecond`, measure(ours), "rows/s");
  out.figure(`${name}BarePerSecond`, measure(theirs), "rows/s");
}

function hasMariadb(): boolean {
  try {
    execFileSync("mariadbd", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

export async function flushToDatabases(out: Sheet): Promise<void> {
  await against("pg200k", postgres, out);
  if (hasMariadb()) await against("mysql200k", mariadb, out);
  else progress("flush: mysql200k is left out, since MariaDB is not installed (Debian: mariadb-server)");
}

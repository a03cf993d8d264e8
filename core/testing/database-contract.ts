/**
 * What every destination of flushes does, whatever it is made of; run on each.
 *
 *   script (edits) --real shard--> FlushBatch --adapter--> destination --adapter--> rows, history = oracle's, script's
 *
 * Where a kind of destination cannot promise a thing by its nature, it says so in `Nature`, and the suite holds it to
 * what it then promises instead.
 */
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type Column,
  type ColumnType,
  compareCodePoints,
  type Delta,
  deltasOf,
  isLakeSyncError,
  type LakeSyncError,
  OPS,
  type Result,
  type Scalar,
  type Seq,
  type Stamp,
  stampHlc,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import type { DatabaseAdapter, FlushBatch } from "../ports/index.ts";
import { FlushScript } from "./flush-script.ts";
import { rowOf, type StampedEdit } from "./oracle.ts";
import { tableOf } from "./shard-kit.ts";

/** One place where data lands; empty at first. */
export interface Destination {
  /** Another adapter for the same place: another process, another gateway. The suite closes it. */
  open(): DatabaseAdapter | Promise<DatabaseAdapter>;
}

export interface Nature {
  /** Whether several gateways may flush into one table of it, their rows merged cell by cell. */
  readonly gateways: "many" | "one";
  /** What `getLatestState` knows: each cell's stamp, or of the row its newest clock alone. */
  readonly stamps: "cell" | "row";
  /** U+0000 in text: kept, or refused by an error that names table, column and row. */
  readonly nul: "kept" | "refused";
}

const DATABASE: Nature = { gateways: "many", stamps: "cell", nul: "kept" };

const CELLS = { title: "string", votes: "integer", done: "boolean" } as const;

/** Every type, with values at its ends and those that careless code mistakes for something else. */
const EXTREMES: Record<ColumnType, readonly Scalar[]> = {
  string: [
    "",
    " ",
    "null",
    "NULL",
    "\\N",
    "\\.",
    "\\",
    "\\\\x41",
    "a\tb\r\nc\b\f\v",
    "\u0001\u001f\u007f\u0085",
    "é\u0301🎬𝒳\u{10ffff}",
    "\ufeff\ufffd\uffff\ufdd0\ufdd1",
    "{a,b}",
    '{"a":null}',
    '"',
    "'",
    "`",
    "x".repeat(300_000),
  ],
  integer: [0, 1, -1, 2 ** 53 - 1, -(2 ** 53 - 1), "9007199254740992", "9223372036854775807", "-9223372036854775808"],
  number: [0, 0.1, -1.5, 1e308, Number.MAX_VALUE, -Number.MAX_VALUE, 5e-324, 2 ** 53 + 2, 1e21, 123456789.12345679],
  boolean: [true, false],
  timestamp: [0, -1, 1_790_000_000_123_456, "-62135596800000000", "253402300799999999", "-11644473600000001"],
  json: [
    "null",
    "0",
    '""',
    "[]",
    "{}",
    '{"b":1,"a":[1,2.5,1e+300,true,null,"é\\n"],"":{"b":1}}',
    '"\\u0000 in JSON"',
    "[1e-7,123456789.12345679]",
    '"\'; DROP TABLE canary; --"',
  ],
  bytes: ["", "AA==", "AAECAwQFBgf/", btoa(String.fromCharCode(...Array.from({ length: 256 }, (_, at) => at)))],
};

const ATTACKS = [
  "'; DROP TABLE canary; --",
  "'); DELETE FROM canary; --",
  "\\'; DROP TABLE canary; --",
  '"; DROP TABLE canary; --',
  "`; DROP TABLE canary; --",
  "$$; DROP TABLE canary; $$",
  "$1 ? ?? :a @a %s %1$s #{a} {{a}}",
  "*/ DROP TABLE canary; /*",
  "\u02bc; DROP TABLE canary; --",
  "\u00bf'; DROP TABLE canary; --",
];

/** Names that are identifiers for us and something else for SQL, or for whoever keeps columns of his own. */
const AWKWARD = [
  ...["select", "order", "group", "user", "table", "key", "values", "default", "null", "primary"],
  ...[
    "id",
    "rowId",
    "row_id",
    "seq",
    "hlc",
    "op",
    "client",
    "shard",
    "columns",
    "stamps",
    "deleted",
    "t",
    "constructor",
  ],
  "x".repeat(63),
];

let unique = 0;
const freshTable = (columns: Record<string, ColumnType> = CELLS): TableSchema => tableOf(`items${++unique}`, columns);

type Cells = Readonly<Record<string, Scalar>>;
interface PlainRow {
  readonly rowId: string;
  readonly cells: Cells;
}

/** Live rows that edits make, in order of id, each column of the table. */
function rowsMadeBy(edits: readonly StampedEdit[], table: TableSchema): PlainRow[] {
  const byRow = Map.groupBy(edits, (edit) => edit.row);
  return [...byRow]
    .sort(([a], [b]) => compareCodePoints(a, b))
    .flatMap(([rowId, of]) => {
      const row = rowOf(of);
      if (!row.alive) return [];
      return [
        { rowId, cells: Object.fromEntries(table.columns.map(({ name }) => [name, row.cells[name]?.value ?? null])) },
      ];
    });
}

/** Stamps that `getLatestState` has to give: of each cell that was written, and the newest in the row. */
function stampsMadeBy(edits: readonly StampedEdit[], table: TableSchema) {
  const byRow = Map.groupBy(edits, (edit) => edit.row);
  const newest = (stamps: readonly string[]) => stamps.reduce((a, b) => (a > b ? a : b), "");
  return [...byRow]
    .sort(([a], [b]) => compareCodePoints(a, b))
    .flatMap(([, of]) => {
      const row = rowOf(of);
      if (!row.alive) return [];
      const inserted = newest(of.filter(({ letter }) => letter === "I").map(({ stamp }) => stamp));
      const cells = table.columns.map(({ name }) => row.cells[name]?.stamp ?? "");
      return [{ cells, row: newest([inserted, ...Object.values(row.cells).map(({ stamp }) => stamp)]) }];
    });
}

/** Everything that an adapter gives back, page by page. */
async function rowsIn(adapter: DatabaseAdapter, table: TableSchema, limit = 1000) {
  const rows: PlainRow[] = [];
  const stamps: { cells: Stamp[]; row: Stamp }[] = [];
  for (let after: string | undefined; ; ) {
    const page = unwrap(await adapter.getLatestState({ table, limit, ...(after !== undefined && { after }) }));
    expect(page.rowIds.length).toBeLessThanOrEqual(limit);
    expect(page.columns.map(({ name }) => name)).toEqual(table.columns.map(({ name }) => name));
    page.rowIds.forEach((rowId, at) => {
      expect(page.deleted[at]).toBe(false);
      rows.push({
        rowId,
        cells: Object.fromEntries(page.columns.map(({ name, values }) => [name, values[at] as Scalar])),
      });
      stamps.push({ cells: page.cellStamps.map((of) => of[at] as Stamp), row: page.stamps[at] as Stamp });
    });
    after = page.rowIds.at(-1);
    if (page.rowIds.length < limit) return { rows, stamps };
  }
}

interface PlainEdit extends Delta {
  readonly seq: number;
}

async function historyIn(adapter: DatabaseAdapter, table: TableSchema, shard = "main", limit = 1000) {
  const edits: PlainEdit[] = [];
  for (let afterSeq = 0 as Seq; ; ) {
    const page = unwrap(await adapter.queryDeltasSince({ table, shard, afterSeq, limit }));
    expect(page.seqs.length).toBeLessThanOrEqual(limit);
    expect(page.receivedMs).toHaveLength(page.seqs.length);
    let at = 0;
    for (const delta of deltasOf(page.batch)) edits.push({ ...delta, seq: page.seqs[at++] as number });
    afterSeq = page.seqs.at(-1) ?? afterSeq;
    if (page.seqs.length < limit) return edits;
  }
}

const historyOf = (script: FlushScript): PlainEdit[] => script.edits.map((edit, at) => ({ ...edit, seq: at + 1 }));

/** The table ready, and the batch in it. */
async function flush(adapter: DatabaseAdapter, batch: FlushBatch) {
  unwrap(await adapter.ensureSchema(batch.table));
  return unwrap(await adapter.insertDeltas(batch));
}

/** Like a queue: what may pass is delivered again. */
async function flushUntilTaken(adapter: DatabaseAdapter, batch: FlushBatch): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const ready = await adapter.ensureSchema(batch.table);
    const done: Result<unknown, LakeSyncError> = ready.ok ? await adapter.insertDeltas(batch) : ready;
    if (done.ok) return;
    if (!done.error.retryable) throw done.error;
  }
  throw new Error("a batch was not taken in twenty deliveries");
}

class Killed extends Error {}

/** The same batch, whose consumer dies before page `rows` of its rows, or `history` of its history. */
const killedAt = (batch: FlushBatch, { rows = -1, history = -1 }): FlushBatch => {
  async function* until<T>(pages: AsyncIterable<T>, die: number) {
    let at = 0;
    for await (const page of pages) {
      if (at++ === die) throw new Killed();
      yield page;
    }
    if (at === die) throw new Killed();
  }
  return { ...batch, rows: () => until(batch.rows(), rows), history: () => until(batch.history(), history) };
};

/** Twelve edits of three rows by two clients, among them deletes, a row that comes back, and edits that came late. */
function smallScript(gatewayId?: string, shard?: string, table = freshTable()): FlushScript {
  return new FlushScript(table, { ...(gatewayId && { gatewayId }), ...(shard && { shard }) })
    .edit("INSERT", "a", { title: "one", votes: 1 })
    .edit("INSERT", "b", { title: "two", done: false })
    .edit("UPDATE", "a", { votes: 2 }, "d")
    .edit("DELETE", "b")
    .edit("INSERT", "c", { title: null, votes: "9223372036854775807", done: true }, "d")
    .edit("UPDATE", "b", { title: "to a dead row" })
    .edit("UPDATE", "a", { title: null })
    .edit("INSERT", "b", { votes: 3 }, "d")
    .edit("UPDATE", "a", { votes: 7 }, "c", -2_000_000)
    .edit("DELETE", "c", {}, "c")
    .edit("UPDATE", "b", { done: true, title: "" })
    .edit("INSERT", "é🎬", { title: "é🎬" });
}

/** Runs the suite. @param make an empty destination, anew for each test */
export function databaseAdapterContract(
  name: string,
  make: () => Destination | Promise<Destination>,
  different: Partial<Nature> = {},
): void {
  const nature = { ...DATABASE, ...different };

  async function holds(adapter: DatabaseAdapter, table: TableSchema, edits: readonly StampedEdit[]): Promise<void> {
    const { rows, stamps } = await rowsIn(adapter, table);
    expect(rows).toEqual(rowsMadeBy(edits, table));
    const expected = stampsMadeBy(edits, table);
    if (nature.stamps === "cell") expect(stamps).toEqual(expected);
    else expect(stamps.map(({ row }) => stampHlc(row))).toEqual(expected.map(({ row }) => stampHlc(row as Stamp)));
  }

  async function holdsScript(adapter: DatabaseAdapter, script: FlushScript): Promise<void> {
    await holds(adapter, script.table, script.stamped());
    expect(await historyIn(adapter, script.table, script.shard)).toEqual(historyOf(script));
  }

  async function open(): Promise<DatabaseAdapter> {
    return (await openMany(1))[0] as DatabaseAdapter;
  }

  async function openMany(count: number): Promise<DatabaseAdapter[]> {
    const destination = await make();
    const adapters: DatabaseAdapter[] = [];
    for (let at = 0; at < count; at++) adapters.push(await destination.open());
    onTestFinished(async () => {
      for (const adapter of adapters) await adapter.close();
    });
    return adapters;
  }

  describe(`destination: ${name}`, () => {
    test("a table that nobody flushed is empty", async () => {
      const adapter = await open();
      const table = freshTable();
      expect((await rowsIn(adapter, table)).rows).toEqual([]);
      expect(await historyIn(adapter, table)).toEqual([]);
      unwrap(await adapter.ensureSchema(table));
      expect((await rowsIn(adapter, table)).rows).toEqual([]);
      expect(await historyIn(adapter, table)).toEqual([]);
    });

    test("[F1] a flush in one page or in many leaves the rows and the history that its shard had", async () => {
      const adapter = await open();
      for (const pageChars of [1, 1 << 20]) {
        const script = smallScript();
        const receipt = await flush(adapter, script.batch(0, script.head, pageChars));
        expect(receipt).toMatchObject({ watermark: script.head, deltas: script.head });
        await holdsScript(adapter, script);
      }
    });

    test("[F1] the same range again writes nothing, through another adapter too", async () => {
      const [adapter, other] = (await openMany(2)) as [DatabaseAdapter, DatabaseAdapter];
      const script = smallScript();
      for (const [from, to] of [
        [0, 7],
        [7, 12],
      ] as const) {
        await flush(adapter, script.batch(from, to));
        for (const again of [adapter, other])
          expect(await flush(again, script.batch(from, to))).toEqual({ watermark: to, rows: 0, deltas: 0 });
      }
      expect((await flush(other, script.batch(0, 7))).deltas).toBe(0);
      await holdsScript(other, script);
    });

    test("[F1] ranges that overlap the watermark are cut, whatever the order they come in", async () => {
      const adapter = await open();
      const script = smallScript();
      for (const [from, to] of [
        [0, 4],
        [0, 6],
        [3, 7],
        [2, 5],
        [0, 9],
        [8, 12],
        [0, 12],
      ] as const)
        await flush(adapter, script.batch(from, to, 1));
      await holdsScript(adapter, script);
    });

    test("[F1] a flush killed before any of its pages is finished by the next", async () => {
      const adapter = await open();
      const pages = 12;
      for (const what of ["rows", "history"] as const)
        for (let page = 0; page <= pages; page++) {
          const script = smallScript();
          await flush(adapter, script.batch(0, 3, 1));
          const batch = script.batch(3, script.head, 1);
          const died = await flush(adapter, killedAt(batch, { [what]: page })).catch((error) => error);
          if (died instanceof Error) expect(died).toBeInstanceOf(Killed);
          await flush(adapter, batch);
          await holdsScript(adapter, script);
        }
    });

    test("[F1] one range delivered three times at once lands once", async () => {
      const adapters = await openMany(3);
      const script = smallScript();
      for (const [from, to] of [
        [0, 5],
        [5, 12],
      ] as const) {
        const batch = script.batch(from, to, 1);
        await Promise.all(adapters.map((adapter) => flushUntilTaken(adapter, batch)));
      }
      await holdsScript(adapters[0] as DatabaseAdapter, script);
    });

    test("[F1] shards of one table have a watermark each", async () => {
      const [adapter, other] = (await openMany(2)) as [DatabaseAdapter, DatabaseAdapter];
      const table = freshTable();
      const scripts = ["one", "two"].map((shard) => {
        const script = new FlushScript(table, { shard });
        for (let at = 0; at < 30; at++) script.edit("INSERT", `${shard}-${at % 20}`, { title: shard, votes: at });
        return script.edit("DELETE", `${shard}-3`);
      });
      const [one, two] = scripts as [FlushScript, FlushScript];
      await flush(adapter, one.batch(0, 10));
      await Promise.all([flushUntilTaken(adapter, one.batch(10)), flushUntilTaken(other, two.batch())]);
      await holds(adapter, table, [...one.stamped(), ...two.stamped()]);
      for (const script of scripts) expect(await historyIn(adapter, table, script.shard)).toEqual(historyOf(script));
    });

    test("[M3] [M5] any edits of one shard, flushed at any seqs, give the rows of the oracle", async () => {
      const adapter = await open();
      const edit = fc.record({
        op: fc.constantFrom(...OPS),
        rowId: fc.constantFrom("a", "b", "é"),
        cells: fc.record(
          {
            title: fc.constantFrom(null, "", "x", "y"),
            votes: fc.constantFrom(null, 0, 1),
            done: fc.constantFrom(null, true),
          },
          { requiredKeys: [] },
        ),
        client: fc.constantFrom("c", "d"),
        late: fc.constantFrom(0, 0, 0, 3, 9),
      });
      const schedule = fc.record({
        edits: fc.array(edit, { minLength: 1, maxLength: 14 }),
        cuts: fc.array(fc.nat(14), { maxLength: 4 }),
      });
      await fc.assert(
        fc.asyncProperty(schedule, async ({ edits, cuts }) => {
          const script = new FlushScript(freshTable());
          for (const { op, rowId, cells, client, late } of edits) addEdit(script, op, rowId, cells, client, late);
          let from = 0;
          for (const to of [...cuts.filter((cut) => cut < script.head), script.head].sort((a, b) => a - b)) {
            if (to > from) await flush(adapter, script.batch(from, to));
            from = to;
          }
          await holdsScript(adapter, script);
        }),
        { numRuns: 25 },
      );
    });

    if (nature.gateways === "many") {
      test("[M1] [M2] two gateways that flush into one table agree with the oracle, whatever the order", async () => {
        const adapters = (await openMany(2)) as [DatabaseAdapter, DatabaseAdapter];
        const edit = fc.record({
          gateway: fc.nat(1),
          op: fc.constantFrom(...OPS),
          cells: fc.record(
            {
              title: fc.constantFrom(null, "x", "y"),
              votes: fc.constantFrom(null, 1, 2),
              done: fc.constantFrom(null, true),
            },
            { requiredKeys: [] },
          ),
          rowId: fc.constantFrom("a", "b"),
          client: fc.constantFrom("c", "d"),
          ms: fc.nat(8),
        });
        const schedule = fc.record({
          edits: fc.array(edit, { minLength: 2, maxLength: 14 }),
          cuts: fc.tuple(fc.nat(7), fc.nat(7)),
          turns: fc.array(fc.nat(1), { maxLength: 4 }),
        });
        await fc.assert(
          fc.asyncProperty(schedule, async ({ edits, cuts, turns }) => {
            const table = freshTable();
            const scripts = [0, 1].map((at) => new FlushScript(table, { gatewayId: `gateway-${at}` }));
            for (const { gateway, op, rowId, cells, client, ms } of edits)
              addEdit(scripts[gateway] as FlushScript, op, rowId, cells, client, 0, ms);
            const queues = scripts.map((script, at) => {
              const cut = Math.min(cuts[at] as number, script.head);
              const parts = [
                [0, cut],
                [cut, script.head],
              ] as const;
              return parts.filter(([from, to]) => from < to).map(([from, to]) => script.batch(from, to));
            });
            for (const turn of [...turns, 0, 0, 1, 1]) {
              const batch = queues[turn]?.shift();
              if (batch) await flush(adapters[turn] as DatabaseAdapter, batch);
            }
            const all = scripts.flatMap((script) => script.stamped());
            for (const adapter of adapters) await holds(adapter, table, all);
          }),
          { numRuns: 60 },
        );
      });

      test("[F1] [M2] two gateways flush the same rows at the same time, and nothing is lost", async () => {
        const adapters = (await openMany(2)) as [DatabaseAdapter, DatabaseAdapter];
        const table = freshTable();
        const scripts = adapters.map((_, of) => {
          const script = new FlushScript(table, { gatewayId: `gateway-${of}` });
          for (let at = 0; at < 2000; at++) {
            // Each in another order, so that locks taken row by row would meet.
            const row = `row-${of === 0 ? at % 500 : 499 - (at % 500)}`;
            const cells: Cells = at % 2 === of ? { title: `${of}-${at}` } : { votes: at };
            script.edit(
              at < 500 ? "INSERT" : at % 37 === 0 ? "DELETE" : "UPDATE",
              row,
              at % 37 === 0 ? {} : cells,
              `c${of}`,
            );
          }
          return script;
        });
        await Promise.all(
          scripts.map(async (script, of) => {
            for (let from = 0; from < script.head; from += 500)
              await flushUntilTaken(adapters[of] as DatabaseAdapter, script.batch(from, from + 500));
          }),
        );
        await holds(
          adapters[0],
          table,
          scripts.flatMap((script) => script.stamped()),
        );
      });
    }

    test.each(Object.entries(EXTREMES) as [ColumnType, readonly Scalar[]][])(
      "[M5] every %s at its extremes comes back as it was, NULL too",
      async (type, values) => {
        const adapter = await open();
        const table = freshTable({ value: type, other: type });
        const script = new FlushScript(table);
        values.forEach((value, at) => {
          script.edit("INSERT", `v${at}`, { value });
          // Written as an update of a row that is there, beside a cell that is not touched.
          script.edit("INSERT", `w${at}`, { other: value });
        });
        script.edit("INSERT", "null", { value: null });
        await flush(adapter, script.batch());
        const before = script.head;
        values.forEach((value, at) => {
          script.edit("UPDATE", `w${at}`, { value });
          script.edit("UPDATE", `v${at}`, { value: null, other: value });
        });
        await flush(adapter, script.batch(before));
        await holdsScript(adapter, script);
      },
    );

    test(`U+0000 in text is ${nature.nul}`, async () => {
      const adapter = await open();
      const script = new FlushScript(freshTable());
      script.edit("INSERT", "sound", { title: "sound" });
      script.edit("INSERT", "nul", { title: "a\u0000b\ufdd0\ufdd1\u0000" });
      unwrap(await adapter.ensureSchema(script.table));
      const result = await adapter.insertDeltas(script.batch());
      if (nature.nul === "kept") {
        unwrap(result);
        return holdsScript(adapter, script);
      }
      expect(result).toMatchObject({
        ok: false,
        error: { code: "DestinationRefused", details: { table: script.table.table, column: "title", row: "nul" } },
      });
    });

    test("[S3] values that try to be SQL are values", async () => {
      const adapter = await open();
      const canary = new FlushScript(tableOf("canary", CELLS)).edit("INSERT", "alive", { title: "tweet" });
      await flush(adapter, canary.batch());
      const script = new FlushScript(freshTable());
      for (const attack of ATTACKS) {
        script.edit("INSERT", attack, { title: attack });
        script.edit("UPDATE", attack, { title: `${attack}!` });
      }
      await flush(adapter, script.batch(0, 5));
      await flush(adapter, script.batch(5));
      await holdsScript(adapter, script);
      for (const after of ATTACKS) unwrap(await adapter.getLatestState({ table: script.table, limit: 10, after }));
      for (const shard of ATTACKS)
        unwrap(await adapter.queryDeltasSince({ table: script.table, shard, afterSeq: 0 as Seq, limit: 10 }));
      await holdsScript(adapter, canary);
    });

    test("[S3] names that mean something in SQL are names", async () => {
      const adapter = await open();
      for (const table of ["order", "Select", "camelCase", "y".repeat(54)]) {
        const script = new FlushScript(tableOf(table, Object.fromEntries(AWKWARD.map((name) => [name, "string"]))));
        script.edit("INSERT", "a", Object.fromEntries(AWKWARD.map((name) => [name, name])));
        script.edit("UPDATE", "a", { order: "by", deleted: "no" });
        script.edit("INSERT", "b", { select: null }).edit("DELETE", "b");
        await flush(adapter, script.batch(0, 1));
        await flush(adapter, script.batch(1));
        await holdsScript(adapter, script);
      }
    });

    test("[S3] names that no schema may have are refused, or are names and nothing more", async () => {
      const adapter = await open();
      const canary = new FlushScript(tableOf("canary", CELLS)).edit("INSERT", "alive", { title: "tweet" });
      await flush(adapter, canary.batch());
      for (const attack of ATTACKS) {
        const column: Column = { id: 1, name: attack, type: "string", nullable: true };
        for (const table of [
          { ...freshTable(), table: attack },
          { ...freshTable(), columns: [column] },
        ]) {
          const result = await adapter.ensureSchema(table);
          if (!result.ok) expect(isLakeSyncError(result.error)).toBe(true);
        }
      }
      await holdsScript(adapter, canary);
    });

    test("50,000 deltas in one call, then updates of them all, and a tenth deleted", async () => {
      const adapter = await open();
      const script = new FlushScript(freshTable());
      const count = 50_000;
      for (let at = 0; at < count; at++)
        script.edit("INSERT", `row-${at}`, { title: `title of ${at}`, votes: at, done: at % 2 === 0 });
      expect(await flush(adapter, script.batch())).toMatchObject({ watermark: count, deltas: count });
      for (let at = 0; at < count; at++)
        script.edit(at % 10 === 0 ? "DELETE" : "UPDATE", `row-${at}`, at % 10 === 0 ? {} : { votes: -at });
      expect(await flush(adapter, script.batch(count))).toMatchObject({ watermark: 2 * count, deltas: count });
      const { rows } = await rowsIn(adapter, script.table, 10_000);
      expect(rows).toHaveLength((count * 9) / 10);
      expect(rows).toEqual(rowsMadeBy(script.stamped(), script.table));
      const seqs = (await historyIn(adapter, script.table, "main", 10_000)).map(({ seq }) => seq);
      expect(seqs).toEqual(Array.from({ length: 2 * count }, (_, at) => at + 1));
    });

    test("pages of rows and of history hold each once, whatever their size", async () => {
      const [adapter] = (await openMany(1)) as [DatabaseAdapter];
      const table = freshTable();
      const script = new FlushScript(table);
      const other = new FlushScript(table, { shard: "other" });
      const ids = ["a", "B", "é", "\uffee", "\u{1f600}", "a b", "A", "0", "~"];
      for (const id of ids) script.edit("INSERT", id, { title: id }).edit("UPDATE", id, { votes: 1 });
      other.edit("INSERT", "theirs", { title: "x" });
      await flush(adapter, script.batch());
      await flush(adapter, other.batch());
      const all = [...script.stamped(), ...other.stamped()];
      for (const limit of [1, 2, 5, 10, 1000]) {
        expect((await rowsIn(adapter, table, limit)).rows).toEqual(rowsMadeBy(all, table));
        expect(await historyIn(adapter, table, "main", limit)).toEqual(historyOf(script));
      }
    });

    test("rows are given by id, and each shard's progress is told", async () => {
      const adapter = await open();
      const script = smallScript(undefined, "one");
      const { table } = script;
      const other = new FlushScript(table, { shard: "two" });
      for (const rowId of ["x", "y", "z"]) other.edit("INSERT", rowId, { title: rowId });
      expect(unwrap(await adapter.progress(table))).toEqual([]);
      await flush(adapter, script.batch(0, 7));
      await flush(adapter, script.batch(7));
      await flush(adapter, other.batch());
      const idsOf = async (query: { ids: string[]; after?: string; limit?: number }) =>
        unwrap(await adapter.getLatestState({ table, limit: 10, ...query })).rowIds;
      const ids = ["z", "a", "c", "nobody", "é🎬", "x", "'"];
      expect(await idsOf({ ids })).toEqual(["a", "x", "z", "é🎬"]);
      expect(await idsOf({ ids, after: "a", limit: 2 })).toEqual(["x", "z"]);
      expect(await idsOf({ ids: ["0", "~"] })).toEqual([]);
      expect(await idsOf({ ids: [] })).toEqual([]);
      const progress = unwrap(await adapter.progress(table)).toSorted((a, b) => compareCodePoints(a.shard, b.shard));
      expect(progress).toMatchObject([
        { shard: "one", watermark: script.head, digest: script.batch().digest },
        { shard: "two", watermark: other.head, digest: other.batch().digest },
      ]);
    });

    test("rows that come without their history, as a tier hands them over, are rows like any", async () => {
      const adapter = await open();
      const script = smallScript();
      const seen = script.batch(0, 9);
      const handed = { ...seen, shard: "handed over", async *history() {} };
      expect(await flush(adapter, handed)).toMatchObject({ watermark: 9, deltas: 0 });
      await holds(adapter, script.table, script.stamped(9));
      expect(await historyIn(adapter, script.table, "handed over")).toEqual([]);
      expect(await flush(adapter, handed)).toEqual({ watermark: 9, rows: 0, deltas: 0 });
      if (nature.gateways === "one") return;
      // Edits of the same rows meet them.
      await flush(adapter, script.batch());
      await holdsScript(adapter, script);
    });

    test("the table is made once by several that want it at once", async () => {
      const adapters = await openMany(3);
      for (let version = 1; version <= 3; version++) {
        const columns: Record<string, ColumnType> = { title: "string" };
        for (let at = 1; at < version; at++) columns[`added${at}`] = "integer";
        const table = { ...tableOf("shared", columns), version };
        const made = await Promise.all(adapters.map((adapter) => adapter.ensureSchema(table)));
        for (const each of made) if (!each.ok) expect(each.error).toMatchObject({ retryable: true });
        for (const adapter of adapters) unwrap(await adapter.ensureSchema(table));
      }
    });

    test("[L4] columns are added, renamed, dropped, and their names given to others", async () => {
      const adapter = await open();
      const first = freshTable({ title: "string", votes: "integer", done: "boolean" });
      const script = new FlushScript(first);
      script
        .edit("INSERT", "a", { title: "one", votes: 1, done: true })
        .edit("INSERT", "b", { title: "two", votes: 2 });
      await flush(adapter, script.batch());
      const late = new FlushScript(first, { shard: "late" });
      late.edit("INSERT", "c", { title: "three", votes: 3, done: false }).edit("UPDATE", "c", { votes: 4 });
      const lateBatch = late.batch();

      // title and done change names with each other, votes goes, and another votes comes.
      const column = (id: number, name: string, type: ColumnType): Column => ({ id, name, type, nullable: true });
      const second: TableSchema = {
        ...first,
        version: 2,
        lastColumnId: 5,
        columns: [
          column(3, "title", "boolean"),
          column(1, "done", "string"),
          column(4, "votes", "string"),
          column(5, "added", "number"),
        ],
      };
      script.reshape(second);
      script.edit("UPDATE", "a", { votes: "many", added: 0.5 }).edit("INSERT", "d", { title: false, done: "four" });
      await flush(adapter, script.batch(2));
      const plain = (rowId: string, title: Scalar, done: Scalar, votes: Scalar, added: Scalar) => ({
        rowId,
        cells: { title, done, votes, added },
      });
      const expected = [
        plain("a", true, "one", "many", 0.5),
        plain("b", null, "two", null, null),
        plain("d", false, "four", null, null),
      ];
      expect((await rowsIn(adapter, second)).rows).toEqual(expected);

      // A flush that was leased under the older schema comes late: it takes nothing away, and lands in the right columns.
      await flush(adapter, lateBatch);
      const all = [...expected.slice(0, 2), plain("c", false, "three", null, null), ...expected.slice(2)];
      expect((await rowsIn(adapter, second)).rows).toEqual(all);
      const named = (await historyIn(adapter, second)).map(({ columns }) => columns);
      expect(named).toEqual([
        { done: "one", title: true },
        { done: "two" },
        { votes: "many", added: 0.5 },
        { title: false, done: "four" },
      ]);
      const lateColumns = (await historyIn(adapter, second, "late")).map(({ columns }) => columns);
      expect(lateColumns).toEqual([{ done: "three", title: false }, {}]);
      unwrap(await adapter.ensureSchema(first));
      expect((await rowsIn(adapter, second)).rows).toEqual(all);
    });

    test("[L4] a column whose type changed is refused with its name", async () => {
      const adapter = await open();
      const table = freshTable({ title: "string" });
      unwrap(await adapter.ensureSchema(table));
      const columns: Column[] = [{ id: 1, name: "title", type: "integer", nullable: true }];
      expect(await adapter.ensureSchema({ ...table, version: 2, columns })).toMatchObject({
        ok: false,
        error: { code: "Conflict", details: { table: table.table, column: "title" } },
      });
    });
  });
}

/** Adds an edit as a device would make it. @param ms of its clock; by default its place in the script, less `late` */
function addEdit(
  script: FlushScript,
  op: (typeof OPS)[number],
  rowId: string,
  cells: { readonly [name: string]: Scalar | undefined },
  client: string,
  late: number,
  ms?: number,
): void {
  const named = Object.fromEntries(Object.entries(cells).filter(([, value]) => value !== undefined)) as Record<
    string,
    Scalar
  >;
  if (op === "UPDATE" && Object.keys(named).length === 0) named.votes = 5;
  script.edit(op, rowId, op === "DELETE" ? {} : named, client, (ms ?? script.head - late) - 1_000_000);
}

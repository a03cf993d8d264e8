/**
 * A shard as a flush sees it, naively: every version of every row kept in plain maps. It leases what is unflushed,
 * hands it over as often as asked, and is told when a flush was acknowledged. The oracle of the lake's tests.
 */
import type { FlushBatch, HistoryBatch, RowBatch } from "../../core/index.ts";
import {
  type ClientId,
  DeltaBatchBuilder,
  type HlcText,
  letterOf,
  makeStamp,
  type Op,
  packHlc,
  type Scalar,
  type Seq,
  type TableSchema,
} from "../../schemas/index.ts";

export interface Edit {
  readonly op: Op;
  readonly rowId: string;
  readonly cells: Readonly<Record<string, Scalar>>;
}

interface Logged extends Edit {
  readonly seq: number;
  readonly hlc: HlcText;
  readonly receivedMs: number;
  readonly client: ClientId;
}

export interface ModelRow {
  readonly rowId: string;
  readonly seq: number;
  readonly hlc: HlcText;
  readonly cells: Readonly<Record<string, Scalar>>;
}

const START_MS = 1_790_000_000_000;

export class ShardModel {
  readonly name: string;
  table: TableSchema;
  readonly log: Logged[] = [];
  #flushed = 0;
  /** `_seq` of the version that the lake holds, of rows that were live at the last acknowledgement. */
  readonly #inLake = new Map<string, number>();
  readonly #pageRows: number;

  constructor(name: string, table: TableSchema, pageRows = 3) {
    this.name = name;
    this.table = table;
    this.#pageRows = pageRows;
  }

  get head(): number {
    return this.log.length;
  }

  edit(edit: Edit): void {
    const seq = this.head + 1;
    const hlc = packHlc(START_MS + seq, seq % 7);
    const client = `${this.name}-client-${seq % 3}` as ClientId;
    this.log.push({ ...edit, seq, hlc, receivedMs: START_MS + seq * 10, client });
  }

  /** Live rows as of a seq, by id. */
  rowsAt(to: number): Map<string, ModelRow> {
    const rows = new Map<string, ModelRow>();
    for (const { op, rowId, cells, seq, hlc } of this.log.slice(0, to)) {
      const before = rows.get(rowId);
      if (op === "DELETE") rows.delete(rowId);
      else if (op === "INSERT" || before) rows.set(rowId, { rowId, seq, hlc, cells: { ...before?.cells, ...cells } });
    }
    return rows;
  }

  /** Everything since the last acknowledgement, up to `to`. */
  lease(to = this.head): FlushBatch {
    const from = this.#flushed;
    const table = this.table;
    const entries = this.log.slice(from, to);
    const changed = this.#changed(entries, to);
    const inLake = new Map(this.#inLake);
    const pages = <T>(of: readonly T[]) =>
      Array.from({ length: Math.ceil(of.length / this.#pageRows) }, (_, i) =>
        of.slice(i * this.#pageRows, (i + 1) * this.#pageRows),
      );
    return {
      gatewayId: "test",
      shard: this.name,
      table,
      fromSeq: from as Seq,
      toSeq: to as Seq,
      toMs: START_MS + to * 10,
      async *rows() {
        for (const page of pages(changed)) yield rowBatch(page, table, inLake);
      },
      async *history() {
        for (const page of pages(entries)) yield historyBatch(page, table);
      },
    };
  }

  acknowledge(to: number): void {
    this.#flushed = to;
    this.#inLake.clear();
    for (const [rowId, row] of this.rowsAt(to)) this.#inLake.set(rowId, row.seq);
  }

  #changed(entries: readonly Logged[], to: number): Changed[] {
    const live = this.rowsAt(to);
    const last = new Map(entries.map((entry) => [entry.rowId, entry]));
    return [...last].map(([rowId, entry]) => ({ rowId, row: live.get(rowId), entry }));
  }
}

interface Changed {
  readonly rowId: string;
  readonly row: ModelRow | undefined;
  readonly entry: Logged;
}

function rowBatch(page: readonly Changed[], table: TableSchema, inLake: ReadonlyMap<string, number>): RowBatch {
  return {
    rowIds: page.map((each) => each.rowId),
    stamps: page.map(({ row, entry }) => makeStamp(row?.hlc ?? entry.hlc, entry.client)),
    seqs: page.map(({ row, entry }) => (row?.seq ?? entry.seq) as Seq),
    deleted: page.map(({ row }) => row === undefined),
    flushedSeqs: page.map(({ rowId }) => (inLake.get(rowId) ?? 0) as Seq),
    columns: table.columns.map(({ name }) => ({ name, values: page.map(({ row }) => row?.cells[name] ?? null) })),
    cellStamps: table.columns.map(() => page.map(({ entry }) => makeStamp(entry.hlc, entry.client))),
  };
}

function historyBatch(page: readonly Logged[], table: TableSchema): HistoryBatch {
  const builder = new DeltaBatchBuilder(table.table);
  for (const { op, rowId, hlc, client, cells } of page) builder.add(letterOf(op), rowId, hlc, client, cells);
  return {
    seqs: page.map((each) => each.seq as Seq),
    receivedMs: page.map((each) => each.receivedMs),
    batch: builder.build(),
  };
}

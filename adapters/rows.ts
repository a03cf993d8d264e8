/** Rows of a `RowBatch` one by one, and back. */
import type { RowBatch } from "../core/index.ts";
import { NO_STAMP, type Scalar, type Seq, type Stamp, stampHlc, type TableSchema } from "../schemas/index.ts";

export interface Row {
  readonly id: string;
  readonly stamp: Stamp;
  readonly seq: Seq;
  readonly deleted: boolean;
  /** In the order of the table's columns. */
  readonly values: readonly Scalar[];
  readonly cellStamps: readonly Stamp[];
  readonly marks?: readonly [inserted: Stamp, deleted: Stamp];
}

/** A `flushedSeq` that no version has: whoever takes the row may hold some version of it. */
export const ANY_VERSION = Number.MAX_SAFE_INTEGER as Seq;

export function* rowsIn(page: RowBatch): Generator<Row> {
  for (let at = 0; at < page.rowIds.length; at++) yield rowAt(page, at);
}

const rowAt = (page: RowBatch, at: number): Row => ({
  ...(page.marks && { marks: page.marks[at] as NonNullable<Row["marks"]> }),
  id: page.rowIds[at] as string,
  stamp: page.stamps[at] as Stamp,
  seq: page.seqs[at] as Seq,
  deleted: page.deleted[at] as boolean,
  values: page.columns.map(({ values }) => values[at] as Scalar),
  cellStamps: page.cellStamps.map((stamps) => stamps[at] as Stamp),
});

export function rowBatchOf(table: TableSchema, rows: readonly Row[]): RowBatch {
  return {
    ...(rows.some(({ marks }) => marks) && { marks: rows.map((row) => row.marks ?? guessedMarks(row)) }),
    rowIds: rows.map(({ id }) => id),
    stamps: rows.map(({ stamp }) => stamp),
    seqs: rows.map(({ seq }) => seq),
    deleted: rows.map(({ deleted }) => deleted),
    flushedSeqs: rows.map(() => ANY_VERSION),
    columns: table.columns.map(({ name }, of) => ({ name, values: rows.map(({ values }) => values[of] as Scalar) })),
    cellStamps: table.columns.map((_, of) => rows.map(({ cellStamps }) => cellStamps[of] as Stamp)),
  };
}

/** Of a row from a destination that knows its newest stamp alone. */
const guessedMarks = ({ deleted, stamp }: Row): [Stamp, Stamp] => (deleted ? [NO_STAMP, stamp] : [stamp, NO_STAMP]);

/** Whether two copies of a row say the same; one of the two may know its stamps less exactly. */
export const sameRow = (a: Row, b: Row): boolean =>
  a.deleted === b.deleted &&
  stampHlc(a.stamp) === stampHlc(b.stamp) &&
  a.values.every((value, at) => value === b.values[at]);

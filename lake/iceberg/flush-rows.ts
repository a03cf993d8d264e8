/**
 * The rows of a flush, as fields of the main table: what is appended, and which old versions go.
 *
 *   row           flushed before    appended   old version removed
 *   live          no                yes        -
 *   live          yes               yes        yes
 *   dead          no                -          -           made and deleted between two flushes: the table never saw it
 *   dead          yes               -          yes
 *
 * In a flush that begins below the watermark (it was delivered again, and grew), rows up to the watermark are in the
 * lake already and left out; of the others nobody knows which version the lake has, so every version goes.
 */
import type { FlushBatch, RowBatch } from "../../core/index.ts";
import { type Column, type HlcText, NO_STAMP, type Stamp, stampHlc } from "../../schemas/index.ts";
import type { DataFileWriter, FieldValues } from "./data-files.ts";
import type { LakeField } from "./layout.ts";

export interface StagedRows {
  readonly rows: number;
  /** "" where there are no rows. */
  readonly maxHlc: HlcText | "";
  /** Row ids, and seq of the version to remove; 0 for every version. */
  readonly old: ReadonlyMap<string, number>;
}

export async function stageRows(
  batch: FlushBatch,
  fields: readonly LakeField[],
  watermark: number,
  writer: DataFileWriter,
): Promise<StagedRows> {
  const cut = watermark > batch.fromSeq;
  const old = new Map<string, number>();
  let rows = 0;
  let newest = NO_STAMP;
  for await (const page of batch.rows()) {
    const kept: number[] = [];
    for (let at = 0; at < page.rowIds.length; at++) {
      if ((page.seqs[at] as number) <= watermark) continue;
      const flushed = page.flushedSeqs[at] as number;
      if (cut || flushed > 0) old.set(page.rowIds[at] as string, cut ? 0 : flushed);
      if (!page.deleted[at]) kept.push(at);
      if (!page.deleted[at] || cut || flushed > 0) rows++;
      const stamp = page.stamps[at] as Stamp;
      if (stamp > newest) newest = stamp;
    }
    await writer.add(rowValues(page, batch.table.columns, fields), kept);
  }
  return { rows, maxHlc: stampHlc(newest), old };
}

function rowValues(page: RowBatch, columns: readonly Column[], fields: readonly LakeField[]): FieldValues[] {
  const own: Readonly<Record<string, FieldValues>> = { _id: page.rowIds, _hlc: page.stamps, _seq: page.seqs };
  const users = byColumnId(page.columns, columns);
  return fields.map((field) => (field.columnId === undefined ? own[field.name] : users.get(field.columnId)));
}

/** Pages name columns as the shard does; the lake goes by id. */
export function byColumnId<T>(
  data: readonly { readonly name: string; readonly values: T }[],
  columns: readonly Column[],
): Map<number, T> {
  const ids = new Map(columns.map((column) => [column.name, column.id]));
  return new Map(
    data.flatMap(({ name, values }) => {
      const id = ids.get(name);
      return id === undefined ? [] : [[id, values] as const];
    }),
  );
}

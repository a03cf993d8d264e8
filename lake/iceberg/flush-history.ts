/** The history of a flush, as fields of the changes table: one row an edit, those up to the watermark left out. */
import type { FlushBatch, HistoryBatch } from "../../core/index.ts";
import { type Column, clientOf, type HlcText, isAbsent, opOf, type Scalar } from "../../schemas/index.ts";
import type { DataFileWriter, FieldValues } from "./data-files.ts";
import { byColumnId } from "./flush-rows.ts";
import type { LakeField } from "./layout.ts";

export interface StagedHistory {
  readonly deltas: number;
  readonly maxHlc: HlcText | "";
}

export async function stageHistory(
  batch: FlushBatch,
  fields: readonly LakeField[],
  watermark: number,
  writer: DataFileWriter,
): Promise<StagedHistory> {
  let deltas = 0;
  let maxHlc: HlcText | "" = "";
  for await (const page of batch.history()) {
    const kept: number[] = [];
    page.seqs.forEach((seq, at) => {
      if (seq <= watermark) return;
      kept.push(at);
      const hlc = page.batch.hlcs[at] as HlcText;
      if (hlc > maxHlc) maxHlc = hlc;
    });
    deltas += kept.length;
    await writer.add(historyValues(page, batch, fields), kept);
  }
  return { deltas, maxHlc };
}

function historyValues(page: HistoryBatch, { shard, table }: FlushBatch, fields: readonly LakeField[]): FieldValues[] {
  const each = <T extends Scalar>(of: (at: number) => T): T[] => page.batch.rowIds.map((_, at) => of(at));
  const own: Readonly<Record<string, FieldValues>> = {
    _seq: page.seqs,
    _shard: each(() => shard),
    _received: each((at) => (page.receivedMs[at] as number) * 1000),
    _hlc: page.batch.hlcs,
    _client_id: each((at) => clientOf(page.batch, at)),
    _op: each((at) => opOf(page.batch.ops[at] as string) ?? null),
    _id: page.batch.rowIds,
    _columns: namedColumns(page, table.columns),
  };
  const users = byColumnId(page.batch.columns, table.columns);
  return fields.map((field) => {
    if (field.columnId === undefined) return own[field.name];
    const values = users.get(field.columnId);
    // Copied only where there is something to take out.
    return values?.some(isAbsent) ? values.map((value) => (isAbsent(value) ? null : value)) : (values as FieldValues);
  });
}

/** Ids of the columns that each edit names, ascending. The same few combinations come again and again. */
function namedColumns(page: HistoryBatch, columns: readonly Column[]): string[] {
  const data = [...byColumnId(page.batch.columns, columns)].sort(([a], [b]) => a - b);
  const all = data.map(([id]) => id).join(",");
  if (data.every(([, values]) => !values.some(isAbsent))) return page.batch.rowIds.map(() => all);
  return page.batch.rowIds.map((_, at) => {
    const ids = data.filter(([, values]) => values[at] !== undefined && !isAbsent(values[at]));
    return ids.map(([id]) => id).join(",");
  });
}

/**
 * The change log: edits in chunks, each one row of `lakesync_changes`, which the view `<table>__changes` shows one by one.
 * A row for each edit would cost as much again as the rows of the table do (docs/decisions/0081).
 *
 *   [[seq, receivedMs, "INSERT", rowId, hlc, clientId, { column: value }], ...]
 *
 * Columns have the names of the schema version that the chunk bears; the rows of `lakesync_schemas` say which they are.
 */
import type { HistoryBatch } from "../../core/index.ts";
import {
  type ClientId,
  type Column,
  DeltaBatchBuilder,
  type HlcText,
  letterOf,
  type Op,
  opOf,
  type Scalar,
  type Seq,
  type TableSchema,
} from "../../schemas/index.ts";
import type { PageEntry } from "./page.ts";
import { readText, writeText } from "./text.ts";

/** Entries of a chunk at most, and about how long its text gets: what a reader takes at once. */
const CHUNK_ENTRIES = 1000;
const CHUNK_CHARS = 256 * 1024;

export interface Chunk {
  readonly first: number;
  readonly last: number;
  readonly body: string;
}

export interface StoredChunk {
  readonly version: number;
  readonly body: string;
}

type StoredEntry = [number, number, Op, string, HlcText, ClientId, Record<string, Scalar>];

/** @param names of columns by id, as JSON text */
export function chunksOf(entries: readonly PageEntry[], names: ReadonlyMap<string, string>): Chunk[] {
  const chunks: Chunk[] = [];
  let first = 0;
  let body = "";
  const end = (at: number) => {
    const [from, to] = [entries[first], entries[at]];
    if (from && to) chunks.push({ first: from.seq, last: to.seq, body: `${body}]` });
    first = at + 1;
    body = "";
  };
  entries.forEach(({ seq, receivedMs, letter, rowId, hlc, client, cells }, at) => {
    let columns = "";
    for (const id in cells) {
      const value = cells[id] as Scalar;
      columns += `${columns === "" ? "" : ","}${names.get(id)}:${typeof value === "string" ? JSON.stringify(writeText(value)) : value}`;
    }
    body += `${body === "" ? "[" : ",\n"}[${seq},${receivedMs},"${opOf(letter)}",${JSON.stringify(rowId)},"${hlc}","${client}",{${columns}}]`;
    if (body.length > CHUNK_CHARS || at - first + 1 === CHUNK_ENTRIES) end(at);
  });
  end(entries.length - 1);
  return chunks;
}

/** Edits after a seq, at most `limit`, columns named as the table now names them. */
export async function readChunks(
  chunks: AsyncIterable<StoredChunk>,
  table: TableSchema,
  columnsOf: (version: number) => Promise<readonly Pick<Column, "id" | "name">[]>,
  afterSeq: Seq,
  limit: number,
): Promise<HistoryBatch> {
  const now = new Map(table.columns.map(({ id, name }) => [id, name]));
  const renamed = new Map<number, ReadonlyMap<string, string | undefined>>();
  const builder = new DeltaBatchBuilder(table.table);
  const seqs: Seq[] = [];
  const receivedMs: number[] = [];
  for await (const { version, body } of chunks) {
    const names =
      renamed.get(version) ?? new Map((await columnsOf(version)).map(({ id, name }) => [name, now.get(id)]));
    renamed.set(version, names);
    for (const [seq, received, op, rowId, hlc, client, columns] of JSON.parse(body) as StoredEntry[]) {
      if (seq <= afterSeq) continue;
      const cells: Record<string, Scalar> = {};
      for (const [written, value] of Object.entries(columns)) {
        const name = names.get(written);
        if (name !== undefined) cells[name] = typeof value === "string" ? readText(value) : value;
      }
      builder.add(letterOf(op), rowId, hlc, client, cells);
      seqs.push(seq as Seq);
      receivedMs.push(received);
      if (seqs.length === limit) return { seqs, receivedMs, batch: builder.build() };
    }
  }
  return { seqs, receivedMs, batch: builder.build() };
}

/**
 * The change log: edits in chunks, each one row of `lakesync_changes`, which the view `<table>__changes` shows one by one.
 * A row for each edit would cost more than the rows of the table do (docs/decisions/0080).
 *
 *   [[seq, receivedMs, "I" | "U" | "D", rowId, hlc, clientId, { columnId: value }], ...]
 */
import type { HistoryBatch } from "../../core/index.ts";
import {
  type ClientId,
  DeltaBatchBuilder,
  type HlcText,
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

type StoredEntry = readonly [number, number, "I" | "U" | "D", string, HlcText, ClientId, Record<string, Scalar>];

export function chunksOf(entries: readonly PageEntry[]): Chunk[] {
  const chunks: Chunk[] = [];
  let body = "";
  let start = 0;
  entries.forEach(({ seq, receivedMs, letter, rowId, hlc, client, cells }, at) => {
    const { columns, values } = cells;
    let named = "";
    for (let k = 0; k < columns.length; k++)
      named += `${k === 0 ? "" : ","}"${columns[k]}":${jsonOf(values[k] as Scalar)}`;
    body += `${at === start ? "[" : ","}[${seq},${receivedMs},"${letter}",${jsonOf(rowId)},"${hlc}",${jsonOf(client)},{${named}}]`;
    if (at + 1 - start < CHUNK_ENTRIES && body.length < CHUNK_CHARS && at < entries.length - 1) return;
    chunks.push({ first: (entries[start] as PageEntry).seq, last: seq, body: `${body}]` });
    body = "";
    start = at + 1;
  });
  return chunks;
}

/** What JSON writes between quotation marks as it is, in ASCII. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** JSON, text written as a database keeps it; `JSON.stringify` of all at once takes twice as long. */
function jsonOf(value: Scalar): string {
  if (typeof value !== "string") return String(value);
  return PLAIN.test(value) ? `"${value}"` : JSON.stringify(writeText(value));
}

/** Edits after a seq, at most `limit`, columns named as the table now names them. */
export async function readChunks(
  bodies: AsyncIterable<string>,
  table: TableSchema,
  afterSeq: Seq,
  limit: number,
): Promise<HistoryBatch> {
  const names = new Map(table.columns.map(({ id, name }) => [String(id), name]));
  const builder = new DeltaBatchBuilder(table.table);
  const seqs: Seq[] = [];
  const receivedMs: number[] = [];
  for await (const body of bodies)
    for (const [seq, received, letter, rowId, hlc, client, stored] of JSON.parse(body) as StoredEntry[]) {
      if (seq <= afterSeq) continue;
      if (seqs.length === limit) return { seqs, receivedMs, batch: builder.build() };
      const cells: Record<string, Scalar> = {};
      for (const id in stored) {
        const name = names.get(id);
        const value = stored[id] as Scalar;
        if (name !== undefined) cells[name] = typeof value === "string" ? readText(value) : value;
      }
      builder.add(letter, rowId, hlc, client, cells);
      seqs.push(seq as Seq);
      receivedMs.push(received);
    }
  return { seqs, receivedMs, batch: builder.build() };
}

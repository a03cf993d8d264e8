/**
 * One Parquet file out of many, so that a large file is written without being held: each part is a whole file of its own
 * (`writeParquet`), of which the pages go out as they are, and the footer's offsets are moved to where they come to lie.
 *
 *   PAR1 | pages of part 1 | pages of part 2 | ... | one footer with all row groups | its length | PAR1
 *
 * Parts have the same columns. Page indexes and bloom filters, which lie between pages and footer, are left out.
 */
import { invariant } from "../../schemas/index.ts";
import {
  decodeThrift,
  encodeThrift,
  I32,
  I64,
  type ThriftField,
  type ThriftList,
  type ThriftStruct,
} from "./thrift.ts";

const MAGIC = new TextEncoder().encode("PAR1");

/** Fields of the footer by the names of parquet.thrift. */
const FILE = { numRows: 3, rowGroups: 4 } as const;
const GROUP = { columns: 1, fileOffset: 5, ordinal: 7 } as const;
const CHUNK = { fileOffset: 2, metadata: 3, indexes: [4, 5, 6, 7] } as const;
const COLUMN = { compressedSize: 7, dataPage: 9, indexPage: 10, dictionaryPage: 11, bloomFilter: [14, 15] } as const;

export class ParquetStitcher {
  #footer: ThriftStruct | undefined;
  #groups: ThriftStruct[] = [];
  #rows = 0n;
  #offset = 0;

  /** Bytes so far, without the footer. */
  get bytes(): number {
    return this.#offset;
  }

  /** @returns what comes next in the file */
  add(part: Uint8Array): Uint8Array {
    const footer = footerOf(part);
    const groups = structs(footer, FILE.rowGroups);
    const chunks = groups.flatMap((group) => structs(group, GROUP.columns));
    const end = Math.max(MAGIC.length, ...chunks.map((chunk) => endOf(struct(chunk, CHUNK.metadata))));
    const start = this.#footer ? MAGIC.length : 0;
    const by = BigInt(this.#offset - start);
    for (const group of groups) {
      move(group, GROUP.fileOffset, by);
      group.delete(GROUP.ordinal);
    }
    for (const chunk of chunks) {
      move(chunk, CHUNK.fileOffset, by);
      for (const id of CHUNK.indexes) chunk.delete(id);
      const metadata = struct(chunk, CHUNK.metadata);
      for (const id of [COLUMN.dataPage, COLUMN.indexPage, COLUMN.dictionaryPage]) move(metadata, id, by);
      for (const id of COLUMN.bloomFilter) metadata.delete(id);
    }
    this.#footer ??= footer;
    this.#groups.push(...groups);
    this.#rows += integer(footer.get(FILE.numRows));
    this.#offset += end - start;
    return part.subarray(start, end);
  }

  /** @returns the end of the file; at least one part must have been added */
  finish(): Uint8Array {
    const footer = this.#footer;
    const groups = footer?.get(FILE.rowGroups);
    invariant(footer && groups, "a Parquet file has at least one part");
    const list: ThriftList = { type: (groups.value as ThriftList).type, items: this.#groups };
    footer.set(FILE.rowGroups, { type: groups.type, value: list });
    footer.set(FILE.numRows, { type: I64, value: this.#rows });
    const body = encodeThrift(footer);
    const bytes = new Uint8Array(body.length + 4 + MAGIC.length);
    bytes.set(body);
    new DataView(bytes.buffer).setUint32(body.length, body.length, true);
    bytes.set(MAGIC, body.length + 4);
    return bytes;
  }
}

function footerOf(part: Uint8Array): ThriftStruct {
  const length = new DataView(part.buffer, part.byteOffset + part.length - 8, 4).getUint32(0, true);
  return decodeThrift(part.subarray(part.length - 8 - length, part.length - 8));
}

const struct = (of: ThriftStruct, id: number): ThriftStruct => of.get(id)?.value as ThriftStruct;
const structs = (of: ThriftStruct, id: number): ThriftStruct[] =>
  ((of.get(id)?.value as ThriftList | undefined)?.items ?? []) as ThriftStruct[];
const integer = (field: ThriftField | undefined): bigint => (field?.value as bigint | undefined) ?? 0n;

/** Where a column's pages end. */
function endOf(metadata: ThriftStruct): number {
  const data = Number(integer(metadata.get(COLUMN.dataPage)));
  const dictionary = Number(integer(metadata.get(COLUMN.dictionaryPage)));
  const start = dictionary > 0 && dictionary < data ? dictionary : data;
  return start + Number(integer(metadata.get(COLUMN.compressedSize)));
}

/** Adds to an offset; 0 stands for none. */
function move(of: ThriftStruct, id: number, by: bigint): void {
  const field = of.get(id);
  if (field && (field.type === I64 || field.type === I32) && integer(field) > 0n)
    of.set(id, { type: field.type, value: integer(field) + by });
}

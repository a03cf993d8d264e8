/**
 * COPY: rows as Postgres's binary format has them, sent as they are read from a buffer. Values need no escaping, a
 * timestamp no formatting here and no parsing there: half of what an INSERT of the same rows costs the server.
 *
 *   signature, flags, length of extension | rows: count of fields (int16), each its length (int32, -1 for NULL) and bytes | -1
 *
 * https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
 */
import { Buffer } from "node:buffer";
import pg from "pg";
import type { ColumnType, Scalar } from "../../schemas/index.ts";
import type { MergedRow } from "../sql/page.ts";
import { cellsReader, packStamps } from "../sql/row-state.ts";
import type { TableColumn } from "../sql/table.ts";
import { writeText } from "../sql/text.ts";

const SIGNATURE = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
/** What Postgres counts time from: 2000-01-01, in microseconds since 1970. */
const EPOCH = 946_684_800_000_000;
const TWO_32 = 2 ** 32;
/** Text up to here is written faster than the call to write it takes. */
const SHORT = 24;

class Fields {
  #bytes = Buffer.allocUnsafe(1 << 20);
  #at = SIGNATURE.copy(this.#bytes);

  /** Room for so many bytes more. */
  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(2 * (this.#at + bytes));
    this.#bytes.copy(grown, 0, 0, this.#at);
    this.#bytes = grown;
  }

  count(fields: number): void {
    this.#room(2);
    this.#at = this.#bytes.writeInt16BE(fields, this.#at);
  }

  null(): void {
    this.#room(4);
    this.#at = this.#bytes.writeInt32BE(-1, this.#at);
  }

  /** Text without U+0000. */
  text(text: string): void {
    this.#room(4 + 3 * text.length);
    const bytes = this.#bytes;
    const start = this.#at + 4;
    let at = start;
    if (text.length <= SHORT)
      for (let k = 0; k < text.length; k++) {
        const unit = text.charCodeAt(k);
        if (unit > 0x7f) {
          at = -1;
          break;
        }
        bytes[at++] = unit;
      }
    else at = -1;
    if (at < 0) at = start + bytes.write(text, start);
    bytes.writeInt32BE(at - start, this.#at);
    this.#at = at;
  }

  bytes(value: Buffer): void {
    this.#room(4 + value.length);
    this.#at = this.#bytes.writeInt32BE(value.length, this.#at);
    this.#at += value.copy(this.#bytes, this.#at);
  }

  boolean(value: boolean): void {
    this.#room(5);
    this.#at = this.#bytes.writeInt32BE(1, this.#at);
    this.#at = this.#bytes.writeUInt8(Number(value), this.#at);
  }

  double(value: number): void {
    this.#room(12);
    this.#at = this.#bytes.writeInt32BE(8, this.#at);
    this.#at = this.#bytes.writeDoubleBE(value, this.#at);
  }

  /** 64 bits. @param value a number, or digits where it is not safe @param less what is taken off */
  integer(value: number | string, less = 0): void {
    this.#room(12);
    this.#at = this.#bytes.writeInt32BE(8, this.#at);
    if (typeof value === "number" && Number.isSafeInteger(value - less)) {
      const high = Math.floor((value - less) / TWO_32);
      this.#at = this.#bytes.writeInt32BE(high, this.#at);
      this.#at = this.#bytes.writeUInt32BE(value - less - high * TWO_32, this.#at);
    } else this.#at = this.#bytes.writeBigInt64BE(BigInt(value) - BigInt(less), this.#at);
  }

  end(): Buffer {
    this.count(-1);
    return this.#bytes.subarray(0, this.#at);
  }
}

function put(fields: Fields, type: ColumnType, value: Scalar): void {
  if (value === null) fields.null();
  else if (type === "integer") fields.integer(value as number | string);
  else if (type === "timestamp") fields.integer(value as number | string, EPOCH);
  else if (type === "number") fields.double(Number(value));
  else if (type === "boolean") fields.boolean(value as boolean);
  else if (type === "bytes") fields.bytes(Buffer.from(value as string, "base64"));
  else fields.text(writeText(value as string));
}

/** Rows as `_id`, the columns, `_stamps`. */
export function binaryOf(columns: readonly TableColumn[], rows: readonly MergedRow[]): Buffer {
  const fields = new Fields();
  const cellsOf = cellsReader(columns);
  for (const { rowId, state, seq } of rows) {
    const cells = cellsOf(state);
    fields.count(columns.length + 2);
    fields.text(writeText(rowId));
    for (let at = 0; at < columns.length; at++) put(fields, (columns[at] as TableColumn).type, cells[at] as Scalar);
    fields.text(packStamps(state, seq));
  }
  return fields.end();
}

/** What pg calls when the server waits for the rows of a COPY; not in its types. */
interface CopyConnection {
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

class CopyIn extends pg.Query {
  readonly #data: Buffer;
  readonly #sent: () => void;

  constructor(sql: string, data: Buffer, sent: () => void, callback: (error: Error | undefined) => void) {
    super({ text: sql });
    this.#data = data;
    this.#sent = sent;
    Object.assign(this, { callback });
  }

  handleCopyInResponse(connection: CopyConnection): void {
    connection.sendCopyFromChunk(this.#data);
    connection.endCopyFrom();
    this.#sent();
  }
}

/** @param sent called when the rows are on their way, and the server has work of its own */
export const copyInto = (client: pg.ClientBase, table: string, data: Buffer, sent: () => void): Promise<void> =>
  new Promise((done, failed) => {
    const sql = `COPY ${table} FROM STDIN (FORMAT binary)`;
    client.query(new CopyIn(sql, data, sent, (error) => (error ? failed(error) : done())));
  });

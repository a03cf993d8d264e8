/**
 * A DeltaBatch in the form in which it travels: arrays as JSON text, clocks as bytes. Without the protobuf runtime, so that
 * a browser can read and write batches with a codec of its own.
 */
import type { Absent, ColumnData, DeltaBatch } from "./delta.ts";
import { LakeSyncError } from "./errors.ts";
import { HLC_TEXT_CHARS, type HlcText, ownTexts } from "./hlc.ts";
import { type ClientId, isClientId } from "./ids.ts";
import { PUSH_DELTAS_MAX } from "./limits.ts";
import { err, ok, type Result } from "./result.ts";
import type { Scalar } from "./value.ts";

const bad = (message: string, details = {}): Result<never, LakeSyncError> =>
  err(new LakeSyncError("BadRequest", message, details));

/** The fields of the message `DeltaBatch`, without its class: what crosses RPC, too. */
export interface PackedBatch {
  readonly table: string;
  readonly count: number;
  readonly ops: string;
  readonly rowIds: string;
  readonly hlcs: Uint8Array;
  readonly clients: string[];
  readonly clientIndexes: string;
  readonly columns: { readonly name: string; readonly values: string }[];
}

export function foldBatch(batch: DeltaBatch): PackedBatch {
  const count = batch.rowIds.length;
  const clients = [...new Set(batch.clients)];
  const index = new Map(clients.map((client, at) => [client, at]));
  return {
    table: batch.table,
    count,
    ops: batch.ops,
    rowIds: JSON.stringify(batch.rowIds),
    hlcs: encodeHlcs(batch.hlcs),
    clients,
    clientIndexes: clients.length > 1 ? JSON.stringify(batch.clients.map((c) => index.get(c))) : "",
    columns: batch.columns.map((c) => ({ name: c.name, values: JSON.stringify(c.values) })),
  };
}

function encodeHlcs(hlcs: readonly HlcText[]): Uint8Array {
  const bytes = new Uint8Array(hlcs.length * 8);
  const view = new DataView(bytes.buffer);
  hlcs.forEach((hlc, at) => {
    view.setUint32(at * 8, Number.parseInt(hlc.slice(0, 8), 16));
    view.setUint32(at * 8 + 4, Number.parseInt(hlc.slice(8), 16));
  });
  return bytes;
}

const HEX_DIGITS = new TextEncoder().encode("0123456789abcdef");
const ascii = new TextDecoder();

/** All clocks are written into one text and cut out of it: one string operation an entry. */
function decodeHlcs(bytes: Uint8Array): HlcText[] {
  const digits = new Uint8Array(bytes.length * 2);
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] as number;
    digits[at * 2] = HEX_DIGITS[byte >> 4] as number;
    digits[at * 2 + 1] = HEX_DIGITS[byte & 15] as number;
  }
  const text = ascii.decode(digits);
  const hlcs: HlcText[] = [];
  for (let at = 0; at < text.length; at += HLC_TEXT_CHARS) hlcs.push(text.slice(at, at + HLC_TEXT_CHARS) as HlcText);
  return ownTexts(hlcs);
}

/**
 * The batch that a message holds, its shape checked: as many ops, row ids, clocks and values as it says. Whether table,
 * columns and values exist and fit is the shard's to say, delta by delta (PU3).
 * @param client whose edits these are where the message names none
 */
export function decodeBatch(message: PackedBatch, client?: ClientId): Result<DeltaBatch, LakeSyncError> {
  const { table, count, ops } = message;
  const named = { table };
  if (count > PUSH_DELTAS_MAX)
    return err(
      new LakeSyncError(
        "TooLarge",
        `A batch holds ${count} deltas; the limit is ${PUSH_DELTAS_MAX}. Send smaller batches.`,
        named,
      ),
    );
  if (ops.length !== count || !/^[IUDR]*$/.test(ops))
    return bad(`A batch of ${count} needs ${count} letters I, U, D or R in "ops".`, named);
  if (message.hlcs.length !== count * 8) return bad(`A batch of ${count} needs ${count * 8} bytes of "hlcs".`, named);
  const rowIds = jsonArray(message.rowIds, count);
  if (!rowIds?.every((id) => typeof id === "string"))
    return bad(`"row_ids" has to be a JSON array of ${count} strings.`, named);
  const columns: ColumnData[] = [];
  for (const column of message.columns) {
    const values = jsonArray(column.values, count);
    if (!values)
      return bad(`"values" of column ${JSON.stringify(column.name)} has to be a JSON array of ${count} values.`, named);
    columns.push({ name: column.name, values: values as (Scalar | Absent)[] });
  }
  if (new Set(columns.map((c) => c.name)).size < columns.length) return bad("A batch names a column twice.", named);
  const clients = decodeClients(message, client);
  if (!clients)
    return bad(`"clients" and "client_indexes" have to name one client for each of ${count} entries.`, named);
  return ok({ table, ops, rowIds: rowIds as string[], hlcs: decodeHlcs(message.hlcs), clients, columns });
}

function jsonArray(text: string, length: number): unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.length === length ? value : undefined;
  } catch {
    return undefined;
  }
}

function decodeClients(message: PackedBatch, client: ClientId | undefined): ClientId[] | undefined {
  if (message.clients.length === 0) return client === undefined ? undefined : [client];
  if (!message.clients.every(isClientId)) return undefined;
  if (message.clients.length === 1) return [message.clients[0] as ClientId];
  const indexes = jsonArray(message.clientIndexes, message.count);
  const clients = indexes?.map((at) => (typeof at === "number" ? (message.clients[at] as ClientId) : undefined));
  return clients?.every((c) => c !== undefined) ? clients : undefined;
}

const CLOCK_BYTES = 8;

/** Clocks of a batch transposed: all first bytes, then all second bytes. Neighbours are alike then, and compress away. */
export function toPlanes(hlcs: Uint8Array): Uint8Array {
  const count = hlcs.length / CLOCK_BYTES;
  const planes = new Uint8Array(hlcs.length);
  for (let at = 0; at < count; at++)
    for (let byte = 0; byte < CLOCK_BYTES; byte++) planes[byte * count + at] = hlcs[at * CLOCK_BYTES + byte] as number;
  return planes;
}

/** The reverse. A length that is no whole number of clocks is left as it is, for `decodeBatch` to refuse. */
export function fromPlanes(planes: Uint8Array): Uint8Array {
  const count = planes.length / CLOCK_BYTES;
  if (!Number.isInteger(count)) return planes;
  const hlcs = new Uint8Array(planes.length);
  for (let at = 0; at < count; at++)
    for (let byte = 0; byte < CLOCK_BYTES; byte++) hlcs[at * CLOCK_BYTES + byte] = planes[byte * count + at] as number;
  return hlcs;
}

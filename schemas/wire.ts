/**
 * Between wire messages (schemas/proto/lakesync.proto) and what the engine works on. Decoders take bytes from anyone:
 * a malformed message is a `BadRequest` that names what is wrong with it.
 */

import type { Message } from "@bufbuild/protobuf";
import {
  create,
  fromBinary,
  fromJsonString,
  type JsonValue,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJson,
  toJsonString,
} from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { type Absent, type ColumnData, type DeltaBatch, isAbsent } from "./delta.ts";
import { LakeSyncError } from "./errors.ts";
import {
  type DeltaBatch as DeltaBatchMessage,
  DeltaBatchSchema,
  type Delta as DeltaMessage,
  Op as OpMessage,
} from "./gen/lakesync_pb.js";
import { type HlcText, hlcFromBigInt } from "./hlc.ts";
import { type ClientId, isClientId } from "./ids.ts";
import { PUSH_DELTAS_MAX } from "./limits.ts";
import { err, ok, type Result } from "./result.ts";
import type { Scalar } from "./value.ts";

const bad = (message: string, details = {}): Result<never, LakeSyncError> =>
  err(new LakeSyncError("BadRequest", message, details));

export function encodeBatch(batch: DeltaBatch): DeltaBatchMessage {
  const count = batch.rowIds.length;
  const clients = [...new Set(batch.clients)];
  const index = new Map(clients.map((client, at) => [client, at]));
  return create(DeltaBatchSchema, {
    table: batch.table,
    count,
    ops: batch.ops,
    rowIds: JSON.stringify(batch.rowIds),
    hlcs: encodeHlcs(batch.hlcs),
    clients,
    clientIndexes: clients.length > 1 ? JSON.stringify(batch.clients.map((c) => index.get(c))) : "",
    columns: batch.columns.map((c) => ({ name: c.name, values: JSON.stringify(c.values) })),
  });
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

function decodeHlcs(bytes: Uint8Array): HlcText[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const hlcs: HlcText[] = new Array(bytes.byteLength / 8);
  let lastHigh = -1;
  let highText = "";
  for (let at = 0; at < hlcs.length; at++) {
    const high = view.getUint32(at * 8);
    if (high !== lastHigh) {
      lastHigh = high;
      highText = high.toString(16).padStart(8, "0");
    }
    hlcs[at] = (highText +
      view
        .getUint32(at * 8 + 4)
        .toString(16)
        .padStart(8, "0")) as HlcText;
  }
  return hlcs;
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

/** What a value looks like before its column's type is known: canonical, or as a person wrote it in JSON. */
export type LooseValue = JsonValue;

/** A delta as a person wrote it: clock and op checked, values still to be read by their columns' types. */
export interface LooseDelta {
  readonly letter: "I" | "U" | "D";
  readonly table: string;
  readonly rowId: string;
  readonly hlc: HlcText;
  /** As sent; "" when it was left out. */
  readonly deltaId: string;
  readonly columns: readonly { readonly name: string; readonly value: LooseValue }[];
}

const LETTERS = { [OpMessage.INSERT]: "I", [OpMessage.UPDATE]: "U", [OpMessage.DELETE]: "D" } as const;

export function decodeDelta(message: DeltaMessage): Result<LooseDelta, LakeSyncError> {
  const letter = LETTERS[message.op as keyof typeof LETTERS];
  if (!letter)
    return bad('"op" of a delta has to be INSERT, UPDATE or DELETE.', { table: message.table, rowId: message.rowId });
  const hlc = hlcFromBigInt(message.hlc) as HlcText;
  const columns: { name: string; value: LooseValue }[] = [];
  for (const { column: name, value } of message.columns) {
    const json = looseValue(value);
    if (json === undefined)
      return bad(
        `The value of column ${JSON.stringify(name.slice(0, 80))} cannot be said in JSON: it is NaN, infinite, of no kind, or nested too deep.`,
        { table: message.table, rowId: message.rowId },
      );
    columns.push({ name, value: json });
  }
  return ok({ letter, table: message.table, rowId: message.rowId, hlc, deltaId: message.deltaId, columns });
}

/** Undefined for what protobuf can carry and JSON cannot say. */
function looseValue(value: MessageShape<typeof ValueSchema> | undefined): LooseValue | undefined {
  try {
    return value ? toJson(ValueSchema, value) : null;
  } catch {
    return undefined;
  }
}

/** A batch as it crosses RPC: the message's fields without its class. */
export type PackedBatch = Pick<
  DeltaBatchMessage,
  "table" | "count" | "ops" | "rowIds" | "hlcs" | "clients" | "clientIndexes"
> & { readonly columns: readonly { readonly name: string; readonly values: string }[] };

export function packBatch(message: DeltaBatchMessage): PackedBatch {
  const { table, count, ops, rowIds, hlcs, clients, clientIndexes, columns } = message;
  return {
    table,
    count,
    ops,
    rowIds,
    hlcs,
    clients,
    clientIndexes,
    columns: columns.map(({ name, values }) => ({ name, values })),
  };
}

/** Entries of a batch by where they go, in order (PU4). */
export function splitBatch<Key>(batch: DeltaBatch, keyOf: (rowId: string) => Key): Map<Key, DeltaBatch> {
  const groups = Map.groupBy(batch.rowIds.keys(), (at) => keyOf(batch.rowIds[at] as string));
  return new Map([...groups].map(([key, indexes]) => [key, pickEntries(batch, indexes)]));
}

/** A batch of some entries of another, in the order of `indexes`. Columns that none of them names are left out. */
function pickEntries(batch: DeltaBatch, indexes: readonly number[]): DeltaBatch {
  if (indexes.length === batch.rowIds.length && indexes.every((index, at) => index === at)) return batch;
  const pick = <T>(from: ArrayLike<T>): T[] => indexes.map((at) => from[at] as T);
  return {
    table: batch.table,
    ops: pick(batch.ops).join(""),
    rowIds: pick(batch.rowIds),
    hlcs: pick(batch.hlcs),
    clients: batch.clients.length === 1 ? batch.clients : pick(batch.clients),
    columns: batch.columns
      .map((c) => ({ name: c.name, values: pick(c.values) }))
      .filter((c) => !c.values.every(isAbsent)),
  };
}

/** Media types of the data routes. */
export const PROTOBUF = "application/x-protobuf";
export const JSON_TYPE = "application/json";

/** A message from bytes or JSON text, or a `BadRequest` that says what is wrong. */
export function decodeMessage<T extends Message>(
  schema: GenMessage<T>,
  body: Uint8Array | string,
): Result<T, LakeSyncError> {
  try {
    return ok(typeof body === "string" ? fromJsonString(schema, body) : fromBinary(schema, body));
  } catch (cause) {
    const what = typeof body === "string" ? "JSON" : "protobuf";
    const deep = cause instanceof RangeError; // the stack's end
    const reason = deep ? "it is nested too deep" : cause instanceof Error ? cause.message : String(cause);
    return bad(
      `The body is not a ${schema.name} in ${what}: ${reason.slice(0, 300)}. See /openapi.json for its shape.`,
    );
  }
}

export const encodeBinary = <T extends Message>(
  schema: GenMessage<T>,
  message: MessageInitShape<GenMessage<T>>,
): Uint8Array => toBinary(schema, create(schema, message));

export const encodeJson = <T extends Message>(
  schema: GenMessage<T>,
  message: MessageInitShape<GenMessage<T>>,
): string => toJsonString(schema, create(schema, message));

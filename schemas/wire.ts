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
import { type DeltaBatch, isAbsent } from "./delta.ts";
import { LakeSyncError } from "./errors.ts";
import {
  type DeltaBatch as DeltaBatchMessage,
  DeltaBatchSchema,
  type Delta as DeltaMessage,
  Op as OpMessage,
} from "./gen/lakesync_pb.js";
import { type HlcText, hlcFromBigInt } from "./hlc.ts";
import { foldBatch, type PackedBatch } from "./packed-batch.ts";
import { err, ok, type Result } from "./result.ts";

const bad = (message: string, details = {}): Result<never, LakeSyncError> =>
  err(new LakeSyncError("BadRequest", message, details));

export const encodeBatch = (batch: DeltaBatch): DeltaBatchMessage => create(DeltaBatchSchema, foldBatch(batch));

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

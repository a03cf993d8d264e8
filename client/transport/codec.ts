/** Between the transport port and the wire's messages (schemas/proto/lakesync.proto). */
import {
  type ClientId,
  type DeltaBatch,
  decodeBatch,
  type ErrorCode,
  foldBatch,
  HLC_ZERO,
  type HlcText,
  hlcFromBigInt,
  isErrorCode,
  LakeSyncError,
  unwrap,
} from "../../schemas/index.ts";
import type { Page, PullCall, PushAnswer, PushCall, Refusal } from "./port.ts";
import type { Shape } from "./protobuf.ts";

const COLUMN_DATA = { name: { no: 1, type: "string" }, values: { no: 2, type: "string" } } as const;

export const DELTA_BATCH = {
  table: { no: 1, type: "string" },
  count: { no: 2, type: "uint32" },
  ops: { no: 3, type: "string" },
  rowIds: { no: 4, type: "string" },
  hlcs: { no: 5, type: "bytes" },
  clients: { no: 6, type: "string", repeated: true },
  clientIndexes: { no: 7, type: "string" },
  columns: { no: 8, type: COLUMN_DATA, repeated: true },
} as const;

export const PUSH_REQUEST = {
  clientId: { no: 1, type: "string" },
  batches: { no: 3, type: DELTA_BATCH, repeated: true },
} as const;

const REJECTION = {
  deltaId: { no: 1, type: "string" },
  code: { no: 2, type: "string" },
  message: { no: 3, type: "string" },
  table: { no: 4, type: "string" },
  rowId: { no: 5, type: "string" },
  hlc: { no: 6, type: "uint64" },
} as const;

export const PUSH_RESPONSE = {
  rejected: { no: 2, type: REJECTION, repeated: true },
  serverHlc: { no: 3, type: "uint64" },
  cursorHint: { no: 4, type: "string" },
} as const;

export const PULL_REQUEST = {
  clientId: { no: 1, type: "string" },
  cursor: { no: 2, type: "string" },
  tables: { no: 3, type: "string", repeated: true },
  maxBytes: { no: 4, type: "uint32" },
  columnar: { no: 6, type: "bool" },
  follow: { no: 7, type: "bool" },
} as const;

export const PULL_RESPONSE = {
  cursor: { no: 2, type: "string" },
  hasMore: { no: 3, type: "bool" },
  resync: { no: 4, type: "bool" },
  digests: { no: 5, type: { key: { no: 1, type: "string" }, value: { no: 2, type: "string" } }, repeated: true },
  batches: { no: 6, type: DELTA_BATCH, repeated: true },
  serverHlc: { no: 7, type: "uint64" },
  follows: { no: 8, type: "string" },
} as const;

export const ERROR_BODY = {
  code: { no: 1, type: "string" },
  message: { no: 2, type: "string" },
  retryAfterSeconds: { no: 4, type: "uint32" },
} as const;

export const FRAME = {
  id: { no: 1, type: "uint32" },
  push: { no: 2, type: PUSH_REQUEST, optional: true },
  pushed: { no: 3, type: PUSH_RESPONSE, optional: true },
  pull: { no: 4, type: PULL_REQUEST, optional: true },
  page: { no: 5, type: PULL_RESPONSE, optional: true },
  poke: { no: 6, type: { cursorHint: { no: 1, type: "string" } }, optional: true },
  error: { no: 7, type: ERROR_BODY, optional: true },
  token: { no: 8, type: "string" },
} as const;

export const pushMessage = (call: PushCall): Shape<typeof PUSH_REQUEST> => ({
  clientId: call.clientId,
  batches: call.batches.map(foldBatch),
});

export const pullMessage = (call: PullCall): Shape<typeof PULL_REQUEST> => ({
  clientId: call.clientId,
  cursor: call.cursor,
  tables: [...(call.tables ?? [])],
  maxBytes: call.maxBytes ?? 0,
  columnar: true,
  follow: true,
});

const hlcText = (hlc: bigint): HlcText => hlcFromBigInt(hlc) ?? HLC_ZERO;

export function pushAnswer(message: Shape<typeof PUSH_RESPONSE>): PushAnswer {
  return {
    rejected: message.rejected.map(
      (r): Refusal => ({
        table: r.table,
        rowId: r.rowId,
        hlc: hlcText(r.hlc),
        code: codeOf(r.code, "Internal"),
        message: r.message,
      }),
    ),
    serverHlc: hlcText(message.serverHlc),
    cursorHint: message.cursorHint,
  };
}

/** @throws LakeSyncError `BadRequest` when a batch is malformed */
export function pageOf(message: Shape<typeof PULL_RESPONSE>): Page {
  return {
    batches: message.batches.map((batch): DeltaBatch => unwrap(decodeBatch(batch, "" as ClientId))),
    cursor: message.cursor,
    hasMore: message.hasMore,
    resync: message.resync,
    serverHlc: hlcText(message.serverHlc),
    digests: Object.fromEntries(message.digests.map(Object.values)),
    follows: message.follows,
  };
}

/** A newer gateway may know codes that this client does not. */
const codeOf = (code: string, otherwise: ErrorCode): ErrorCode => (isErrorCode(code) ? code : otherwise);

/**
 * The error that an answer means. An answer without a code is not the gateway's but of something on the way: it says
 * nothing about what was sent, so it counts as weather, whatever its status.
 * @param status HTTP status; 0 for a frame
 */
export function gatewayError(
  status: number,
  { code = "", message, retryAfterSeconds }: Partial<Shape<typeof ERROR_BODY>> = {},
  retryAfter = 0,
): LakeSyncError {
  const seconds = retryAfterSeconds || retryAfter;
  const unnamed: ErrorCode = status === 401 ? "Unauthenticated" : "Unavailable";
  const known = code === "" ? unnamed : codeOf(code, "Internal");
  const details = seconds > 0 ? { retryAfterMs: seconds * 1000, status } : { status };
  return new LakeSyncError(known, message || `The gateway answered ${status}.`, details);
}

/** Between the transport port and the wire's messages. */
import {
  type ClientId,
  type DeltaBatch,
  decodeBatch,
  ERRORS,
  type ErrorCode,
  encodeBatch,
  HLC_ZERO,
  type HlcText,
  hlcFromBigInt,
  isErrorCode,
  LakeSyncError,
  type proto,
  unwrap,
} from "../../schemas/index.ts";
import type { Page, PullCall, PushAnswer, PushCall, Refusal } from "./port.ts";

export const pushMessage = (call: PushCall) => ({ clientId: call.clientId, batches: call.batches.map(encodeBatch) });

export const pullMessage = (call: PullCall) => ({
  clientId: call.clientId,
  cursor: call.cursor,
  tables: [...(call.tables ?? [])],
  maxBytes: call.maxBytes ?? 0,
  columnar: true,
});

const hlcText = (hlc: bigint): HlcText => hlcFromBigInt(hlc) ?? HLC_ZERO;

export function pushAnswer(message: proto.PushResponse): PushAnswer {
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
export function pageOf(message: proto.PullResponse): Page {
  return {
    batches: message.batches.map((batch): DeltaBatch => unwrap(decodeBatch(batch, "" as ClientId))),
    cursor: message.cursor,
    hasMore: message.hasMore,
    resync: message.resync,
    serverHlc: hlcText(message.serverHlc),
  };
}

/** A newer gateway may know codes that this client does not. */
const codeOf = (code: string, otherwise: ErrorCode): ErrorCode => (isErrorCode(code) ? code : otherwise);

/** The error that a gateway's answer means. @param status HTTP status, for answers that carry no code */
export function gatewayError(status: number, code: string, message: string, retryAfterSeconds: number): LakeSyncError {
  const fallback =
    (Object.keys(ERRORS) as ErrorCode[]).find((name) => ERRORS[name].status === status) ??
    (status >= 500 ? "Unavailable" : "BadRequest");
  const known = codeOf(code, fallback);
  const details = retryAfterSeconds > 0 ? { retryAfterMs: retryAfterSeconds * 1000, status } : { status };
  return new LakeSyncError(known, message || `The gateway answered ${status}.`, details);
}

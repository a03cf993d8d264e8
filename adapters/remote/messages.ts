/**
 * How a destination in one process is used from another, such as an adapter object in Node from the gateway in workerd: one message
 * and its reply at a time, as JSON.
 *
 *   remote                                     host
 *   { call, argument }                     ->
 *                                          <-  { result }
 *   { call: "insertDeltas", argument }     ->
 *                                          <-  { session, want: { reader, of: "history" } }    the adapter asks for a page
 *   { session, reader, page }              ->                                                  null after the last one
 *                                          <-  { session, want } ... { result }
 *
 * The adapter reads a flush at its own pace, twice if it likes, and neither side holds more than the pages under way.
 */
import type { FlushBatch, HistoryBatch, RowBatch } from "../../core/index.ts";
import { type ErrorDetails, err, isErrorCode, LakeSyncError, ok, type Result } from "../../schemas/index.ts";

export type Method =
  | "ensureSchema"
  | "insertDeltas"
  | "queryDeltasSince"
  | "getLatestState"
  | "progress"
  | "catchUp"
  | "migrateToTier";

export type Page = RowBatch | HistoryBatch;
export type Pages = "rows" | "history";

export interface PageMessage {
  readonly session: string;
  readonly reader: number;
  readonly page?: Page | null;
  /** Instead of a page: it cannot be had. */
  readonly failed?: ErrorText;
}

export type RemoteMessage =
  | { readonly gatewayId: string; readonly call: Method; readonly argument: unknown }
  | PageMessage;

export type RemoteReply =
  | { readonly result: ResultText }
  | { readonly session: string; readonly want: Want }
  /** A bug on the other side. */
  | { readonly broken: string };

export interface Want {
  readonly reader: number;
  readonly of: Pages;
}

export type BatchHead = Omit<FlushBatch, Pages>;

interface ErrorText {
  readonly code: string;
  readonly message: string;
  readonly details: ErrorDetails;
}
type ResultText = { readonly value: unknown } | { readonly error: ErrorText };

export const textOfError = ({ code, message, details }: LakeSyncError): ErrorText => ({ code, message, details });

export const errorOfText = ({ code, message, details }: ErrorText): LakeSyncError =>
  new LakeSyncError(isErrorCode(code) ? code : "Internal", message, details);

export const textOfResult = (result: Result<unknown, LakeSyncError>): ResultText =>
  result.ok ? { value: result.value } : { error: textOfError(result.error) };

export const resultOfText = (text: ResultText): Result<unknown, LakeSyncError> =>
  "error" in text ? err(errorOfText(text.error)) : ok(text.value);

/**
 * Results across RPC. An error class does not survive structured cloning, so failures travel as plain objects, and
 * exceptions of the other side, which only a bug or the weather throws, become `Unavailable`.
 */
import {
  type ErrorCode,
  type ErrorDetails,
  err,
  isErrorCode,
  isLakeSyncError,
  LakeSyncError,
  ok,
  type Result,
} from "../schemas/index.ts";

interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}
export type Plain<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: PlainError };

export const toPlain = <T>(result: Result<T, LakeSyncError>): Plain<T> =>
  result.ok ? result : { ok: false, error: result.error.toJSON() };

/** Runs a body whose thrown LakeSyncErrors are answers too. */
export async function plainly<T>(body: () => T | Promise<T>): Promise<Plain<T>> {
  try {
    return ok(await body());
  } catch (error) {
    if (isLakeSyncError(error)) return { ok: false, error: error.toJSON() };
    throw error;
  }
}

/** `call`, where RPC types its answer as a disposable copy: what arrives is the plain value. */
export const ask = <T>(what: string, answer: Promise<unknown>): Promise<Result<T, LakeSyncError>> =>
  call(what, answer as Promise<Plain<T>>);

/** Awaits an RPC call. */
export async function call<T>(what: string, promise: Promise<Plain<T>>): Promise<Result<T, LakeSyncError>> {
  try {
    const answer = await promise;
    if (answer.ok) return answer;
    const { code, message, details } = answer.error;
    return err(new LakeSyncError(isErrorCode(code) ? code : "Internal", message, details));
  } catch (cause) {
    return err(
      new LakeSyncError("Unavailable", `The gateway's ${what} did not answer; try again in a moment.`, {}, { cause }),
    );
  }
}

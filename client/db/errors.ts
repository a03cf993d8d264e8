/**
 * What SQLite says, as one of the closed list of codes. A `DriverError` does not leave its driver: a page makes a
 * `LakeSyncError` of what its worker says, so that the worker goes without what else that knows of each code.
 */
import type { ErrorCode, ErrorDetails } from "../../schemas/index.ts";

export class DriverError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.details = details;
  }
}

/** Primary and extended result codes, https://sqlite.org/rescode.html */
const CODES: Readonly<Record<number, ErrorCode>> = {
  5: "StorageUnavailable", // BUSY: another process has the file
  6: "StorageUnavailable", // LOCKED
  8: "StorageUnavailable", // READONLY
  10: "StorageUnavailable", // IOERR
  11: "Corrupt",
  13: "StorageFull",
  14: "StorageUnavailable", // CANTOPEN
  19: "Conflict", // CONSTRAINT
  20: "WrongType", // MISMATCH: a rowid takes whole numbers only
  26: "Corrupt", // NOTADB
};

/** Raised by the triggers of tracked tables as "CODE: sentence". */
const RAISED = /^(NotNull|WrongType|BadRowId): /;

export function sqlError(cause: unknown, what: string): DriverError {
  const {
    message = String(cause),
    errcode,
    code: number,
  } = cause as { message?: string; errcode?: number; code?: unknown };
  const result = errcode ?? (typeof number === "number" ? number : 1);
  const raised = RAISED.exec(message);
  if (raised) return new DriverError(raised[1] as ErrorCode, message.slice(raised[0].length), {}, { cause });
  if (/^cannot store /.test(message)) return new DriverError("WrongType", message, {}, { cause });
  if (/^NOT NULL /.test(message)) return new DriverError("NotNull", message, {}, { cause });
  const code = CODES[result] ?? CODES[result & 0xff] ?? "BadRequest";
  return new DriverError(code, `SQLite: ${message} (${what.slice(0, 200)})`, { sqlite: result }, { cause });
}

/** What SQLite says, as one of the closed list of codes. */
import { type ErrorCode, isLakeSyncError, LakeSyncError } from "../../schemas/index.ts";

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

export function sqlError(cause: unknown, what: string): LakeSyncError {
  if (isLakeSyncError(cause)) return cause;
  const {
    message = String(cause),
    errcode,
    code: number,
  } = cause as { message?: string; errcode?: number; code?: unknown };
  const result = errcode ?? (typeof number === "number" ? number : 1);
  const raised = RAISED.exec(message);
  if (raised) return new LakeSyncError(raised[1] as ErrorCode, message.slice(raised[0].length), {}, { cause });
  if (/^cannot store /.test(message)) return new LakeSyncError("WrongType", message, {}, { cause });
  if (/^NOT NULL /.test(message)) return new LakeSyncError("NotNull", message, {}, { cause });
  const code = CODES[result] ?? CODES[result & 0xff] ?? "BadRequest";
  return new LakeSyncError(code, `SQLite: ${message} (${what.slice(0, 200)})`, { sqlite: result }, { cause });
}

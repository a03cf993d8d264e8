/**
 * The closed list of error codes. Every failure that a caller can meet carries one of these, the HTTP status it
 * travels with, and whether the same request may succeed later without being changed.
 */
export const ERRORS = {
  // Requests
  BadRequest: { status: 400, retry: false },
  BadIdentifier: { status: 400, retry: false },
  BadCursor: { status: 400, retry: false },
  BadConfig: { status: 400, retry: false },
  NotFound: { status: 404, retry: false },
  MethodNotAllowed: { status: 405, retry: false },
  NotAcceptable: { status: 406, retry: false },
  UnsupportedMediaType: { status: 415, retry: false },
  TooLarge: { status: 413, retry: false },
  Unauthenticated: { status: 401, retry: false },
  Forbidden: { status: 403, retry: false },
  ClientIdTaken: { status: 403, retry: false },
  Conflict: { status: 409, retry: false },
  // Deltas, refused one by one (PU3)
  UnknownTable: { status: 422, retry: false },
  UnknownColumn: { status: 422, retry: false },
  WrongType: { status: 422, retry: false },
  NotNull: { status: 422, retry: false },
  BadRowId: { status: 422, retry: false },
  BadHlc: { status: 422, retry: false },
  ClockDrift: { status: 422, retry: true },
  RowTooLarge: { status: 422, retry: false },
  CellTooLarge: { status: 422, retry: false },
  WriteForbidden: { status: 422, retry: false },
  DeltaIdMismatch: { status: 422, retry: false },
  // Pull
  CursorExpired: { status: 410, retry: false },
  // Capacity and weather
  LogFull: { status: 429, retry: true },
  RateLimited: { status: 429, retry: true },
  ShardMoved: { status: 503, retry: true },
  Unavailable: { status: 503, retry: true },
  Timeout: { status: 504, retry: true },
  // The lake and other destinations
  LeaseLost: { status: 409, retry: true },
  CommitConflict: { status: 409, retry: true },
  CommitUnknown: { status: 503, retry: true },
  DestinationRefused: { status: 502, retry: false },
  DestinationUnavailable: { status: 503, retry: true },
  Corrupt: { status: 500, retry: false },
  // The device
  Network: { status: 0, retry: true },
  StorageFull: { status: 507, retry: false },
  StorageUnavailable: { status: 0, retry: false },
  Closed: { status: 0, retry: false },
  Misconfigured: { status: 500, retry: false },
  Internal: { status: 500, retry: true },
} as const satisfies Record<string, { readonly status: number; readonly retry: boolean }>;

export type ErrorCode = keyof typeof ERRORS;

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERRORS, code);

/** Facts about an error that a program may use: names, limits, offsets. Never secrets. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

/** A failure with a code from the closed list. `message` names the thing and the remedy, in one or two sentences. */
export class LakeSyncError extends Error {
  override readonly name = "LakeSyncError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.details = details;
  }

  /** HTTP status that this error travels with; 0 for errors that never cross HTTP. */
  get status(): number {
    return ERRORS[this.code].status;
  }

  /** Whether the same request may succeed later without being changed. */
  get retryable(): boolean {
    return ERRORS[this.code].retry;
  }

  /** What clients are shown: no stack, no cause (S5). */
  toJSON(): { code: ErrorCode; message: string; details: ErrorDetails } {
    return { code: this.code, message: this.message, details: this.details };
  }
}

export const isLakeSyncError = (error: unknown): error is LakeSyncError => error instanceof LakeSyncError;

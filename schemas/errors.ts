const lasting = (status: number) => ({ status, retry: false });
const passing = (status: number) => ({ status, retry: true });

/**
 * The closed list of error codes. Every failure that a caller can meet carries one of these, the HTTP status it
 * travels with, and whether the same request may succeed later without being changed.
 */
export const ERRORS = {
  // Requests
  BadRequest: lasting(400),
  BadIdentifier: lasting(400),
  BadCursor: lasting(400),
  BadConfig: lasting(400),
  NotFound: lasting(404),
  MethodNotAllowed: lasting(405),
  NotAcceptable: lasting(406),
  UnsupportedMediaType: lasting(415),
  TooLarge: lasting(413),
  Unauthenticated: lasting(401),
  Forbidden: lasting(403),
  ClientIdTaken: lasting(403),
  Conflict: lasting(409),
  // Deltas, refused one by one (PU3)
  UnknownTable: lasting(422),
  UnknownColumn: lasting(422),
  WrongType: lasting(422),
  NotNull: lasting(422),
  BadRowId: lasting(422),
  BadHlc: lasting(422),
  ClockDrift: passing(422),
  RowTooLarge: lasting(422),
  CellTooLarge: lasting(422),
  WriteForbidden: lasting(422),
  DeltaIdMismatch: lasting(422),
  // Pull
  CursorExpired: lasting(410),
  // Capacity and weather
  LogFull: passing(429),
  RateLimited: passing(429),
  ShardMoved: passing(503),
  Unavailable: passing(503),
  Timeout: passing(504),
  // The lake and other destinations
  LeaseLost: passing(409),
  CommitConflict: passing(409),
  CommitUnknown: passing(503),
  DestinationRefused: lasting(502),
  DestinationUnavailable: passing(503),
  Corrupt: lasting(500),
  // The device
  Network: passing(0),
  StorageFull: lasting(507),
  StorageUnavailable: lasting(0),
  Closed: lasting(0),
  Misconfigured: lasting(500),
  Internal: passing(500),
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

/**
 * Failures of a catalogue, by the names that Iceberg's clients know. The REST specification gives each a status and a type
 * ("Catalog API", responses); inside LakeSync each is a LakeSyncError from the closed list whose `details.type` holds
 * the Iceberg name.
 */
import { type ErrorCode, isLakeSyncError, LakeSyncError } from "../../schemas/index.ts";

export const ICEBERG_ERRORS = {
  BadRequestException: { status: 400, code: "BadRequest" },
  NotAuthorizedException: { status: 401, code: "Unauthenticated" },
  ForbiddenException: { status: 403, code: "Forbidden" },
  NoSuchTableException: { status: 404, code: "NotFound" },
  NoSuchNamespaceException: { status: 404, code: "NotFound" },
  NoSuchWarehouseException: { status: 404, code: "NotFound" },
  UnsupportedOperationException: { status: 406, code: "NotAcceptable" },
  AlreadyExistsException: { status: 409, code: "Conflict" },
  NamespaceNotEmptyException: { status: 409, code: "Conflict" },
  CommitFailedException: { status: 409, code: "CommitConflict" },
  UnprocessableEntityException: { status: 422, code: "BadRequest" },
  CommitStateUnknownException: { status: 500, code: "CommitUnknown" },
  InternalServerError: { status: 500, code: "Internal" },
  ServiceUnavailableException: { status: 503, code: "DestinationUnavailable" },
} as const satisfies Record<string, { readonly status: number; readonly code: ErrorCode }>;

export type IcebergErrorType = keyof typeof ICEBERG_ERRORS;

export const isIcebergErrorType = (type: unknown): type is IcebergErrorType =>
  typeof type === "string" && Object.hasOwn(ICEBERG_ERRORS, type);

/** A failure by its Iceberg name. `message` names the thing and the remedy. */
export function catalogueError(type: IcebergErrorType, message: string, options?: { cause?: unknown }): LakeSyncError {
  return new LakeSyncError(ICEBERG_ERRORS[type].code, message, { type }, options);
}

/** Which Iceberg error a LakeSyncError is shown as: its own name, or the one that fits its code. */
export function icebergTypeOf(error: LakeSyncError): IcebergErrorType {
  const { type } = error.details;
  if (isIcebergErrorType(type)) return type;
  switch (error.code) {
    case "Unauthenticated":
      return "NotAuthorizedException";
    case "Forbidden":
      return "ForbiddenException";
    case "CommitConflict":
      return "CommitFailedException";
    case "CommitUnknown":
      return "CommitStateUnknownException";
    case "Internal":
    case "Corrupt":
      return "InternalServerError";
    default:
      if (error.status >= 400 && error.status < 500) return "BadRequestException";
      return error.retryable ? "ServiceUnavailableException" : "InternalServerError";
  }
}

/** Ends a check inside this folder; `attempt` turns it into a Result at the door. */
export function refuse(message: string): never {
  throw catalogueError("BadRequestException", message);
}

/** A requirement that does not hold, or a change that the table's present state rules out: the client reloads and tries again. */
export function conflict(message: string): never {
  throw catalogueError("CommitFailedException", message);
}

/** The value of `body`, or the LakeSyncError that it threw. Anything else it throws is a bug, and goes on. */
export function attempt<T>(
  body: () => T,
): { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: LakeSyncError } {
  try {
    return { ok: true, value: body() };
  } catch (error) {
    if (isLakeSyncError(error)) return { ok: false, error };
    throw error;
  }
}

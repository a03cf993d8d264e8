/** Every failure leaves as `{ error: { code, message, details } }` with its code's status; no stack, no secret (S5). */
import { create, toBinary } from "@bufbuild/protobuf";
import { isLakeSyncError, LakeSyncError, PROTOBUF, proto, RETRY_AFTER_SECONDS } from "../../schemas/index.ts";
import type { AppContext } from "../context.ts";
import { log } from "./log.ts";

const PATH_CHARS_SHOWN = 200;

export function onError(thrown: Error, c: AppContext): Response {
  const error = isLakeSyncError(thrown) ? thrown : undefined;
  if (!error || (error.status >= 500 && error.cause !== undefined))
    log("error", {
      requestId: c.get("requestId"),
      path: c.req.path,
      error: thrown.stack ?? String(thrown),
      ...(thrown.cause !== undefined && { cause: String(thrown.cause) }),
    });
  return errorResponse(
    c,
    error ??
      new LakeSyncError("Internal", "Something went wrong in the gateway; the request id names it in the logs.", {
        requestId: c.get("requestId") ?? "",
      }),
  );
}

function errorResponse(c: AppContext, error: LakeSyncError): Response {
  const { code, message, details } = error.toJSON();
  const status = error.status || 500;
  const headers = new Headers({ "cache-control": "no-store", vary: "accept, accept-encoding" });
  if (status === 401) headers.set("www-authenticate", "Bearer");
  const retryAfter = status === 429 || status === 503 ? Number(details.retryAfterSeconds ?? RETRY_AFTER_SECONDS) : 0;
  if (retryAfter > 0) headers.set("retry-after", String(retryAfter));
  if (c.req.header("accept")?.includes(PROTOBUF)) {
    headers.set("content-type", PROTOBUF);
    const body = create(proto.ErrorBodySchema, {
      code,
      message,
      details: { ...details },
      retryAfterSeconds: retryAfter,
    });
    return new Response(toBinary(proto.ErrorBodySchema, body), { status, headers });
  }
  headers.set("content-type", "application/json");
  return new Response(JSON.stringify({ error: { code, message, details } }), { status, headers });
}

/** @param methodsAt which methods a path answers */
export const notFound =
  (methodsAt: (path: string) => readonly string[]) =>
  (c: AppContext): Response => {
    const path = c.req.path.length > PATH_CHARS_SHOWN ? `${c.req.path.slice(0, PATH_CHARS_SHOWN)}...` : c.req.path;
    const methods = methodsAt(c.req.path);
    if (methods.length === 0)
      return errorResponse(
        c,
        new LakeSyncError("NotFound", `There is nothing at ${path}; /openapi.json lists the routes.`),
      );
    const allow = methods.join(", ");
    const response = errorResponse(
      c,
      new LakeSyncError("MethodNotAllowed", `${path} does not answer ${c.req.method}; use ${allow}.`, { allow }),
    );
    response.headers.set("allow", allow);
    return response;
  };

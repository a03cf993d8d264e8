/** Every failure leaves as `{ error: { code, message, details } }` with its code's status; no stack, no secret (S5). */
import { create, toBinary } from "@bufbuild/protobuf";
import { isLakeSyncError, LakeSyncError, PROTOBUF, proto, RETRY_AFTER_SECONDS } from "../../schemas/index.ts";
import type { AppContext } from "../context.ts";
import { log } from "./log.ts";

export function onError(thrown: Error, c: AppContext): Response {
  const error = isLakeSyncError(thrown) ? thrown : undefined;
  if (!error) log("error", { requestId: c.get("requestId"), path: c.req.path, error: thrown.stack ?? String(thrown) });
  return errorResponse(
    c,
    error ??
      new LakeSyncError("Internal", "Something went wrong in the gateway; the request id names it in the logs.", {
        requestId: c.get("requestId") ?? "",
      }),
  );
}

export function errorResponse(c: AppContext, error: LakeSyncError): Response {
  const { code, message, details } = error.toJSON();
  const status = error.status || 500;
  const headers = new Headers({ "cache-control": "no-store" });
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

export function notFound(c: AppContext): Response {
  return errorResponse(
    c,
    new LakeSyncError("NotFound", `There is nothing at ${c.req.method} ${c.req.path}; /openapi.json lists the routes.`),
  );
}

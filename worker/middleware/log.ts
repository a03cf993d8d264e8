/** One line of JSON an event, for whatever collects them. Never bodies, never tokens. */
import type { MiddlewareHandler } from "hono";
import { type Env, Router } from "../../durable-objects/index.ts";
import type { AppEnv } from "../context.ts";

export function log(level: "info" | "error", fields: Readonly<Record<string, unknown>>): void {
  const line = JSON.stringify({ level, at: new Date().toISOString(), ...fields });
  if (level === "error") console.error(line);
  else console.log(line);
}

const REQUEST_ID = /^[A-Za-z0-9_-]{1,64}$/;
/** One for each set of bindings, so that what it remembers of tenants outlives a request. */
const routers = new WeakMap<object, Router>();

function routerOf(env: Env): Router {
  const router = routers.get(env.TENANT) ?? new Router(env);
  routers.set(env.TENANT, router);
  return router;
}

/** A request id (the caller's, if it sent a sound one), the road to the shards, and a line when the request is done. */
export const requests: MiddlewareHandler<AppEnv> = async (c, next) => {
  const given = c.req.header("x-request-id") ?? "";
  const requestId = REQUEST_ID.test(given) ? given : crypto.randomUUID();
  c.set("requestId", requestId);
  c.set("router", routerOf(c.env));
  const started = Date.now();
  await next();
  if (c.res.status !== 101) c.res.headers.set("x-request-id", requestId);
  if (c.env.LOG_LEVEL === "error") return;
  const grant = c.get("grant");
  log("info", {
    requestId,
    method: c.req.method,
    path: c.req.path,
    status: c.res.status,
    ms: Date.now() - started,
    ...(grant && { gatewayId: grant.gatewayId, sub: grant.claims.sub }),
  });
};

/** Browsers may call from the origins that the configuration names, and from no other. */
import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import type { AppEnv } from "../context.ts";

export const crossOrigin: MiddlewareHandler<AppEnv> = (c, next) => {
  const allowed = (c.env.CORS_ORIGINS ?? "")
    .split(",")
    .map((o) => o.trim())
    .filter(Boolean);
  const handler = cors({
    origin: (origin) => (allowed.includes(origin) ? origin : null),
    allowMethods: ["GET", "POST", "PUT"],
    allowHeaders: ["authorization", "content-type", "content-encoding", "accept", "x-request-id"],
    exposeHeaders: ["x-request-id", "retry-after"],
    maxAge: 3600,
  });
  return handler(c, next);
};
